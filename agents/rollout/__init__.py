"""Collect episodes through the environment: starts, trajectories, training samples, metrics."""

from reason_env.agents.rollout.collect import (
    RolloutBatch,
    chosen_states,
    collect,
    initial_states,
    merge_batches,
)
from reason_env.agents.rollout.episodes import discarded_metrics, episode_rows, trained_rows
from reason_env.agents.rollout.metrics import (
    advantage_metrics,
    role_metrics,
    rollout_metrics,
    signal_metrics,
    source_metrics,
)
from reason_env.agents.rollout.mismatch import (
    Scores,
    is_trained_as_sampled,
    mismatch_metrics,
    trainer_scores,
)
from reason_env.agents.rollout.trajectory import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    training_sample,
)

__all__ = [
    "Group",
    "RolloutBatch",
    "Scores",
    "Start",
    "TrainingSample",
    "Trajectory",
    "advantage_metrics",
    "chosen_states",
    "collect",
    "discarded_metrics",
    "episode_rows",
    "initial_states",
    "is_trained_as_sampled",
    "merge_batches",
    "mismatch_metrics",
    "role_metrics",
    "rollout_metrics",
    "signal_metrics",
    "source_metrics",
    "trained_rows",
    "trainer_scores",
    "training_sample",
]
