"""Verdicts: what the contrasts of a claim say, corrected for the number of claims.

A claim expects each of its contrasts, one number a seed, to be above 0.

    reproduced         all are above 0, corrected p at most 0.05
    opposite           one is below 0, corrected p at most 0.05
    absent             neither, and one 95 % interval excludes the smallest effect of interest
    inconclusive       neither, and no interval does: more seeds decide
    not testable here  the base model does not have what the claim presumes: nothing was run
    too few seeds      fewer than `LEAST_SEEDS`
    unfinished         seeds of the design are missing: nothing is concluded from the others
    not run            the claim has no rows yet

p of a claim: for "reproduced", the largest two-sided p of its contrasts, since all must be above 0;
for "opposite", the smallest, times the number of contrasts; the smaller of both. Under no effect
each has at most half of its level on its side, so their minimum is a p-value. Holm's correction
runs over `FAMILY` claims; claims without runs count with p = 1, so that a verdict does not change
when other claims are run. "Absent" is read from the uncorrected interval.

Source: Holm 1979, A simple sequentially rejective multiple test procedure; the largest p of several
is Berger 1982, the intersection-union test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.claims.power import LEAST_SEEDS
from reason_env.agents.statistics import Interval, student_interval, student_p
from reason_env.errors import ConfigError

Verdict = Literal[
    "reproduced",
    "opposite",
    "absent",
    "inconclusive",
    "not testable here",
    "too few seeds",
    "unfinished",
    "not run",
]
FAMILY = 13
"""Claims of the table, those without a design included."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A difference that a claim expects to be above 0, one number a seed.

    Raises:
        ConfigError: There are fewer than two seeds, or no effect of interest.
    """

    name: str
    values: tuple[float, ...]
    effect: float
    """The smallest effect of interest, above 0."""

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ConfigError(
                f"contrast {self.name!r} must have at least two seeds, got {len(self.values)}; "
                "run more"
            )
        if not self.effect > 0:
            raise ConfigError(
                f"the effect of interest of {self.name!r} must be above 0, got {self.effect!r}"
            )

    @property
    def interval(self) -> Interval:
        """The mean with Student's 95 % interval."""
        return student_interval(self.values)

    @property
    def p(self) -> float:
        """Student's two-sided p-value of a mean of 0."""
        return student_p(self.values)

    def __str__(self) -> str:
        found = self.interval
        return f"{self.name}: {found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def p_of(contrasts: Sequence[Contrast]) -> float:
    """Compute a claim's p-value, for either direction.

    >>> up = Contrast(name="a", values=(0.1, 0.2, 0.3), effect=0.1)  # t = 3.46, p = 0.074
    >>> down = Contrast(name="b", values=(-0.1, -0.2, -0.4), effect=0.1)  # t = -2.65, p = 0.118
    >>> round(p_of([up]), 3), round(p_of([up, down]), 3)
    (0.074, 0.236)
    """
    return min(_p_above(contrasts), _p_below(contrasts))


def _p_above(contrasts: Sequence[Contrast]) -> float:
    return max(one.p if one.interval.estimate > 0 else 1.0 for one in contrasts)


def _p_below(contrasts: Sequence[Contrast]) -> float:
    below = [one.p for one in contrasts if one.interval.estimate < 0]
    return min(1.0, len(contrasts) * min(below, default=1.0))


def holm(p_values: Mapping[str, float], *, family: int = FAMILY) -> dict[str, float]:
    """Correct p-values for a family of tests; those that are not given count with p = 1.

    The smallest times the number of tests, the next times one less; none below one before it.

    >>> holm({"a": 0.03, "b": 0.01, "c": 0.04}, family=4)
    {'b': 0.04, 'a': 0.09, 'c': 0.09}

    Raises:
        ConfigError: There are more p-values than tests.
    """
    if len(p_values) > family:
        raise ConfigError(f"family must hold every test, got {family} for {len(p_values)}")
    found: dict[str, float] = {}
    largest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (family - place) * p))
        found[name] = largest
    return found


def verdict_of(contrasts: Sequence[Contrast], corrected_p: float) -> Verdict:
    """Judge a claim whose precondition holds.

    Args:
        contrasts: At least one; each is expected to be above 0.
        corrected_p: The claim's p-value after Holm's correction.
    """
    if min(len(one.values) for one in contrasts) < LEAST_SEEDS:
        return "too few seeds"
    if corrected_p <= LEVEL:
        return "reproduced" if _p_above(contrasts) < _p_below(contrasts) else "opposite"
    if any(one.interval.high < one.effect for one in contrasts):
        return "absent"
    return "inconclusive"
