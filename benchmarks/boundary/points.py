"""Point: a cell of the map for one method, with what decided and what training gave.

An arm is judged by its mean pass@1 over the budget, the area under its evaluations over generated
tokens, because easy cells are solved by every arm in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.boundary.sweep import BASELINE
from benchmarks.claims.evaluated import mean_pass
from reason_env.agents.probe.boundary import BASE

LABELS: Mapping[str, str] = MappingProxyType(
    {
        BASE: "base success (pass@1)",
        "localisation/clean": "lateness: uniform cuts without an error (share)",
        "localisation/over_start": "reset at the first error - start (success)",
        "guided/prompt_0.25_gain": "with 25 % of the solution - without (success)",
        "mistakes/gain": "told its wrong answers - not told (success)",
        "explanations/kept": "explanations that reach the given answer (share)",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One method in one cell."""

    cell: str
    method: str
    numbers: Mapping[str, tuple[float, float, float]]
    """Figure -> estimate and 95 % limits over problems, before training."""
    noise: float
    """Share of the score-function energy that cannot change the return."""
    differences: tuple[float, ...]
    """Mean pass@1 over the budget, method - GRPO, one a seed."""
    gained: float
    """What GRPO gained of pass@1 by the end, mean over seeds."""

    @property
    def difference(self) -> float:
        """Mean of the differences over seeds."""
        return float(np.mean(self.differences))

    def value(self, figure: str) -> float | None:
        """Return a figure's estimate; None if it was not measurable here."""
        found = self.numbers.get(figure)
        return None if found is None else found[0]


def points_of(numbers: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[Point]:
    """Pair every method of every cell with GRPO, seed by seed.

    Args:
        numbers: One row a cell.
        rows: One row a run; a cell's arms have the same seeds.
    """
    by_cell = {row["cell"]: row for row in numbers}
    means: dict[tuple[str, str], dict[int, float]] = {}
    gains: dict[str, list[float]] = {}
    for row in rows:
        means.setdefault((row["cell"], row["arm"]), {})[row["seed"]] = mean_pass(row)
        if row["arm"] == BASELINE:
            gains.setdefault(row["cell"], []).append(row["pass_at_1"] - row["first_pass_at_1"])
    points: list[Point] = []
    for (cell, arm), values in means.items():
        if arm == BASELINE:
            continue
        base = means[cell, BASELINE]
        measured = by_cell[cell]
        points.append(
            Point(
                cell=cell,
                method=arm,
                numbers={name: tuple(own) for name, own in measured["figures"].items()},
                noise=measured["noise"],
                differences=tuple(round(values[seed] - base[seed], 6) for seed in sorted(values)),
                gained=float(np.mean(gains[cell])),
            )
        )
    return points
