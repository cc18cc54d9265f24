import pytest
import torch

from reason_env.agents.learning import loss_metrics
from reason_env.agents.metrics import METRICS, OUTCOMES, metric
from reason_env.agents.rollout import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    advantage_metrics,
    rollout_metrics,
)
from reason_env.agents.rollout.metrics import has_signal
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problem import Problem
from reason_env.state import ReasonState

STATE = ReasonState(
    problem=Problem(problem_id="toy/train/0", question="1+1=?", answer="2"), codec=ByteCodec()
)


def trajectory(
    outcome: str,
    *,
    reward: float,
    tokens: int = 2,
    cut_off: int = 0,
    role="base",
    undecided: str = "left_out",
):
    start = Start(state=STATE, num_samples=1, learn_from=STATE, group="g", role=role)
    ids = STATE.codec.encode("7" * tokens)
    return Trajectory(
        trajectory_id="0/0",
        start=start,
        index=0,
        final_state=STATE.extend(ids),
        prompt_ids=(5,),
        learn_prompt_ids=(5,),
        behavior_log_probs=(-0.5,) * tokens,
        sampled_ids=ids + (5,) * cut_off,
        episode_return=reward,
        is_success=outcome == "correct",
        outcome=outcome,
        policy_version=0,
        is_left_out=outcome in ("timeout", "error") and undecided == "left_out",
    )


def sample(advantage: float) -> TrainingSample:
    return TrainingSample(
        context_ids=(5,),
        token_ids=(7,),
        action_mask=(True,),
        behavior_log_probs=(-0.5,),
        advantage=advantage,
        role="base",
        group="g",
    )


MIXED = Group(
    key="mixed",
    trajectories=(
        trajectory("correct", reward=1.0, tokens=2),
        trajectory("incorrect", reward=-0.25, tokens=4, cut_off=3),
        trajectory("truncated", reward=0.0, tokens=6),
        trajectory("timeout", reward=9.0, tokens=8),
    ),
)
FLAT = Group(
    key="flat",
    trajectories=(
        trajectory("no_answer", reward=0.0, tokens=1),
        trajectory("error", reward=9.0, tokens=3),
    ),
)


def test_the_metrics_of_two_groups_are_the_hand_computed_ones():
    assert rollout_metrics([MIXED, FLAT]) == {
        # Four of six are graded: returns 1, -0.25, 0, 0.
        "rollout/return_mean": 0.1875,
        "rollout/pass_rate": 0.25,
        "rollout/num_trajectories": 6,
        "rollout/num_groups": 2,
        "rollout/solved_problems": 1,
        "rollout/solved_problems_unaided": 1,
        "rollout/completion_tokens_mean": 4.0,  # (2 + 4 + 6 + 8 + 1 + 3) / 6
        "rollout/sampled_tokens": 27,  # 24 and the 3 that were left out
        "rollout/truncated_fraction": 1 / 6,
        "grade/correct_fraction": 1 / 6,
        "grade/incorrect_fraction": 1 / 6,
        "grade/no_answer_fraction": 1 / 6,
        "grade/timeout_fraction": 1 / 6,
        "grade/error_fraction": 1 / 6,
        "grade/truncated_fraction": 1 / 6,
        "advantage/groups_without_signal_fraction": 0.5,
    }


def test_an_ungraded_episode_counts_in_no_mean_return_and_gives_no_signal():
    failed = Group(
        key="g",
        trajectories=(trajectory("correct", reward=1.0), trajectory("error", reward=0.0)),
    )
    metrics = rollout_metrics([failed])
    assert metrics["rollout/return_mean"] == 1.0
    assert metrics["rollout/pass_rate"] == 1.0
    assert not has_signal(failed)


def test_an_undecided_episode_counts_with_its_reward_unless_it_is_left_out():
    undecided = trajectory("timeout", reward=0.0, undecided="no_reward")
    group = Group(key="g", trajectories=(trajectory("correct", reward=1.0), undecided))
    metrics = rollout_metrics([group])
    assert metrics["rollout/return_mean"] == 0.5
    assert metrics["rollout/pass_rate"] == 0.5
    assert metrics["grade/timeout_fraction"] == 0.5
    assert has_signal(group)


def test_without_graded_episodes_the_pass_rate_is_none_and_not_zero():
    metrics = rollout_metrics([Group(key="g", trajectories=(trajectory("error", reward=0.0),))])
    assert metrics["rollout/pass_rate"] is None
    assert metrics["rollout/return_mean"] is None
    assert metrics["grade/error_fraction"] == 1.0


def test_episodes_with_help_are_counted_in_total_and_by_role():
    hinted = Group(
        key="h",
        trajectories=(
            trajectory("correct", reward=0.5, role="hinted"),
            trajectory("correct", reward=1.0, role="hinted"),
        ),
    )
    metrics = rollout_metrics([MIXED, hinted])
    assert metrics["rollout/pass_rate"] == 3 / 5
    assert metrics["rollout/pass_rate/base"] == 1 / 3
    assert metrics["rollout/pass_rate/hinted"] == 1.0
    assert metrics["rollout/return_mean/hinted"] == 0.75
    assert metrics["rollout/num_trajectories/base"] == 4


def test_every_name_that_is_computed_here_is_in_the_table():
    hinted = Group(key="h", trajectories=(trajectory("correct", reward=1.0, role="hinted"),))
    for name in {**rollout_metrics([MIXED, hinted]), **advantage_metrics([sample(1.0)])}:
        metric(name)


def test_every_name_that_the_loss_reports_is_in_the_table():
    for name in loss_metrics.METRIC_NAMES.values():
        metric(f"update/{name}")
    parts = {name: torch.ones(2) for name in ("tokens", "ratio", "ratio_square")}
    maxima = {f"{name}_max": torch.ones(2) for name in ("ratio", "behavior_gap")}
    for name in loss_metrics.summarize([parts | maxima]):
        metric(name)


def test_the_mean_absolute_advantage_is_over_samples():
    assert advantage_metrics([sample(-1.5), sample(0.5)]) == {"advantage/mean_abs": 1.0}
    assert advantage_metrics([]) == {"advantage/mean_abs": None}


def test_no_trajectory_is_refused():
    with pytest.raises(ConfigError, match="at least one trajectory, got none; collect some first"):
        rollout_metrics([])


def test_an_unknown_metric_is_refused_with_the_near_match():
    with pytest.raises(
        UnknownNameError,
        match=r"no metric 'rollout/pas_rate' among \d+ of METRICS in agents/metrics\.py; did you "
        r"mean 'rollout/pass_rate'\?",
    ):
        metric("rollout/pas_rate")


def test_a_role_is_allowed_only_where_the_metric_is_per_role():
    assert metric("rollout/pass_rate/hinted") is METRICS["rollout/pass_rate"]
    with pytest.raises(UnknownNameError, match="no metric 'loss/total/hinted'"):
        metric("loss/total/hinted")


def test_every_metric_has_a_stage_a_unit_and_a_meaning():
    stages = {"rollout", "grade", "advantage", "loss", "update", "cpi", "eval", "time"}
    for name, entry in METRICS.items():
        stage, _, what = name.partition("/")
        assert stage in stages, name
        assert what
        assert "/" not in what, name
        assert entry.unit, name
        assert entry.meaning, name
        assert name.endswith("_s") == (entry.unit == "s"), name


def test_every_outcome_has_a_fraction_metric():
    assert {f"grade/{name}_fraction" for name in OUTCOMES} == {
        name for name in METRICS if name.startswith("grade/")
    }
