"""What a run's evaluations say: the part of a row that every table of claims has."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


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


def mean_pass(row: Mapping[str, Any]) -> float:
    """Return the mean pass@1 over the generated tokens of a run, by trapezoids.

    Tokens that are spent before training, as by POPE's search, have the untrained policy's pass@1.

    >>> curve = [(0, 0, 0.2, 1), (5, 600, 0.4, 1), (10, 1100, 0.8, 1)]
    >>> round(mean_pass({"curve": curve, "prepared_tokens": 100}), 4)  # (20 + 150 + 300) / 1100
    0.4273
    """
    tokens, values = zip(*((point[1], point[2]) for point in row["curve"]), strict=True)
    prepared = row["prepared_tokens"]
    x = np.array([0, prepared, *tokens[1:]], dtype=float)
    y = np.array([values[0], values[0], *values[1:]], dtype=float)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / x[-1])
