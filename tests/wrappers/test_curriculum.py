from collections import Counter

import pytest

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.wrappers.curriculum import Curriculum

TOY = ProblemSet(
    "toy",
    tuple(
        Problem(problem_id=f"toy/train/{row}", question="?", answer="7", level=1 + row // 2)
        for row in range(4)
    ),
)


def drawn(env, number=600) -> Counter:
    return Counter(env.reset(seed=seed)[1]["problem_id"][-1] for seed in range(number))


def test_a_problem_is_drawn_by_how_uncertain_its_success_is():
    measured = {f"toy/train/{row}": rate for row, rate in enumerate((0.5, 0.1, 1.0, 0.0))}
    counts = drawn(Curriculum(ReasonEnv(TOY), measured=measured, floor=0.0))
    # Weights 0.25 and 0.09; standard deviation sqrt(600 * 0.735 * 0.265) = 10.8.
    assert abs(counts["0"] - 600 * 0.25 / 0.34) < 4 * 10.8
    assert sorted(counts) == ["0", "1"]


def test_the_floor_gives_every_problem_a_positive_probability():
    measured = {f"toy/train/{row}": rate for row, rate in enumerate((0.5, 1.0, 1.0, 1.0))}
    counts = drawn(Curriculum(ReasonEnv(TOY), measured=measured, floor=0.05))
    # 0.30 against three times 0.05.
    assert abs(counts["0"] - 400) < 4 * 11.6
    assert len(counts) == 4


def test_if_every_weight_is_0_all_problems_are_equally_likely():
    measured = {"1": 1.0, "2": 0.0}
    counts = drawn(Curriculum(ReasonEnv(TOY), by="level", measured=measured, floor=0.0))
    assert all(abs(count - 150) < 4 * 10.7 for count in counts.values())
    assert len(counts) == 4


def test_the_pass_rate_is_a_running_mean_of_what_happens():
    env = Curriculum(ReasonEnv(TOY), memory=0.75)
    for answer in ("7", "7", "8"):
        env.reset(options={"problem": "toy/train/2"})
        env.step(f"#### {answer}\n")
    # 0.5 -> 0.625 -> 0.71875 -> 0.5390625.
    assert env.pass_rates == {
        "toy/train/0": 0.5, "toy/train/1": 0.5, "toy/train/2": 0.5390625, "toy/train/3": 0.5,
    }  # fmt: skip


def test_a_level_is_measured_as_a_whole():
    env = Curriculum(ReasonEnv(TOY), by="level", memory=0.5)
    for row in (2, 3):
        env.reset(options={"problem": f"toy/train/{row}"})
        env.step("#### 7\n")
    assert env.pass_rates == {"1": 0.5, "2": 0.875}


def test_a_named_problem_or_a_state_overrides_the_curriculum():
    env = Curriculum(ReasonEnv(TOY), measured={"toy/train/0": 0.5}, floor=0.0)
    assert env.reset(seed=0, options={"problem": "toy/train/3"})[1]["problem_id"] == "toy/train/3"
    state = env.unwrapped.initial_state(TOY[2])
    assert env.reset(options={"state": state})[1]["problem_id"] == "toy/train/2"


def test_a_failed_verifier_is_not_measured():
    from reason_env.verdict import Outcome, Verdict

    env = Curriculum(ReasonEnv(TOY))
    inner = env.unwrapped
    inner._grade = lambda text, reference: Verdict(Outcome.TIMEOUT)
    env.reset(seed=0)
    env.step("#### 7\n")
    assert set(env.pass_rates.values()) == {0.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "levels"}, "by must be one of problem, level, got 'levels'; did you mean 'level'"),
        ({"probability": 2}, r"probability must lie in 0\.\.1, got 2"),
        ({"floor": -1}, r"floor must lie in 0\.\.1, got -1"),
        ({"memory": 1.5}, r"memory must lie in 0\.\.1, got 1\.5"),
        ({"measured": {"toy/train/0": 3}}, r"measured must lie in 0\.\.1, got 3"),
        (
            {"measured": {"toy/tran/0": 1}},
            "measured must name a problem of the set, .*did you mean",
        ),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        Curriculum(ReasonEnv(TOY), **settings)
