"""UpdateReport: the metrics of one iteration's optimizer steps.

Loss and gradient norm are means over optimizer steps; per-token metrics are means over the sampled
tokens of all steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reason_env.agents.learning.loss import LossOutput
from reason_env.agents.learning.loss_metrics import summarize
from reason_env.agents.rollout import TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerStep:
    """One optimizer step: gradient norm, learning rate and losses."""

    grad_norm: float
    """Before clipping."""
    learning_rate: float
    outputs: list[tuple[list[int], LossOutput]]
    """For each micro-batch and loss: row numbers among the iteration's samples, and the loss."""
    num_forward_tokens: int
    """Tokens that ran through the model with a gradient, padding included."""
    num_row_tokens: int
    """Tokens of the rows with a gradient."""
    num_distinct_tokens: int
    """The same, with shared prefixes counted once."""
    num_teacher_tokens: int | None = None
    """Tokens that ran through a teacher; None without a teacher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """The metrics of one iteration's updates."""

    loss: float
    """Mean over the optimizer steps; 0 if all were skipped."""
    grad_norm: float
    """Mean over the optimizer steps, before clipping; 0 if all were skipped."""
    learning_rate: float
    """In the last optimizer step; 0 if all were skipped."""
    num_updates: int
    """Optimizer steps taken."""
    num_skipped: int
    """Optimizer steps skipped because no row had a gradient."""
    num_nonfinite: int
    """Optimizer steps skipped because loss or gradient was not finite."""
    metrics: dict[str, float]
    """`loss/...` and `update/...`; per-token metrics cover the rows that went through the model
    and are absent without such rows."""
    metrics_by_role: dict[str, dict[str, float]]
    """Per-token metrics of the rows of each role."""
    metrics_by_source: dict[str, dict[str, float]]
    """Per-token metrics of the rows of each source (who wrote the trained tokens)."""


def update_report(
    steps: Sequence[OptimizerStep],
    *,
    num_planned: int,
    num_nonfinite: int,
    samples: Sequence[TrainingSample],
    active_rows_fraction: float,
    is_prefix_shared: bool,
) -> UpdateReport:
    """Summarize the optimizer steps of one iteration.

    Args:
        steps: The steps taken.
        num_planned: Steps taken and skipped.
        num_nonfinite: Those of them that were skipped because they were not finite.
        samples: The iteration's samples, in the order of the row numbers.
        active_rows_fraction: Fraction of samples that can have a gradient, 0..1.
        is_prefix_shared: Whether the model's passes share prefixes.
    """
    outputs = [item for step in steps for item in step.outputs]
    count = max(1, len(steps))

    def mean(part: str) -> float:
        return sum(getattr(output, part).item() for _, output in outputs) / count

    grad_norm = sum(step.grad_norm for step in steps) / count
    learning_rate = steps[-1].learning_rate if steps else 0.0
    num_skipped = num_planned - len(steps) - num_nonfinite
    metrics = {
        "loss/total": mean("loss"),
        "loss/policy": mean("policy"),
        "loss/kl": mean("kl"),
        "loss/entropy": mean("entropy"),
        "update/grad_norm": grad_norm,
        "update/learning_rate": learning_rate,
        "update/num_updates": float(len(steps)),
        "update/num_skipped": float(num_skipped),
        "update/num_nonfinite": float(num_nonfinite),
        "update/active_rows_fraction": active_rows_fraction,
        "update/is_prefix_shared": float(is_prefix_shared),
        "update/row_tokens": float(sum(step.num_row_tokens for step in steps)),
        "update/distinct_tokens": float(sum(step.num_distinct_tokens for step in steps)),
        "update/forward_tokens": float(sum(step.num_forward_tokens for step in steps)),
    }
    scored = [step.num_teacher_tokens for step in steps if step.num_teacher_tokens is not None]
    if scored:
        metrics["update/teacher_tokens"] = float(sum(scored))
    return UpdateReport(
        loss=metrics["loss/total"],
        grad_norm=grad_norm,
        learning_rate=learning_rate,
        num_updates=len(steps),
        num_skipped=num_skipped,
        num_nonfinite=num_nonfinite,
        metrics=metrics | summarize([output.rows for _, output in outputs]),
        metrics_by_role=_summaries(outputs, [sample.role for sample in samples]),
        metrics_by_source=_summaries(outputs, [sample.source for sample in samples]),
    )


def _summaries(
    outputs: Sequence[tuple[list[int], LossOutput]], labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Compute the per-token metrics of the rows of each label; `labels` has one for each row."""
    by_label: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(labels):
        parts: list[dict[str, torch.Tensor]] = []
        for numbers, output in outputs:
            is_own = torch.tensor([labels[n] == label for n in numbers])
            if is_own.any():
                parts.append({name: value.cpu()[is_own] for name, value in output.rows.items()})
        if parts:
            by_label[label] = summarize(parts)
    return by_label
