"""What a run's metrics say of its evaluations: the part of a row that every table of claims has."""

from collections.abc import Sequence
from typing import Any


def evaluated(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return tokens and iterations of a run, its first and last evaluation, and all as a curve.

    Args:
        metrics: Rows of metrics.jsonl; at least one has an evaluation.
    """
    evals = [row for row in metrics if row.get("eval/pass_at_1") is not None]
    first, last = evals[0], evals[-1]
    return {
        "tokens": last["rollout/sampled_tokens_total"],
        "iterations": last["iteration"],
        "pass_at_1": last["eval/pass_at_1"],
        "pass_at_k": last["eval/pass_at_k"],
        "first_pass_at_1": first["eval/pass_at_1"],
        "first_pass_at_k": first["eval/pass_at_k"],
        "curve": [
            (
                row["iteration"],
                row.get("rollout/sampled_tokens_total") or 0,
                row["eval/pass_at_1"],
                row["eval/pass_at_k"],
            )
            for row in evals
        ],
    }
