import json

import gymnasium as gym
import pytest

import reason_env
from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, StateError, UnknownNameError
from reason_env.problem import Problem, ProblemSet
from reason_env.verdict import Outcome, Verdict
from reason_env.wrappers.reset_to_state import ResetToState

CODEC = ByteCodec()


def first_x(problem, steps):
    return next((index for index, step in enumerate(steps, 1) if "x" in step), None)


TOY = ProblemSet(
    "toy",
    tuple(
        Problem(problem_id=f"toy/train/{row}", question=f"question {row}", answer=str(row + 5))
        for row in range(3)
    ),
    checker=first_x,
)
TO_0 = {"problem": "toy/train/0"}


def toy_env(**changes) -> ReasonEnv:
    return ReasonEnv(TOY, **({"max_tokens": 60} | changes))


def chain(text: str, row: int = 0, *, ends=False):
    state = toy_env().initial_state(TOY[row])
    return state.extend((*CODEC.encode(text), *([CODEC.eos_id] if ends else [])))


def starts(env, number=60, options=None) -> list[str]:
    found = []
    for seed in range(number):
        env.reset(seed=seed, options=options)
        found.append(env.unwrapped.state.text)
    return found


@pytest.mark.parametrize(
    ("cut", "begun"),
    [
        ("uniform", {"", "a\n", "a\nb\n", "a\nb\nx\n"}),
        ("checker", {"a\nb\n"}),
        (0, {""}),
        (1, {"a\n"}),
        (9, {"a\nb\nx\n"}),
        (lambda state, rng: state.num_steps - 2, {"a\nb\n"}),
    ],
)
def test_a_cut_decides_how_many_steps_are_kept(cut, begun):
    env = ResetToState(toy_env(), [chain("a\nb\nx\nd", ends=True)], cut=cut)
    assert set(starts(env, options=TO_0)) == begun
    assert set(env.unwrapped.state.sources) <= {"reset"}


def test_an_entropy_cut_uses_the_entropies_of_the_chain():
    env = ResetToState(toy_env(), cut="entropy")
    env.add(chain("a\nb\nc"), entropies=[0.1, 0.2, 3.0, 0.1, 0.3])
    assert set(starts(env, 5, TO_0)) == {"a\n"}


def test_cut_none_starts_from_the_whole_state():
    env = ResetToState(toy_env(), [chain("a\nb\npart")], cut=None)
    assert set(starts(env, 5, TO_0)) == {"a\nb\npart"}


def test_only_chains_of_the_problem_are_picked():
    env = ResetToState(toy_env(), [chain("zero\n", 0), chain("one\n", 1)], cut=None)
    for seed in range(30):
        _, info = env.reset(seed=seed)
        expected = {"toy/train/0": "zero\n", "toy/train/1": "one\n", "toy/train/2": ""}
        assert env.unwrapped.state.text == expected[info["problem_id"]]
        assert env.has_acted == (info["problem_id"] != "toy/train/2")


def test_pick_any_takes_the_problem_of_the_chain_unless_one_is_named():
    env = ResetToState(toy_env(), [chain("one\n", 1), chain("two\n", 1)], cut=None, pick="any")
    assert set(starts(env)) == {"one\n", "two\n"}
    assert env.unwrapped.state.problem == TOY[1]
    assert set(starts(env, options=TO_0)) == {""}
    assert env.unwrapped.state.problem == TOY[0]
    env.reset()
    assert env.unwrapped.state.problem == TOY[1]


def test_every_chain_is_picked_about_equally_often():
    env = ResetToState(toy_env(), [chain("a\n"), chain("b\n"), chain("c\n")], cut=None)
    found = starts(env, 300, TO_0)
    # Standard deviation of each count: sqrt(300 * 2/9) = 8.2.
    assert all(abs(found.count(text) - 100) < 4 * 8.2 for text in ("a\n", "b\n", "c\n"))


def test_the_probability_is_the_share_of_resets_that_start_from_a_chain():
    env = ResetToState(toy_env(), [chain("a\n")], cut=None, probability=0.25)
    acted = sum(text == "a\n" for text in starts(env, 400, TO_0))
    # Standard deviation: sqrt(400 * 3/16) = 8.7.
    assert abs(acted - 100) < 4 * 8.7


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("none", []),
        ("failures", ["#### 9\n", "long" * 15]),
        ("successes", ["#### 5\n"]),
        ("all", ["#### 9\n", "#### 5\n", "long" * 15]),
    ],
)
def test_the_stack_feeds_the_archive_with_its_own_episodes(keep, kept):
    env = ResetToState(toy_env(), keep=keep, cut=0)
    for text in ("#### 9\n", "#### 5\n", "long" * 15):
        env.reset(options=TO_0)
        env.step(text)
    assert [item.state.text for item in env.archive.chains] == kept


@pytest.mark.parametrize("outcome", ["timeout", "error"])
def test_an_episode_whose_verifier_failed_is_not_kept(outcome):
    env = ResetToState(toy_env(), keep="all", cut=0)
    inner = env.unwrapped
    inner._grade = lambda text, answer: Verdict(Outcome(outcome))
    env.reset(options=TO_0)
    assert env.step("#### 9\n")[2]
    assert len(env.archive) == 0


def test_the_archive_is_a_ring_of_the_newest():
    env = ResetToState(toy_env(), capacity=3, cut=None)
    for row, text in ((0, "a"), (1, "b"), (0, "c"), (0, "d"), (1, "e")):
        env.add(chain(text, row))
    assert [item.state.text for item in env.archive.chains] == ["c", "d", "e"]
    assert [item.state.text for item in env.archive.of_problem("toy/train/0")] == ["c", "d"]
    assert [item.state.text for item in env.archive.of_problem("toy/train/1")] == ["e"]
    assert len(env.archive) == 3


@pytest.mark.parametrize(
    "form", [lambda state: state, lambda state: state.to_dict(), lambda state: state.to_json()]
)
def test_states_may_be_values_dicts_or_json_and_the_spec_holds_them(form):
    env = gym.make("MathReason-v0", size=2, levels=(2, 2))
    state = env.unwrapped.initial_state(env.unwrapped.problems[0])
    env = ResetToState(env, [form(state.extend(CODEC.encode("A\n")))], cut=None)
    made = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert made.archive.chains == env.archive.chains
    assert made.archive.chains[0].state.text == "A\n"


def test_states_may_be_a_file_of_states_or_of_recorded_episodes(tmp_path):
    path = tmp_path / "starts.jsonl"
    rows = [chain("a\n").to_json(), json.dumps({"final_state": chain("b\n").to_dict()})]
    path.write_text("\n".join(rows) + "\n")
    env = ResetToState(toy_env(), path, cut=None)
    assert [item.state.text for item in env.archive.chains] == ["a\n", "b\n"]
    assert ResetToState(toy_env(), str(path), cut=None).archive.chains == env.archive.chains


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut": "unifrom"}, "cut must be one of uniform, entropy, checker, .*mean 'uniform'"),
        ({"cut": -1}, "cut must be at least 0 steps, got -1"),
        ({"cut": True}, "cut must be one of .*, got True"),
        ({"cut": 0.5}, r"cut must be one of .*, got 0\.5"),
        ({"keep": "failure"}, "keep must be one of none, failures.*did you mean 'failures'"),
        ({"pick": "all"}, "pick must be one of problem, any, got 'all'"),
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"probability": 1.5}, r"probability must lie in 0\.\.1, got 1\.5"),
        ({"cut": None, "keep": "all"}, "keep must be 'none' if cut is None, got 'all'"),
        ({"states": "nowhere.jsonl"}, "states must be states or a JSONL file of them, got 'no"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        ResetToState(toy_env(), **settings)


def test_a_checker_cut_needs_a_checker():
    env = ReasonEnv(ProblemSet("plain", TOY.problems))
    with pytest.raises(ConfigError, match="cut='checker' must have problems with a step checker"):
        ResetToState(env, cut="checker")


def test_a_chain_of_another_set_or_codec_is_refused_and_the_env_stays_usable():
    env = ResetToState(toy_env())
    other = Problem(problem_id="toy/train/0", question="another", answer="1")
    with pytest.raises(StateError, match="state must hold this set's problem 'toy/train/0'"):
        env.add(reason_env.ReasonState(problem=other, codec=CODEC))
    elsewhere = Problem(problem_id="toy/test/0", question="another", answer="1")
    with pytest.raises(UnknownNameError, match="no problem 'toy/test/0' among 3; did you mean"):
        env.add(reason_env.ReasonState(problem=elsewhere, codec=CODEC))
    with pytest.raises(StateError, match="state must be of codec"):
        env.add(reason_env.ReasonState(problem=TOY[0], codec=ByteCodec(";")))
    with pytest.raises(StateError, match="must be a ReasonState, its dict or its JSON, got 3"):
        env.add(3)
    assert len(env.archive) == 0
    assert env.reset(options=TO_0)[0] == "question 0\n>"


def test_a_chain_with_the_end_token_inside_is_refused():
    eos = CODEC.eos_id
    state = chain("").extend((97, eos, 98))
    with pytest.raises(StateError, match=f"must hold the end token {eos} at its end only"):
        ResetToState(toy_env()).add(state)


def test_a_chain_that_any_end_token_has_ended_is_no_open_state():
    codec = ByteCodec()
    codec.end_ids = (257, 256)
    env = ResetToState(ReasonEnv(TOY, codec=codec), cut=None)
    state = reason_env.ReasonState(problem=TOY[0], codec=codec).extend((97, 256))
    with pytest.raises(StateError, match=r"^a state must be open if cut is None, got one that has"):
        env.add(state)
    with pytest.raises(StateError, match="must hold the end token 256 at its end only"):
        ResetToState(ReasonEnv(TOY, codec=codec)).add(state.extend((98,)))


@pytest.mark.parametrize("item", [3, None, (0, 4), "no JSON", "[1]"])
def test_items_that_are_not_states_are_refused(item):
    with pytest.raises(StateError, match="each of states must be a ReasonState, its dict or its"):
        ResetToState(toy_env(), [item])


@pytest.mark.parametrize("states", [3, None, chain("a\n"), chain("a\n").to_dict()])
def test_states_that_are_no_list_are_refused(states):
    with pytest.raises(ConfigError, match=r"states must be states or .*put a single state in a"):
        ResetToState(toy_env(), states)


@pytest.mark.parametrize("state", [chain("a", ends=True), chain("y" * 60)])
def test_a_state_that_has_ended_needs_a_cut(state):
    with pytest.raises(StateError, match="a state must be open if cut is None, got one that has"):
        ResetToState(toy_env(), [state], cut=None)


def test_an_entropy_cut_needs_entropies():
    with pytest.raises(StateError, match="must come with its entropies if cut is 'entropy'"):
        ResetToState(toy_env(), [chain("a\n")], cut="entropy")
    with pytest.raises(StateError, match="entropies must be one number per token, got 1 for 2"):
        ResetToState(toy_env(), cut="entropy").add(chain("a\n"), [1.0])


@pytest.mark.parametrize("count", [-1, 2])
def test_a_function_that_cuts_outside_the_chain_is_refused(count):
    env = ResetToState(toy_env(), [chain("a\nb")], cut=lambda state, rng: count)
    with pytest.raises(
        ConfigError, match=rf"cut must return a number of steps in 0\.\.1, got {count}"
    ):
        env.reset(options=TO_0)


def test_a_damaged_file_is_refused_with_its_line(tmp_path):
    path = tmp_path / "starts.jsonl"
    path.write_text(chain("a\n").to_json() + "\nnot json\n")
    with pytest.raises(
        StateError, match=r"starts\.jsonl line 2 must be a JSON object, got 'not json'"
    ):
        ResetToState(toy_env(), path)
