"""Collect episodes through the environment: starts, trajectories, training samples, metrics."""

from reason_env.agents.rollout.collect import RolloutBatch, collect, merge_batches, run_episode
from reason_env.agents.rollout.drawing import (
    DrawnStart,
    chosen_starts,
    initial_starts,
    initial_states,
)
from reason_env.agents.rollout.episodes import discarded_metrics, episode_rows, trained_rows
from reason_env.agents.rollout.metrics import (
    advantage_metrics,
    role_metrics,
    rollout_metrics,
    signal_metrics,
    source_metrics,
    staleness_metrics,
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
from reason_env.agents.rollout.tree import Segment, branch, tree_segments

__all__ = [
    "DrawnStart",
    "Group",
    "RolloutBatch",
    "Scores",
    "Segment",
    "Start",
    "TrainingSample",
    "Trajectory",
    "advantage_metrics",
    "branch",
    "chosen_starts",
    "collect",
    "discarded_metrics",
    "episode_rows",
    "initial_starts",
    "initial_states",
    "is_trained_as_sampled",
    "merge_batches",
    "mismatch_metrics",
    "role_metrics",
    "rollout_metrics",
    "run_episode",
    "signal_metrics",
    "source_metrics",
    "staleness_metrics",
    "trained_rows",
    "trainer_scores",
    "training_sample",
    "tree_segments",
]
