"""boundaries(): the number at which a method begins to beat GRPO, with its interval.

Over the cells of a method, the mean difference to GRPO is taken to be a step function of one number
x: one level below a threshold, another above. The threshold is where such a step leaves the
smallest squared error, half-way between two neighbouring cells, with at least `LEAST_SIDE` cells on
either side.

    interval    cells drawn again with replacement, 95 % of the thresholds found
    p           share of random assignments of the differences to the cells whose best step explains
                as much or more; it counts the search for the threshold

    least gap   mean difference above the threshold, less that below, without the family whose
                absence leaves least of it, or turns it: the cells of a family resemble each
                other, and assigning differences at random does not know that

A number decides if p, after Holm's correction over all methods and numbers, is at most 0.05, and
the least gap has the sign of the gap and is at least `LEAST_GAP` wide. Otherwise the sweep does not
show a boundary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.boundary.points import Point
from benchmarks.claims.verdict import holm
from reason_env.agents.probe.boundary import AXES, BASE
from reason_env.agents.statistics import Interval, student_interval

LEAST_SIDE = 3
LEAST_CELLS = 2 * LEAST_SIDE + 1
RESAMPLES = 2000
LEVEL = 0.05
LEAST_GAP = 0.02
"""Difference of mean pass@1 that must be left without any one family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """What one number says of a method's difference to GRPO."""

    method: str
    figure: str
    cells: int
    threshold: float
    low: float
    high: float
    """95 % limits of the threshold over cells."""
    below: Interval
    """Mean difference of the cells below, with Student's 95 % limits over cells."""
    above: Interval
    least_gap: float
    """Above - below, without the family whose absence leaves least of it; zero if nothing is left
    on a side, and of the other sign if it turns."""
    p: float
    """After Holm's correction."""

    @property
    def decides(self) -> bool:
        """Whether the sweep shows that the number decides."""
        gap = self.above.estimate - self.below.estimate
        return self.p <= LEVEL and self.least_gap * (1 if gap > 0 else -1) >= LEAST_GAP


def boundaries(points: Sequence[Point]) -> list[Boundary]:
    """Find the best step of each method over base success and over its own axis."""
    raw: list[tuple[Boundary, float]] = []
    for method, axis in AXES.items():
        for figure in (BASE, axis):
            own = sorted(
                (value, point.difference, point.cell.partition("-")[0])
                for point in points
                if point.method == method and (value := point.value(figure)) is not None
            )
            if len(own) >= LEAST_CELLS:
                x, y, families = (np.array(part) for part in zip(*own, strict=True))
                raw.append(_boundary(method, figure, x, y, families))
    corrected = holm(
        {f"{found.method} {found.figure}": p for found, p in raw}, family=2 * len(AXES)
    )
    return [
        replace(found, p=round(corrected[f"{found.method} {found.figure}"], 4)) for found, _ in raw
    ]


def best_step(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the threshold of the best step and the share of variance that it explains.

    Args:
        x: Numbers, in order.
        y: Differences of the same cells.

    >>> x, y = np.arange(8.0), np.array([0, 0, 0, 0, 0, 1, 1, 1.0])
    >>> best_step(x, y)
    (4.5, 1.0)
    """
    total = float(((y - y.mean()) ** 2).sum())
    best = (float(np.median(x)), 0.0)
    for at in range(LEAST_SIDE, len(x) - LEAST_SIDE + 1):
        if x[at] == x[at - 1] or total == 0:
            continue
        left, right = y[:at], y[at:]
        sides = ((left, at), (right, len(y) - at))
        share = sum(size * (side.mean() - y.mean()) ** 2 for side, size in sides) / total
        if share > best[1]:
            best = (float((x[at] + x[at - 1]) / 2), float(share))
    return best


def least_gap(x: np.ndarray, y: np.ndarray, families: np.ndarray, threshold: float) -> float:
    """Return the gap at a threshold that is left without the family that matters most.

    Args:
        x: Numbers.
        y: Differences of the same cells.
        families: Of the same cells.
        threshold: Between the two sides.

    >>> x, y = np.array([1, 2, 3, 4, 5, 6]), np.array([0.0, 0.0, 0.0, 0.0, 0.25, 1.0])
    >>> least_gap(x, y, np.array(["a", "b", "a", "b", "c", "d"]), 4.5)
    0.25
    """
    above = x > threshold
    whole = y[above].mean() - y[~above].mean()
    sign = 1.0 if whole > 0 else -1.0
    gaps: list[float] = []
    for family in np.unique(families):
        rest = families != family
        sides = (y[rest & above], y[rest & ~above])
        gaps.append(float(sides[0].mean() - sides[1].mean()) if all(map(len, sides)) else 0.0)
    return min(gaps, key=lambda gap: sign * gap)


def _boundary(
    method: str, figure: str, x: np.ndarray, y: np.ndarray, families: np.ndarray
) -> tuple[Boundary, float]:
    threshold, explained = best_step(x, y)
    rng = np.random.default_rng(0)
    drawn: list[float] = []
    for _ in range(RESAMPLES):
        index = np.sort(rng.integers(len(x), size=len(x)))
        drawn.append(best_step(x[index], y[index])[0])
    by_chance = sum(
        best_step(x, rng.permutation(y))[1] >= explained - 1e-12 for _ in range(RESAMPLES)
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = Boundary(
        method=method,
        figure=figure,
        cells=len(x),
        threshold=round(threshold, 4),
        low=round(float(low), 4),
        high=round(float(high), 4),
        below=student_interval(y[x <= threshold].tolist()),
        above=student_interval(y[x > threshold].tolist()),
        least_gap=round(least_gap(x, y, families, threshold), 4),
        p=1.0,
    )
    return found, (by_chance + 1) / (RESAMPLES + 1)
