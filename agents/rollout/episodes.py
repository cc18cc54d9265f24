"""What a run keeps of its episodes, and which of them were trained on.

Samples do not name their episodes (a method may merge, drop or rename groups), so they are matched
by content: trained prompt, response and behavior log-probabilities. Episodes that are equal in all
three are interchangeable.

Log-probabilities are kept to 1e-6 nats. What is written is bounded: whole problems, with all that
was sampled for them, while they fit the limit; a problem that alone is larger is cut.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from reason_env.agents.metrics import Number
from reason_env.agents.rollout.trajectory import TrainingSample, Trajectory

_DIGITS = 6


def trained_rows(
    trajectories: Sequence[Trajectory], samples: Sequence[TrainingSample]
) -> list[int | None]:
    """Returns, per trajectory, which of `samples` it became; None where it is not trained on."""
    waiting: dict[tuple[Any, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        sampled = zip(sample.behavior_log_probs, sample.action_mask, strict=True)
        log_probs = tuple(value for value, is_sampled in sampled if is_sampled)
        waiting.setdefault((sample.context_ids, sample.token_ids, log_probs), []).append(row)
    rows: list[int | None] = []
    for item in trajectories:
        key = (item.learn_prompt_ids, item.final_state.response, item.behavior_log_probs)
        own = waiting.get(key)
        rows.append(own.pop(0) if own else None)
    return rows


def discarded_metrics(
    trajectories: Sequence[Trajectory], rows: Sequence[int | None]
) -> dict[str, Number]:
    """Returns the tokens of answering episodes that are in no training sample.

    Args:
        trajectories: Of one iteration.
        rows: `trained_rows` of them.
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
    """Returns the episodes of the first problems as JSON-able dicts, at most `limit`.

    `old_log_probs` of an episode are the trainer's, under the prompt that is trained under and
    before the update; with `behavior_log_probs` they give the ratio. They and `advantage` are null
    where the episode is not trained on; they alone where it has no gradient.

    Args:
        trajectories: Of one iteration.
        limit: Most episodes.
        samples: What was trained, advantages as they were used.
        rows: `trained_rows` of the two.
        old_log_probs: Sample number -> [T] of its sampled tokens, nats (`Learner.old_log_probs`).
    """
    written: list[dict[str, Any]] = []
    for at in _whole_problems(trajectories, limit):
        row = rows[at]
        advantage = None if row is None else samples[row].advantage
        old = None if row is None else _rounded(old_log_probs.get(row))
        written.append(_row(trajectories[at]) | {"advantage": advantage, "old_log_probs": old})
    return written


def _whole_problems(trajectories: Sequence[Trajectory], limit: int) -> list[int]:
    """Returns positions of the episodes of the first problems, as many problems as fit whole."""
    by_problem: dict[str, list[int]] = {}
    for at, item in enumerate(trajectories):
        by_problem.setdefault(item.start.state.problem.problem_id, []).append(at)
    kept: list[int] = []
    for own in by_problem.values():
        if kept and len(kept) + len(own) > limit:
            break
        kept += own
    return kept[:limit]


def _row(item: Trajectory) -> dict[str, Any]:
    state, codec = item.final_state, item.final_state.codec
    hides = item.start.learn_from.guidance != item.start.state.guidance
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
        "hides_guidance": hides,
        "response": state.text,
        "step_ends": list(state.step_ends),
        "pieces": [codec.decode((token,)) for token in state.response],
        "state": state.to_dict(),
        "behavior_log_probs": _rounded(item.behavior_log_probs),
    }


def _rounded(values: Sequence[float] | Tensor | None) -> list[float] | None:
    if values is None:
        return None
    listed = values.tolist() if isinstance(values, Tensor) else values
    return [round(value, _DIGITS) for value in listed]
