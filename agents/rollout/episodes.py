"""Select the episodes that a run writes, and tell which of them were trained.

A run writes a limited number of episodes: all episodes of the first problem, of the second, and so
on, as long as they fit; a first problem that exceeds the limit is cut. Log-probabilities are
rounded to 1e-6 nats.
"""

# torch leaves tolist, backward and step untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from reason_env.agents.metrics import Number
from reason_env.agents.rollout.trajectory import TrainingSample, Trajectory
from reason_env.codec import text_of

_DIGITS = 6


def trained_rows(
    trajectories: Sequence[Trajectory], samples: Sequence[TrainingSample]
) -> list[int | None]:
    """Find the sample that each trajectory became: its number, or None if it is not trained."""
    row_of: dict[str, int] = {}
    for row, sample in enumerate(samples):
        if sample.trajectory_id is not None:
            row_of.setdefault(sample.trajectory_id, row)
    ids = [item.trajectory_id for item in trajectories]
    assert len(set(ids)) == len(ids), "batches of one iteration must be collected with other seeds"
    return [row_of.get(name) for name in ids]


def discarded_metrics(
    trajectories: Sequence[Trajectory], rows: Sequence[int | None]
) -> dict[str, Number]:
    """Count the tokens of answering episodes that no training sample holds.

    Args:
        trajectories: The trajectories of one iteration.
        rows: Their `trained_rows`.
    """
    total = sum(
        item.num_sampled_tokens
        for item, row in zip(trajectories, rows, strict=True)
        if row is None and not item.start.is_auxiliary
    )
    return {"rollout/discarded_tokens": total}


def episode_rows(
    trajectories: Sequence[Trajectory],
    limit: int,
    *,
    samples: Sequence[TrainingSample],
    rows: Sequence[int | None],
    old_log_probs: Mapping[int, Tensor],
) -> list[dict[str, Any]]:
    """Convert the episodes of the first problems to JSON-able dicts, at most `limit`.

    An episode's `old_log_probs` are the trainer's before the update, under the prompt that the
    tokens are trained under; `behavior_log_probs` are the sampler's. `advantage` is null if the
    episode is not trained, and the mean over tokens if they differ: `advantages` then has those of
    the episode's sampled tokens. It and `old_log_probs` are null if the sample trains other tokens
    than the episode's, `old_log_probs` also if it has no gradient, or none that is finite.

    Args:
        trajectories: The trajectories of one iteration.
        limit: Largest number of episodes.
        samples: The trained samples, with the advantages that were used.
        rows: `trained_rows` of the trajectories.
        old_log_probs: Sample number -> [T], nats of the sampled tokens (`Learner.old_log_probs`).
    """
    episodes: list[dict[str, Any]] = []
    for number in _whole_problems(trajectories, limit):
        row = rows[number]
        episode = _row(trajectories[number])
        if row is None:
            episodes.append(episode | {"advantage": None, "old_log_probs": None})
            continue
        item, sample = trajectories[number], samples[row]
        own = sample.advantage
        of_tokens: dict[str, Any] = {"advantage": own}
        if isinstance(own, tuple):
            of_tokens["advantage"] = sum(own) / sum(sample.action_mask)
            of_tokens["advantages"] = _rounded(_advantages(item, sample))
        old = _rounded(_of_episode(item, sample, old_log_probs.get(row)))
        episodes.append(episode | of_tokens | {"old_log_probs": old})
    return episodes


def _advantages(item: Trajectory, sample: TrainingSample) -> tuple[float, ...] | None:
    """Return the advantages of the tokens sampled in an episode; 0 of those not trained."""
    if sample.token_ids != item.final_state.response:
        return None
    own = sample.advantages[item.prefix_length :]
    return tuple(
        value
        for value, source in zip(own, item.completion_sources, strict=True)
        if source == "policy"
    )


def _of_episode(item: Trajectory, sample: TrainingSample, values: Tensor | None) -> Tensor | None:
    """Cut the numbers of a sample's trained tokens to those that were sampled in its episode."""
    trained = sum(sample.action_mask[item.prefix_length :])
    is_whole = trained == len(item.behavior_log_probs)
    if values is None or sample.token_ids != item.final_state.response or not is_whole:
        return None
    return values[sum(sample.action_mask[: item.prefix_length]) :]


def _whole_problems(trajectories: Sequence[Trajectory], limit: int) -> list[int]:
    """Number the episodes of the first problems, as many problems as fit completely."""
    by_problem: dict[str, list[int]] = {}
    for number, item in enumerate(trajectories):
        by_problem.setdefault(item.start.state.problem.problem_id, []).append(number)
    kept: list[int] = []
    for numbers in by_problem.values():
        if kept and len(kept) + len(numbers) > limit:
            break
        kept += numbers
    return kept[:limit]


def _row(item: Trajectory) -> dict[str, Any]:
    state, codec = item.final_state, item.final_state.codec
    return {
        "group": item.start.group,
        "role": item.start.role,
        "is_auxiliary": item.start.is_auxiliary,
        "index": item.index,
        "outcome": item.outcome,
        "return": item.episode_return,
        "policy_version": item.policy_version,
        "start_tokens": item.prefix_length,
        "sampled_tokens": item.num_sampled_tokens,
        "hides_guidance": item.start.learn_from.guidance != item.start.state.guidance,
        "response": state.text,
        "step_ends": list(state.step_ends),
        "pieces": list(map(text_of(codec), state.response)),
        "state": state.to_dict(),
        "behavior_log_probs": _rounded(item.behavior_log_probs),
    }


def _rounded(values: Sequence[float] | Tensor | None) -> list[float] | None:
    if values is None:
        return None
    listed = values.tolist() if isinstance(values, Tensor) else values
    if not all(map(math.isfinite, listed)):
        return None
    return [round(value, _DIGITS) for value in listed]
