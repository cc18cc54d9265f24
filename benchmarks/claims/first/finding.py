"""The score of a claim: measured figures with intervals, and the verdict that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.claims.claim import Claim
from reason_env.agents.statistics import student_interval

Row = Mapping[str, Any]
Verdict = Literal["reproduced", "not reproduced", "opposite", "too few seeds"]
LEAST_SEEDS = 3
"""Fewer seeds give no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The measured result for a claim: one line of the table."""

    claim: Claim
    verdict: Verdict
    measures: tuple[str, ...]
    """Figures with their intervals, the most important first."""

    @property
    def measured(self) -> str:
        """All figures, as one text."""
        return "; ".join(self.measures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over seeds with Student's 95 % interval; nan for one seed."""

    mean: float
    low: float
    high: float
    num_seeds: int

    def above(self, slack: float) -> "Mean":
        """Shift the mean and its interval up by `slack`."""
        return replace(self, mean=self.mean + slack, low=self.low + slack, high=self.high + slack)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_of(values: Sequence[float]) -> Mean:
    """Average values of independent seeds.

    >>> str(mean_of([0.1, 0.2, 0.3]))  # t(0.975, 2) = 4.303, standard error 0.0577
    '+0.200 [-0.048, +0.448]'
    """
    if len(values) == 1:
        return Mean(mean=values[0], low=float("nan"), high=float("nan"), num_seeds=1)
    found = student_interval(values)
    return Mean(mean=found.estimate, low=found.low, high=found.high, num_seeds=len(values))


def by_seed(rows: Sequence[Row], arm: str, figure: str) -> dict[int, float]:
    """Return seed -> figure for the rows of one arm."""
    found = {int(row["seed"]): float(row[figure]) for row in rows if row["arm"] == arm}
    if not found:
        raise KeyError(f"no run of arm {arm!r} has finished; run its experiment first")
    return found


def difference(
    rows: Sequence[Row],
    own: str,
    other: str,
    figure: str,
    other_rows: Sequence[Row] | None = None,
) -> Mean:
    """Average own - other over seeds, paired by seed.

    Args:
        rows: Rows of one experiment.
        own: An arm of it.
        other: The arm that is subtracted.
        figure: Key of a row.
        other_rows: Rows of the experiment of `other`, if it is another one; it must have the same
            problems, evaluation and seeds.
    """
    first = by_seed(rows, own, figure)
    second = by_seed(rows if other_rows is None else other_rows, other, figure)
    return mean_of([first[seed] - second[seed] for seed in first if seed in second])


def verdict_of(differences: Sequence[Mean]) -> Verdict:
    """Judge a claim that expects all these differences to be above zero.

    >>> verdict_of([mean_of([0.1, 0.11, 0.12]), mean_of([0.1, -0.1, 0.12])])
    'not reproduced'
    """
    if min(item.num_seeds for item in differences) < LEAST_SEEDS:
        return "too few seeds"
    if all(item.low > 0 for item in differences):
        return "reproduced"
    if any(item.high < 0 for item in differences):
        return "opposite"
    return "not reproduced"


def paired_finding(
    claim: Claim,
    rows: Sequence[Row],
    pairs: Sequence[tuple[str, str, str]],
    slack: Mapping[str, float] | None = None,
) -> Finding:
    """Score a claim that expects some arms to be above others.

    Args:
        claim: The claim.
        rows: Rows of one experiment.
        pairs: (arm, other arm, figure); the claim expects the first arm above the second.
        slack: First arm of a pair -> how far it may be below the other without losing; 0 if not
            given. It changes the verdict, not the printed figures.
    """
    found = [difference(rows, *pair) for pair in pairs]
    eased = [
        item.above((slack or {}).get(own, 0.0))
        for (own, _, _), item in zip(pairs, found, strict=True)
    ]
    parts = [
        f"{own} - {other}, {figure}: {item}"
        for (own, other, figure), item in zip(pairs, found, strict=True)
    ]
    return Finding(claim=claim, verdict=verdict_of(eased), measures=tuple(parts))
