import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_match import check_environments_match
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.errors import StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import get_state, restore, rng_to_json, set_state, snapshot
from reason_env.snapshot.generator import rng_from_json
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping

ROOT = Path(__file__).parents[2]
CODEC = ByteCodec()
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b", "c")),
        Problem(problem_id="toy/train/1", question="!", answer="8", solution=("d",), level=2),
        Problem(problem_id="toy/train/2", question="√", answer="9", level=2),
    ),
)


def drawn_policy(state, rng):
    return CODEC.encode(f"{rng.integers(3)}\nq\nr\n")


WRAP = {
    "reset": lambda env: ResetToState(env, keep="failures", probability=0.5, capacity=3),
    "successes": lambda env: ResetToState(env, keep="successes", cut=1, capacity=2),
    "rollin": lambda env: PrefixRollin(
        env, probability=0.7, schedule={"kind": "linear", "episodes": 6}
    ),
    "search": lambda env: PrefixRollin(
        env, schedule={"kind": "binary_search", "samples": 1}, conditioning="prompt"
    ),
    "policy": lambda env: PrefixRollin(env, drawn_policy, steps=(0, 2)),
    "trajectory": lambda env: PrefixRollin(env, "trajectory", capacity=2),
    "hint": lambda env: Hint(env, "answer", trigger=0.5),
    "mistakes": lambda env: Hint(env, "mistakes", trigger="after_failure"),
    "curriculum": lambda env: Curriculum(env, probability=0.8, memory=0.5),
    "shaping": lambda env: RewardShaping(env, progress=0.5, token_penalty=0.125),
    "limit": lambda env: gym.wrappers.TimeLimit(env, 5),
    "order": gym.wrappers.OrderEnforcing,
    "checker": gym.wrappers.PassiveEnvChecker,
    "clip": lambda env: gym.wrappers.ClipReward(env, 0.0, 0.5),
}
ACTIONS = ("a\n", "b\n", "#### 7\n", "#### 8\n", "#### 3\n", "", "√ part", "x" * 50)


def stack(names, granularity="step", form="text", **changes):
    settings = {"max_tokens": 60, "max_steps": 5, "granularity": granularity, "format": form}
    env = ReasonEnv(TOY, **(settings | changes))
    for name in names:
        env = WRAP[name](env)
    return env


def play_script(env, script) -> list:
    """Play (kind, value) pairs and return every result and error message."""
    said = []
    for kind, value in script:
        try:
            said.append(env.reset(**value) if kind == "reset" else env.step(value))
        except (StateError, gym.error.ResetNeeded) as error:
            said.append(str(error))
    return said


class ForkLaw(RuleBasedStateMachine):
    """A stack is forked at random moments; original and fork are told the same ever after."""

    @initialize(names=st.lists(st.sampled_from(sorted(WRAP)), max_size=4), seed=st.integers(0, 99))
    def begin(self, names, seed):
        self.names = names
        self.env = stack(names)
        self.forks = [stack(names)]
        self.said = [self.env.reset(seed=seed)]
        restore(self.forks[0], snapshot(self.env))

    def do(self, kind, value):
        said = play_script(self.env, [(kind, value)])
        for fork in self.forks:
            assert play_script(fork, [(kind, value)]) == said

    @rule(action=st.sampled_from(ACTIONS))
    def step(self, action):
        self.do("step", action)

    @rule(action=st.sampled_from(ACTIONS))
    def step_through(self, action):
        self.do("reset", {})
        self.do("step", action)

    @rule()
    def reset(self):
        self.do("reset", {})

    @rule(seed=st.integers(0, 99))
    def reset_with_a_seed(self, seed):
        self.do("reset", {"seed": seed})

    @rule(row=st.integers(0, 2))
    def reset_to_a_problem(self, row):
        self.do("reset", {"options": {"problem": f"toy/train/{row}"}})

    @rule()
    def reset_to_the_present_state(self):
        self.do("reset", {"options": {"state": self.env.unwrapped.state.cut(0)}})

    @rule()
    def fork(self):
        saved = json.loads(json.dumps(snapshot(self.env)))
        self.forks = [*self.forks[-1:], stack(self.names)]
        for fork in self.forks:
            restore(fork, saved)

    @invariant()
    def forks_have_the_same_snapshot(self):
        assert all(snapshot(fork) == snapshot(self.env) for fork in self.forks)


ForkLaw.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_a_fork_continues_identically_through_any_stack = ForkLaw.TestCase


@pytest.mark.parametrize("names", [(), ("rollin", "hint"), ("reset", "search", "order", "limit")])
@pytest.mark.parametrize(("granularity", "form"), [("token", "tokens"), ("response", "text")])
def test_gymnasium_finds_no_difference_between_a_stack_and_its_fork(names, granularity, form):
    env = stack(names, granularity, form)
    env.reset(seed=1)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    fork = stack(names, granularity, form)
    restore(fork, snapshot(env))
    check_environments_match(env, fork, 20, seed=4)


def test_a_fork_in_the_middle_of_an_episode_continues_from_there():
    env = stack(("rollin", "hint", "shaping"))
    env.reset(seed=3)
    saved = snapshot(env)
    first = play_script(
        env, [("step", "a\n"), ("step", "#### 7\n"), ("reset", {}), ("step", "b\n")]
    )
    for _ in range(3):
        restore(env, saved)
        assert (
            play_script(
                env, [("step", "a\n"), ("step", "#### 7\n"), ("reset", {}), ("step", "b\n")]
            )
            == first
        )


def test_an_unseeded_stack_can_be_forked():
    env = stack(("rollin", "curriculum"))
    saved, fork = snapshot(env), stack(("rollin", "curriculum"))
    restore(fork, saved)
    script = [("reset", {}), ("step", "a\n")] * 6
    assert play_script(fork, script) == play_script(env, script)


def test_a_restored_stack_that_was_never_reset_needs_a_reset():
    env, fork = stack(("order",)), stack(("order",))
    restored = snapshot(env)
    fork.reset(seed=0)
    restore(fork, restored)
    with pytest.raises(gym.error.ResetNeeded):
        fork.step("a\n")
    with pytest.raises(gym.error.ResetNeeded):
        fork.unwrapped.state  # noqa: B018


def test_an_episode_that_is_over_stays_over():
    env, fork = stack(()), stack(())
    env.reset(seed=0)
    env.step("#### 7\n")
    restore(fork, snapshot(env))
    assert fork.unwrapped.state == env.unwrapped.state
    assert fork.unwrapped.state.verdict is not None
    with pytest.raises(StateError, match="an episode that is over must not be stepped"):
        fork.step("a\n")


def test_a_time_limit_is_rewound():
    env = stack(("limit",))
    env.reset(seed=0)
    for _ in range(3):
        env.step("part")
    saved = snapshot(env)
    flags = [env.step("part")[3] for _ in range(2)]
    restore(env, saved)
    assert [env.step("part")[3] for _ in range(2)] == flags == [False, True]


def test_a_restored_recorder_continues_its_episode(tmp_path):
    def recorded(name):
        return RecordEpisodes(stack(("rollin",)), tmp_path / name, every=2)

    env = recorded("a.jsonl")
    env.reset(seed=0)
    env.step("a\n")
    fork = recorded("b.jsonl")
    restore(fork, snapshot(env))
    for each in (env, fork):
        play_script(
            each,
            [
                ("step", "#### 7\n"),
                ("reset", {}),
                ("step", "#### 7\n"),
                ("reset", {}),
                ("step", "#### 8\n"),
            ],
        )
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text() != ""


PROGRAM = """
import json, sys
import gymnasium as gym, reason_env
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers import Curriculum, Hint, PrefixRollin, ResetToState

def make():
    env = gym.make("MathReason-v0", problems="chain", split="test", size=20, levels=(2, 4))
    env = ResetToState(env, keep="failures", probability=0.5)
    env = Curriculum(env, by="level", probability=0.8)
    env = PrefixRollin(env, probability=0.6, schedule="reverse")
    return Hint(env, "mistakes", trigger="after_failure")

def play(env, episodes):
    said = []
    for index in range(episodes):
        said.append(env.reset(seed=5 if index == 2 else None))
        for action in ("A:1+1 x=2\\n", "#### 1\\n"):
            said.append(env.step(action))
            if said[-1][2] or said[-1][3]:
                break
    return said

env = make()
if sys.argv[1] == "write":
    env.reset(seed=11)
    play(env, 5)
    env.reset()
    env.step("first\\n")
    print(json.dumps([snapshot(env), play(env, 6), snapshot(env)]))
else:
    restore(env, json.loads(sys.stdin.read()))
    print(json.dumps([play(env, 6), snapshot(env)]))
"""


def run(mode: str, given: str, hash_seed: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        input=given, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_fork_continues_identically_in_another_process_and_under_another_hash_seed():
    saved, said, after = run("write", "", "1")
    assert run("read", json.dumps(saved), "2") == [said, after]
    assert run("write", "", "3")[0] == saved


def test_a_generator_is_written_exactly():
    rng = np.random.default_rng(5)
    rng.integers(3)  # leaves half of a draw behind
    again = rng_from_json(json.loads(json.dumps(rng_to_json(rng))))
    assert [again.integers(2**62) for _ in range(5)] == [rng.integers(2**62) for _ in range(5)]
    assert again.integers(3, dtype=np.uint8) == rng.integers(3, dtype=np.uint8)


def test_an_archive_is_restored_into_one_that_holds_other_chains():
    """Some of its chains are here already, some changed in one field only, some are new."""

    def filled(chains):
        env = ResetToState(stack(()), cut=1, capacity=4)
        for row, text, source in chains:
            state = env.reason_env.initial_state(TOY[row])
            env.add(state.extend(CODEC.encode(text), source))
        env.reset(seed=4)
        return env

    first = [(0, "a\nb", "policy"), (1, "a\nb", "policy"), (0, "c\nd", "policy")]
    env = filled([*first, (2, "e\nf", "reset"), (2, "g\nh", "policy")])
    for others in ((), first, [(0, "a\nb", "reset"), (1, "c\nd", "policy"), (1, "a\nb", "env")]):
        fork = filled(others)
        restore(fork, snapshot(env))
        assert fork.archive.chains == env.archive.chains
        assert [chain.state.sources for chain in fork.archive.chains] == [
            chain.state.sources for chain in env.archive.chains
        ]
        assert snapshot(fork) == snapshot(env)
        script = [("reset", {"options": {"problem": f"toy/train/{row}"}}) for row in (0, 1, 2, 2)]
        assert play_script(fork, script) == play_script(filled_again(env), script)


def filled_again(env):
    again = ResetToState(stack(()), cut=1, capacity=4)
    restore(again, snapshot(env))
    return again


def test_a_snapshot_whose_settings_are_no_settings_is_refused(env):
    from reason_env.snapshot.stack import _BODY, _HEAD, _digest

    body = snapshot(env)[len(_HEAD) + 16 + len(_BODY) : -1]
    for bad in (
        body.replace("{'problems'", "{'problem'"),
        body.replace("{'problems'", "{problems"),
    ):
        assert bad != body
        refuses(env, f"{_HEAD}{_digest(bad)}{_BODY}{bad}}}", "snapshot of ReasonEnv must be as to_")


def test_a_restored_generator_is_not_shared():
    env, fork = stack(("rollin",)), stack(("rollin",))
    saved = snapshot(env)
    restore(env, saved)
    restore(fork, saved)
    env.reset()
    assert snapshot(fork) == saved != snapshot(env)


def test_get_state_and_set_state_are_snapshot_and_restore():
    assert (get_state, set_state) == (snapshot, restore)


def refuses(env, text, message):
    before = snapshot(env)
    with pytest.raises(StateError, match=message):
        restore(env, text)
    assert snapshot(env) == before
    env.step("a\n")


@pytest.fixture
def env():
    env = stack(("rollin", "reset"))
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("text", [None, b"{}", "", "{}", "[]", '{"format":2,"digest":"', {}])
def test_a_malformed_snapshot_is_refused(env, text):
    refuses(env, text, r"snapshot must be the text that snapshot\(\) returned, got ")


def test_a_damaged_snapshot_is_refused(env):
    saved = snapshot(env)
    for place in (30, 60, len(saved) // 2, len(saved) - 3):
        other = "0" if saved[place] != "0" else "1"
        damaged = saved[:place] + other + saved[place + 1 :]
        refuses(env, damaged, "snapshot must match its digest|snapshot must be the text")
    refuses(env, saved[:-20] + "}", "snapshot must match its digest .*; it was damaged or edited")


def test_a_snapshot_of_another_stack_is_refused(env):
    other = stack(("reset", "rollin"))
    refuses(
        env, snapshot(other), "stack ResetToState > PrefixRollin > ReasonEnv, got PrefixRollin >"
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"max_tokens": 61}, "rules"),
        ({"granularity": "response"}, "layout"),
        ({"max_prompt_tokens": 99}, "max_prompt_tokens"),
        ({"reward": {"correct": 2.0}}, "reward"),
        ({"prompt": {"ending": "!"}}, "prompt"),
        ({"codec": ByteCodec(";")}, "codec"),
    ],
)
def test_a_snapshot_of_other_settings_is_refused(env, changes, name):
    other = stack(("rollin", "reset"), **changes)
    refuses(env, snapshot(other), f"snapshot must be of an environment with {name} ")


def test_a_snapshot_of_other_problems_is_refused():
    env = ReasonEnv("chain", size=3)
    env.reset(seed=0)
    other = ReasonEnv("chain", size=3, problem_seed=1)
    other.reset(seed=0)
    refuses(env, snapshot(other), "snapshot must be of an environment with problems ")


def test_an_archive_of_another_size_is_refused(env):
    other = ResetToState(WRAP["rollin"](stack(())), capacity=4)
    refuses(env, snapshot(other), "must be of an archive with capacity 3, got 4")


def test_a_snapshot_with_a_right_digest_and_wrong_contents_is_refused(env):
    from reason_env.snapshot.stack import _BODY, _HEAD, _digest

    body = snapshot(env)[len(_HEAD) + 16 + len(_BODY) : -1]
    for old, new in (
        ('"memory"', '"memori"'),
        ('"PCG64 ', '"PCG65 '),
        ('"rng"', '"rgn"'),
        ('"seed":0', '"seed":"0"'),
        ('"has_acted":false,"schedule":{}', '"has_acted":false,"schedule":3'),
    ):
        assert old in body
        bad = body.replace(old, new)
        refuses(
            env,
            f"{_HEAD}{_digest(bad)}{_BODY}{bad}}}",
            r"snapshot of (ResetToState|PrefixRollin|ReasonEnv) must be as to_snapshot\(\) writes",
        )


def test_statistics_of_episodes_go_on_and_their_clock_begins_again():
    def made():
        return gym.wrappers.RecordEpisodeStatistics(
            gym.wrappers.TransformReward(
                stack(("shaping",)), lambda reward: np.float32(reward) + np.float32(0.5)
            ),
            buffer_length=2,
        )

    def statistics(env):
        return (
            env.episode_count, list(env.return_queue), list(env.length_queue),
            env.episode_returns, env.episode_lengths,
        )  # fmt: skip

    env, fork = made(), made()
    for answers in (["#### 7\n"], ["a\n", "#### 8\n"], ["a\n", "b\n", "#### 3\n"]):
        env.reset(options={"problem": "toy/train/0"})
        for action in answers:
            env.step(action)
    env.reset(options={"problem": "toy/train/0"})
    env.step("a\n")
    assert [len(item) for item in statistics(env)[1:3]] == [2, 2]
    assert statistics(env)[0] == 3
    for one in (env, fork):
        restore(one, snapshot(env))
    assert statistics(fork) == statistics(env)
    assert fork.return_queue.maxlen == 2
    ends = [one.step("#### 7\n")[4]["episode"] for one in (env, fork)]
    assert [(end["r"], end["l"]) for end in ends] == [(ends[0]["r"], 2)] * 2
    assert 0 <= ends[1]["t"] < 60
    assert statistics(fork) == statistics(env)


def test_a_wrapper_whose_memory_is_unknown_is_refused():
    env = gym.wrappers.FrameStackObservation(stack((), "token", "tokens"), 2)
    for use in (snapshot, lambda env: restore(env, snapshot(stack(())))):
        with pytest.raises(
            StateError, match="every layer must support snapshots, got FrameStackObserv"
        ):
            use(env)


def test_a_foreign_wrapper_with_a_stock_name_is_refused():
    class TimeLimit(gym.Wrapper):
        pass

    with pytest.raises(StateError, match="every layer must support snapshots, got TimeLimit"):
        snapshot(TimeLimit(stack(())))
