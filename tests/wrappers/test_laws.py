"""Laws that every wrapper and every stack of wrappers obeys."""

import random
from itertools import permutations

import gymnasium as gym
import pytest
from gymnasium.utils.env_match import check_environments_match
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.state import Guidance
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.start import StartWrapper

CODEC = ByteCodec()
TOY = ProblemSet(
    "toy",
    (
        Problem(
            problem_id="toy/train/0",
            question="2*3*4+1=?",
            answer="25",
            solution=("2*3=6", "6*4=24", "24+1=25"),
            level=1,
        ),
        Problem(
            problem_id="toy/train/1",
            question="9-5=?",
            answer="4",
            solution=("9-5=4",),
            level=2,
        ),
        Problem(problem_id="toy/train/2", question="no solution is known", answer="7", level=2),
    ),
)
KEYS = {
    "problem_id", "level", "outcome", "success", "extracted", "reason", "num_tokens", "num_steps",
    "privileged_context",
}  # fmt: skip
WRONG = "2*3=6\n6*4=25\n#### 26"


def toy_env(granularity="step", form="text", **changes) -> ReasonEnv:
    changes = {"max_tokens": 80, "max_prompt_tokens": 120} | changes
    return ReasonEnv(TOY, granularity=granularity, format=form, **changes)


def failed_chain(env):
    state = env.unwrapped.initial_state(TOY[0])
    return state.extend(CODEC.encode(WRONG))


def with_reset(env):
    env = ResetToState(env, keep="failures", probability=0.6)
    env.add(failed_chain(env))
    return env


def drawn_policy(state, rng):
    return (*CODEC.encode(f"{rng.integers(3)}*3=6\nsecond\nthird\n"), CODEC.eos_id)


ACTING = {
    "reset": with_reset,
    "rollin": lambda env: PrefixRollin(env, fraction=(0.2, 0.9), probability=0.7),
    "policy": lambda env: PrefixRollin(env, drawn_policy, steps=(1, 2)),
    "prompt": lambda env: PrefixRollin(env, steps=1, conditioning="prompt", schedule="linear"),
    "hint": lambda env: Hint(env, "answer", trigger=0.5),
    "mistakes": lambda env: Hint(env, "mistakes", trigger="after_failure"),
    "curriculum": lambda env: Curriculum(env, probability=0.8),
    "shaping": lambda env: RewardShaping(env, progress=0.5, step_penalty=0.125),
}
SILENT = {
    "reset with probability 0": lambda env: ResetToState(env, [failed_chain(env)], probability=0),
    "reset with an empty archive": ResetToState,
    "rollin with probability 0": lambda env: PrefixRollin(env, probability=0.0),
    "rollin of nothing": lambda env: PrefixRollin(env, fraction=(0.0, 0.0)),
    "rollin of no steps": lambda env: PrefixRollin(env, steps=0, conditioning="prompt"),
    "rollin of a policy that says nothing": lambda env: PrefixRollin(env, lambda state, rng: ()),
    "rollin of nothing of a trajectory": lambda env: PrefixRollin(env, "trajectory", fraction=0),
    "schedule at 0": lambda env: PrefixRollin(env, schedule={"kind": "constant", "value": 0.0}),
    "answer of strength 0": lambda env: Hint(env, "answer", strength=0.0),
    "answer with probability 0": lambda env: Hint(env, "answer", trigger=0.0),
    "no text": lambda env: Hint(env, "text", text="think", strength=0.0),
    "no steps shown": lambda env: Hint(env, "partial_solution", strength=0.0),
    "no mistakes yet": lambda env: Hint(env, "mistakes", strength=0.0),
    "curriculum with probability 0": lambda env: Curriculum(env, probability=0.0),
    "shaping of nothing": RewardShaping,
}


def actions_of(rng: random.Random, problem: Problem) -> str:
    """Returns one of: the reference, a wrong answer, a step, noise."""
    return rng.choice(
        [
            reference_response(problem) + "\n",
            "#### 3\n",
            problem.question + "\n",
            "√ noise",
            "",
            "\n",
        ]
    )


def record(env, *, seed: int, episodes: int = 6) -> list:
    """Plays by a seeded script and returns all that the stack said."""
    rng = random.Random(seed)
    said = []
    for episode in range(episodes):
        options = {"problem": TOY[episode % 3].problem_id} if episode % 3 == 2 else None
        said.append(env.reset(seed=seed if episode in (0, 4) else None, options=options))
        for _ in range(4):
            said.append(env.step(actions_of(rng, env.unwrapped.state.problem)))
            _, _, terminated, truncated, _ = said[-1]
            assert not (terminated and truncated)
            if terminated or truncated:
                break
    return said


@pytest.mark.parametrize("name", SILENT)
def test_strength_or_probability_0_is_the_bare_environment_bit_for_bit(name):
    bare, wrapped = toy_env(), SILENT[name](toy_env())
    for seed in (0, 1, 7):
        assert record(wrapped, seed=seed) == record(bare, seed=seed)
    assert wrapped.unwrapped.np_random.random() == bare.np_random.random()


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize(("granularity", "form"), [("token", "tokens"), ("response", "tokens")])
def test_gymnasium_finds_no_difference_at_strength_0(name, granularity, form):
    bare = toy_env(granularity, form)
    check_environments_match(bare, SILENT[name](toy_env(granularity, form)), 25, seed=3)


def test_every_acting_wrapper_changes_some_episode():
    for name, wrap in ACTING.items():
        differs = [
            record(wrap(toy_env()), seed=seed) != record(toy_env(), seed=seed) for seed in range(6)
        ]
        assert any(differs), name


@pytest.mark.parametrize(
    "names", list(permutations(ACTING, 2)) + list(permutations(ACTING, 3))[::5]
)
def test_stacks_in_any_order_keep_the_contract(names):
    def make():
        env = toy_env()
        for name in names:
            env = ACTING[name](env)
        return env

    env = make()
    first = record(env, seed=5)
    # A used stack with the same memory is as a fresh one: everything random follows the seed.
    assert first == record(make(), seed=5)
    keys = KEYS | ({"shaping"} if "shaping" in names else set())
    for answer in first:
        assert answer[0] in env.observation_space
        assert set(answer[-1]) == keys
        if len(answer) == 5:
            assert type(answer[1]) is float
            assert type(answer[2]) is bool
            assert type(answer[3]) is bool
            if "shaping" not in names:
                assert (answer[1] == 1.0) == answer[-1]["success"]


@pytest.mark.parametrize("names", list(permutations(["reset", "rollin", "hint", "curriculum"])))
def test_an_explicit_state_overrides_every_start_wrapper(names):
    env = toy_env()
    for name in names:
        env = ACTING[name](env)
    state = (
        env.unwrapped.initial_state(TOY[1])
        .extend(CODEC.encode("by hand\n"), "reference")
        .with_guidance(Guidance("text", ("own",)))
    )
    for seed in (None, *range(8)):
        obs, info = env.reset(seed=seed, options={"state": state})
        assert env.unwrapped.state == state
        assert info["privileged_context"] == "own\n"
        assert obs == "9-5=?\nown\n>by hand\n"


@pytest.mark.parametrize("names", list(permutations(["reset", "rollin", "hint"])))
def test_an_explicit_problem_lets_the_wrappers_act(names):
    wrap = ACTING | {
        "rollin": lambda env: PrefixRollin(env, steps=1),
        "hint": lambda env: Hint(env, "answer"),
    }
    env = toy_env()
    for name in names:
        env = wrap[name](env)
    seen = set()
    for seed in range(12):
        _, info = env.reset(seed=seed, options={"problem": "toy/train/0"})
        state = env.unwrapped.state
        assert state.problem == TOY[0]
        assert info["privileged_context"] == "Answer: 25\n"
        seen.add((state.text, *set(state.sources)))
    assert ("2*3=6\n", "reference") in seen
    assert ("2*3=6\n6*4=25\n", "reset") in seen


@pytest.mark.parametrize("names", list(permutations(["reset", "prompt", "hint", "mistakes"], 3)))
def test_no_privileged_text_reaches_the_observation_without_the_hint(names):
    secret = ProblemSet(
        "secret",
        (
            Problem(
                problem_id="s/train/0", question="?", answer="987654", solution=("ABCDE", "FGHIJ")
            ),
        ),
    )
    env = ReasonEnv(secret, max_tokens=80)
    bare = ReasonEnv(secret, max_tokens=80)
    wrap = ACTING | {
        "reset": lambda env: ResetToState(env, keep="all", probability=0.5),
        "hint": lambda env: Hint(env, "answer"),
    }
    for name in names:
        env = wrap[name](env)
    shown = 0
    for seed in range(10):
        obs, info = env.reset(seed=seed)
        state = env.unwrapped.state
        plain, plain_info = bare.reset(options={"state": state.without_guidance()})
        assert plain == "?\n>" + state.text
        assert plain_info["privileged_context"] == ""
        assert not any(word in plain for word in ("987654", "ABCDE", "FGHIJ"))
        assert obs.replace(info["privileged_context"], "", 1) == plain
        shown += "987654" in info["privileged_context"]
        env.step(f"#### {seed}\n")
    assert (shown == 10) == ("hint" in names)


def test_a_chain_sampled_under_a_hint_is_archived_without_privileged_text():
    env = ResetToState(Hint(toy_env(), "answer"), keep="all")
    env.reset(seed=0, options={"problem": "toy/train/0"})
    env.step("own step\n")
    env.step("#### 9\n")
    (chain,) = env.archive.chains
    assert chain.state.guidance == ()
    later = ResetToState(toy_env(), [chain.state], cut=1)
    obs, info = later.reset(options={"problem": "toy/train/0"})
    assert (obs, info["privileged_context"]) == ("2*3*4+1=?\n>own step\n", "")


def test_two_wrappers_of_one_kind_draw_independently():
    def coin(env, text):
        return Hint(env, "text", text=text, trigger=0.5)

    env = coin(coin(toy_env(), "inner"), "outer")
    seen = [env.reset(seed=seed)[1]["privileged_context"] for seed in range(40)]
    assert set(seen) == {"", "inner\n", "outer\n", "inner\nouter\n"}


def test_a_stock_wrapper_between_two_of_ours_does_not_change_their_draws():
    def stack(between):
        env = ACTING["rollin"](toy_env())
        return ACTING["hint"](gym.wrappers.OrderEnforcing(env) if between else env)

    assert record(stack(True), seed=2) == record(stack(False), seed=2)


def test_the_innermost_start_acts_first():
    env = Hint(PrefixRollin(toy_env(), steps=1), "next_step")
    _, info = env.reset(options={"problem": "toy/train/0"})
    assert info["privileged_context"] == "6*4=24\n"
    env = PrefixRollin(Hint(toy_env(), "next_step"), steps=1)
    _, info = env.reset(options={"problem": "toy/train/0"})
    assert info["privileged_context"] == "2*3=6\n"


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(ACTING)), max_size=5),
    seed=st.integers(0, 2**31),
)
def test_the_same_seed_gives_the_same_episodes_through_any_stack(names, seed):
    def make():
        env = toy_env("step", "tokens")
        for name in names:
            env = ACTING[name](env)
        return env

    check_environments_match(make(), make(), 12, seed=seed)


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_wrappers_survive_autoreset_in_vector_environments(kind, mode):
    def make():
        return Hint(PrefixRollin(toy_env("response", "text"), steps=1), "text", text="go")

    cls = {"sync": gym.vector.SyncVectorEnv, "async": gym.vector.AsyncVectorEnv}[kind]
    envs = cls([make, make], autoreset_mode=gym.vector.AutoresetMode[mode])
    try:
        obs, infos = envs.reset(seed=[0, 1])
        for _ in range(4):
            starts = {
                "toy/train/0": "2*3*4+1=?\ngo\n>2*3=6\n",
                "toy/train/1": "9-5=?\ngo\n>9-5=4\n",
                "toy/train/2": "no solution is known\ngo\n>",
            }
            assert list(obs) == [starts[problem] for problem in infos["problem_id"]]
            assert list(infos["privileged_context"]) == ["go\n", "go\n"]
            obs, _, terminations, _, infos = envs.step(("#### 25\n", "#### 4\n"))
            assert terminations.all()
            if mode == "NEXT_STEP":
                obs, rewards, _, _, infos = envs.step(("ignored", "ignored"))
                assert rewards.tolist() == [0.0, 0.0]
    finally:
        envs.close()


@pytest.mark.parametrize(
    "wrap", [ResetToState, PrefixRollin, Hint, Curriculum, RewardShaping, StartWrapper]
)
def test_a_wrapper_refuses_an_environment_that_is_not_a_reason_env(wrap):
    with pytest.raises(ConfigError, match="env must be a stack on ReasonEnv, got CartPole"):
        wrap(gym.make("CartPole-v1"))


def test_a_wrapper_in_the_wrong_position_is_refused():
    with pytest.raises(ConfigError, match="must be the innermost start wrapper, got Hint below"):
        ResetToState(Hint(toy_env(), "answer"), pick="any")


def test_a_refused_start_does_not_change_the_environment():
    env = PrefixRollin(toy_env(max_steps=2), steps=3)
    obs, _ = env.reset(options={"problem": "toy/train/1"})
    with pytest.raises(ValueError, match=r"state must be open, got one that is over"):
        env.reset(options={"problem": "toy/train/0"})
    assert env.step("#### 4\n")[-1]["success"]
    assert env.reset(options={"problem": "toy/train/1"})[0] == obs


@pytest.mark.parametrize("name", ACTING)
def test_a_recorder_at_any_position_changes_no_episode(name, tmp_path):
    plain = record(ACTING[name](toy_env()), seed=3)
    inside = ACTING[name](RecordEpisodes(toy_env(), tmp_path / "a.jsonl"))
    outside = RecordEpisodes(ACTING[name](toy_env()), tmp_path / "b.jsonl")
    assert record(inside, seed=3) == plain
    assert record(outside, seed=3) == plain
