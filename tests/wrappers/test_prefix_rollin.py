import numpy as np
import pytest

from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.errors import CodecError, ConfigError, StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.state import Guidance
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState

CODEC = ByteCodec()
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b", "c", "d")),
        Problem(problem_id="toy/train/1", question="!", answer="8"),
    ),
)
TO_0 = {"problem": "toy/train/0"}
WHOLE = "a\nb\nc\nd\n"


def toy_env(**changes) -> ReasonEnv:
    return ReasonEnv(TOY, **({"max_tokens": 60} | changes))


def lengths(env, number=200) -> list[int]:
    """Returns how many reference steps each of many episodes begins with."""
    found = []
    for seed in range(number):
        env.reset(seed=seed, options=TO_0)
        assert WHOLE.startswith(env.unwrapped.state.text)
        found.append(env.unwrapped.state.num_steps)
    return found


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"fraction": (0.0, 0.5)}, {0, 1, 2}),
        ({"fraction": [0.6, 0.7]}, {2, 3}),
        ({"fraction": 0.75}, {3}),
        ({"fraction": 1.0}, {4}),
        ({"steps": 2}, {2}),
        ({"steps": (1, 3)}, {1, 2, 3}),
        ({"steps": (3, 9)}, {3, 4}),
    ],
)
def test_the_range_sets_how_much_of_the_reference_is_rolled_in(settings, steps):
    assert set(lengths(PrefixRollin(toy_env(), **settings))) == steps


def test_each_whole_number_of_a_range_of_steps_is_as_likely():
    found = lengths(PrefixRollin(toy_env(), steps=(1, 3)), 300)
    # Standard deviation of each count: sqrt(300 * 2/9) = 8.2.
    assert all(abs(found.count(steps) - 100) < 4 * 8.2 for steps in (1, 2, 3))


def test_each_token_has_its_source():
    env = PrefixRollin(toy_env(), steps=2)
    env.reset(options=TO_0)
    env.step("own\n")
    state = env.unwrapped.state
    assert state.text == "a\nb\nown\n"
    assert state.sources == ("reference",) * 4 + ("policy",) * 4


def test_the_prompt_conditioning_shows_the_prefix_and_begins_an_empty_response():
    env = PrefixRollin(toy_env(), steps=2, conditioning="prompt")
    obs, info = env.reset(options=TO_0)
    assert obs == "?\nBegin:\na\nb\n>"
    assert info["privileged_context"] == "Begin:\na\nb\n"
    assert env.unwrapped.state.response == ()


def test_a_problem_without_a_solution_starts_with_an_empty_response():
    env = PrefixRollin(toy_env(), fraction=1.0)
    assert env.reset(options={"problem": "toy/train/1"})[0] == "!\n>"
    assert not env.has_acted


def test_the_whole_reference_leaves_the_answer_to_the_policy():
    env = PrefixRollin(toy_env(), fraction=1.0)
    assert env.reset(options=TO_0)[0] == "?\n>" + WHOLE
    assert env.step("#### 7\n")[-1]["success"]


def test_a_policy_is_rolled_in_and_cut_at_a_step():
    drawn = []

    def policy(state, rng):
        drawn.append((state.problem.problem_id, float(rng.random())))
        return (*CODEC.encode("p\nq\nr\ns"), CODEC.eos_id, *CODEC.encode("never\n"))

    env = PrefixRollin(toy_env(), policy, steps=2)
    env.reset(seed=4, options=TO_0)
    state = env.unwrapped.state
    assert (state.text, set(state.sources)) == ("p\nq\n", {"reset"})
    env.reset(seed=4, options=TO_0)
    assert drawn[0] == drawn[1]
    # All but the last of its four steps, however much is asked for.
    env = PrefixRollin(toy_env(), policy, fraction=1.0)
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "p\nq\nr\n"


def test_a_policy_continues_from_an_inner_prefix():
    env = PrefixRollin(toy_env(), steps=1)
    env = PrefixRollin(env, lambda state, rng: CODEC.encode("p\nq\nr"), steps=2)
    env.reset(options=TO_0)
    state = env.unwrapped.state
    assert state.text == "a\np\n"


def test_a_trajectory_is_a_remembered_success():
    env = PrefixRollin(toy_env(), "trajectory", fraction=0.5)
    for text in ("x\ny\n#### 9\n", "u\nv\nw\n#### 7\n"):
        env.reset(options=TO_0)
        env.step(text)
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "u\nv\n"
    assert set(env.unwrapped.state.sources) == {"reset"}
    assert env.reset(options={"problem": "toy/train/1"})[0] == "!\n>"
    env = PrefixRollin(toy_env(), "trajectory", fraction=0.5, conditioning="prompt")
    env.add(toy_env().initial_state(TOY[0]).extend(CODEC.encode("u\nv\nw\nx")))
    env.reset(options=TO_0)
    assert env.unwrapped.state.guidance == (Guidance("partial_solution", ("u\n", "v\n")),)


@pytest.mark.parametrize("end", [256, 257])
def test_tokens_of_a_policy_after_any_end_token_are_dropped(end):
    codec = ByteCodec()
    codec.end_ids = (257, 256)

    def policy(state, rng):
        return (*codec.encode("p\nq"), end, *codec.encode("r\ns\nt\n"), 257)

    env = PrefixRollin(ReasonEnv(TOY, codec=codec), policy, fraction=1.0)
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "p\n"


def test_tokens_of_a_policy_after_the_end_token_are_dropped():
    def policy(state, rng):
        return (*CODEC.encode("p\nq"), CODEC.eos_id, *CODEC.encode("r\ns\nt\n"))

    env = PrefixRollin(toy_env(), policy, fraction=1.0)
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "p\n"


def test_a_trajectory_that_does_not_continue_the_start_is_not_used():
    begun = toy_env().initial_state(TOY[0]).extend(CODEC.encode("x\n"))
    env = PrefixRollin(ResetToState(toy_env(), [begun], cut=None), "trajectory", fraction=1.0)
    env.add(toy_env().initial_state(TOY[0]).extend(CODEC.encode("u\nv\nw\n")))
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "x\n"
    env.add(toy_env().initial_state(TOY[0]).extend(CODEC.encode("x\ny\nz\n")))
    seen = set()
    for seed in range(20):
        env.reset(seed=seed, options=TO_0)
        seen.add(env.unwrapped.state.text)
    assert seen == {"x\n", "x\ny\n"}


def test_the_schedule_chooses_the_point_within_the_range():
    linear = {"kind": "linear", "begin": 1.0, "end": 0.0, "episodes": 2}
    env = PrefixRollin(toy_env(), fraction=(0.25, 0.75), schedule=linear)
    found = []
    for _ in range(4):
        env.reset(options=TO_0)
        found.append(env.unwrapped.state.num_steps)
        env.step("#### 7\n")
    # 0.75, 0.5, 0.25, 0.25 of four steps.
    assert found == [3, 2, 1, 1]


def test_the_schedule_counts_only_episodes_that_it_started():
    linear = {"kind": "linear", "begin": 0.0, "end": 1.0, "episodes": 4}
    env = PrefixRollin(toy_env(), steps=(0, 4), schedule=linear)
    state = toy_env().initial_state(TOY[0])
    for _ in range(3):
        env.reset(options={"state": state})
        env.step("#### 7\n")
    env.reset(options=TO_0)
    assert env.unwrapped.state.num_steps == 0
    env.step("#### 7\n")
    for _ in range(3):
        env.reset(options={"state": state})
        env.step("#### 7\n")
    env.reset(options=TO_0)
    assert env.unwrapped.state.num_steps == 1
    # An episode that is left counts for nothing.
    env.reset(options=TO_0)
    assert env.unwrapped.state.num_steps == 1


def test_an_ungraded_episode_does_not_advance_the_schedule(monkeypatch):
    from reason_env.verdict import Outcome, Verdict

    env = PrefixRollin(
        toy_env(), schedule={"kind": "linear", "begin": 0.0, "end": 1.0, "episodes": 1}
    )
    inner = env.unwrapped
    inner._grade = lambda text, answer: Verdict(Outcome.TIMEOUT)
    for _ in range(2):
        env.reset(options=TO_0)
        assert inner.state.num_steps == 0
        env.step("#### 7\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fraction": (0.5, 1.5)}, r"fraction must lie in 0\.\.1, got 1\.5; it is a share"),
        ({"fraction": -0.5}, r"fraction must lie in 0\.\.1, got -0\.5"),
        ({"fraction": (0.7, 0.2)}, r"fraction must be \(low, high\) with low <= high"),
        ({"fraction": (0.1, 0.2, 0.3)}, r"fraction must be one number or \(low, high\), got"),
        ({"fraction": "half"}, r"fraction must be a number in 0\.\.1, got 'half'"),
        ({"fraction": 0.5, "steps": 2}, "fraction and steps must not both be given"),
        ({"steps": 1.5}, r"steps must be whole numbers 0 <= low <= high, got 1\.5"),
        ({"steps": (3, 1)}, r"steps must be whole numbers 0 <= low <= high, got \(3, 1\)"),
        ({"steps": -1}, "steps must be whole numbers 0 <= low <= high, got -1"),
        ({"source": "refrence"}, "source must be one of .* or a policy, got .*mean 'reference'"),
        ({"conditioning": "promt"}, "conditioning must be one of response, prompt, got 'promt'"),
        ({"schedule": "cosin"}, "schedule kind must be one of constant, .*did you mean 'cosine'"),
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"probability": "often"}, r"probability must be a number in 0\.\.1, got 'often'"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        PrefixRollin(toy_env(), **settings)


def test_only_a_trajectory_source_can_be_fed():
    with pytest.raises(StateError, match="source must be 'trajectory' for add"):
        PrefixRollin(toy_env()).add(toy_env().initial_state(TOY[0]))


def test_a_prefix_that_contains_the_end_token_is_refused():
    env = PrefixRollin(toy_env(), "trajectory")
    chain = toy_env().initial_state(TOY[0]).extend((97, CODEC.eos_id, 98))
    with pytest.raises(
        StateError, match="a trajectory must hold the end token 257 at its end only"
    ):
        env.add(chain)
    assert env.reset(options=TO_0)[0] == "?\n>"


def test_impossible_ids_of_a_policy_are_refused_and_the_env_stays_usable():
    env = PrefixRollin(toy_env(), lambda state, rng: (-3,))
    with pytest.raises(CodecError, match=r"token ids must lie in 0\.\.257, got -3"):
        env.reset(seed=0)
    assert env.reset(options={"state": toy_env().initial_state(TOY[0])})[0] == "?\n>"


def test_numpy_ids_of_a_policy_are_accepted():
    env = PrefixRollin(toy_env(), lambda state, rng: np.array(CODEC.encode("p\nq")), steps=1)
    env.reset(options=TO_0)
    assert env.unwrapped.state.text == "p\n"
