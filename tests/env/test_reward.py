import dataclasses
import math

import pytest

from reason_env.codec import ByteCodec
from reason_env.env.reward import RewardConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import EpisodeRules, ReasonState
from reason_env.verdict import Outcome, Verdict

UNEQUAL = RewardConfig(
    correct=1.5, incorrect=-0.25, no_answer=-0.5, truncated=-0.75, ungraded=0.125
)


def state_of(outcome: Outcome | None, num_tokens: int = 3) -> ReasonState:
    problem = Problem(problem_id="toy/train/0", question="?", answer="36")
    state = ReasonState(problem=problem, codec=ByteCodec()).extend([97] * num_tokens)
    return state if outcome is None else dataclasses.replace(state, verdict=Verdict(outcome))


@pytest.mark.parametrize(
    ("outcome", "reward"),
    [
        (Outcome.CORRECT, 1.5),
        (Outcome.INCORRECT, -0.25),
        (Outcome.NO_ANSWER, -0.5),
        (Outcome.TIMEOUT, 0.125),
        (Outcome.ERROR, 0.125),
        (None, 0.0),
    ],
)
def test_each_outcome_has_its_reward_and_an_open_state_none(outcome, reward):
    assert UNEQUAL.reward(state_of(outcome), EpisodeRules()) == reward


def test_a_used_up_budget_has_its_reward_and_a_verdict_beats_it():
    rules = EpisodeRules(max_tokens=3)
    assert UNEQUAL.reward(state_of(None, 3), rules) == -0.75
    assert UNEQUAL.reward(state_of(None, 2), rules) == 0.0
    assert UNEQUAL.reward(state_of(Outcome.CORRECT, 3), rules) == 1.5


def test_by_default_only_a_correct_answer_is_rewarded():
    found = {name: RewardConfig().reward(state_of(name), EpisodeRules()) for name in Outcome}
    assert found == {name: float(name is Outcome.CORRECT) for name in Outcome}
    assert RewardConfig().reward(state_of(None, 3), EpisodeRules(max_tokens=3)) == 0.0


def test_rewards_are_python_floats_also_when_integers_are_given():
    config = RewardConfig(correct=2, incorrect=1, no_answer=3, truncated=4, ungraded=5)
    for outcome in (*Outcome, None):
        assert type(config.reward(state_of(outcome), EpisodeRules(max_tokens=3))) is float


NUMBERS = [item.name for item in dataclasses.fields(RewardConfig) if item.name != "undecided"]


def test_an_unknown_policy_for_undecided_responses_is_refused():
    with pytest.raises(
        ConfigError, match="reward undecided must be no_reward or left_out, got 'drop'"
    ):
        RewardConfig(undecided="drop")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("1", "a number"),
        (True, "a number"),
        (None, "a number"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
    ],
)
def test_a_reward_that_is_no_finite_number_is_refused(name, value, rule):
    with pytest.raises(ConfigError, match=rf"^reward {name} must be {rule}, got {value!r}$"):
        RewardConfig(**{name: value})
