"""What a claim's score is: a measured figure with its interval, and the verdict that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reason_env.agents.statistics import student_interval

Row = Mapping[str, Any]
Verdict = Literal["reproduced", "not reproduced", "opposite", "too few seeds"]
LEAST_SEEDS = 3
"""Below it no verdict is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a paper says, in our words."""

    text: str
    paper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table."""

    claim: Claim
    verdict: Verdict
    measures: tuple[str, ...]
    """Figures with their intervals; the one that says most comes first."""

    @property
    def measured(self) -> str:
        """All of them."""
        return "; ".join(self.measures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over seeds with Student's 95 % interval; nan for one seed."""

    mean: float
    low: float
    high: float
    num_seeds: int

    def above(self, slack: float) -> "Mean":
        """Returns the mean and its interval, `slack` higher."""
        return replace(self, mean=self.mean + slack, low=self.low + slack, high=self.high + slack)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_of(values: Sequence[float]) -> Mean:
    """Returns the mean of values of independent seeds, with its interval.

    >>> str(mean_of([0.1, 0.2, 0.3]))  # t(0.975, 2) = 4.303, standard error 0.0577
    '+0.200 [-0.048, +0.448]'
    """
    if len(values) == 1:
        return Mean(mean=values[0], low=float("nan"), high=float("nan"), num_seeds=1)
    found = student_interval(values)
    return Mean(mean=found.estimate, low=found.low, high=found.high, num_seeds=len(values))


def by_seed(rows: Sequence[Row], arm: str, figure: str) -> dict[int, float]:
    """Returns seed -> figure of one arm's rows."""
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
    """Returns own - other, paired by seed.

    Args:
        rows: Of one experiment.
        own: Arm of it.
        other: Arm that is subtracted.
        figure: Key of a row.
        other_rows: Of the experiment that `other` is in, if not the same: it must have the same
            problems, evaluation and seeds.
    """
    first = by_seed(rows, own, figure)
    second = by_seed(rows if other_rows is None else other_rows, other, figure)
    return mean_of([first[seed] - second[seed] for seed in first if seed in second])


def verdict_of(differences: Sequence[Mean]) -> Verdict:
    """Returns what differences say that a claim expects to be above zero, all of them.

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
    """Returns the finding of a claim that expects differences above zero.

    Args:
        claim: Whose finding it is.
        rows: Of one experiment.
        pairs: (arm, other arm, figure): the first is expected above the second.
        slack: First arm of a pair -> how far it may be below the other and still not lose; 0 of
            those that are not named. The verdict alone is eased by it.
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
