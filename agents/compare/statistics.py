"""What a comparison may claim: curves of runs, and intervals whose unit is the seed.

Evaluations of one run are alike, seeds are independent; intervals resample seeds, and differences
are taken between runs of one seed. Not covered: few seeds. With n seeds the percentile bootstrap is
too narrow (n = 5 holds the mean in about 83 of 100 intervals that say 95), so an exact sign-flip
p-value, whose smallest value is 2^(1-n), stands beside each difference; and in words a change or a
difference is claimed only where Student's interval leaves 0 out too.

Axis letters: S seeds, X places on a token axis.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reason_env.agents.statistics import bootstrap_mean, student_interval
from reason_env.errors import ConfigError

Floats = NDArray[np.float64]
NUM_RESAMPLES = 2000
MOST_EXACT_SEEDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The evaluations of one run, in order."""

    tokens: tuple[float, ...]
    """Generated for training before each evaluation."""
    pass_at_1: tuple[float, ...]
    pass_at_k: tuple[float, ...]
    k: int

    @property
    def final_pass_at_1(self) -> float:
        """Of the last evaluation."""
        return self.pass_at_1[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds between its limits."""

    mean: float
    low: float | None
    """Lower 95 % limit; None for a single seed."""
    high: float | None
    values: dict[int, float]
    """Seed -> value."""

    @property
    def excludes_zero(self) -> bool:
        """True if the interval is there and does not hold 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def is_clear(self) -> bool:
        """True if Student's 95 % interval does not hold 0 either: with few seeds the wider one.

        >>> wide = over_seeds({0: 0.01, 1: 0.02, 2: 0.3})
        >>> wide.excludes_zero, wide.is_clear
        (True, False)
        """
        if not self.excludes_zero:
            return False
        student = student_interval(list(self.values.values()))
        return not student.low <= 0 <= student.high


def curve_of(rows: Sequence[Mapping[str, Any]]) -> Curve:
    """Returns the evaluations of a run's metrics.

    What was generated before the first iteration (a method's preparation) stands as a place of its
    own with the value of the untrained policy: the line must not rise while nothing was learned.

    Raises:
        ConfigError: The rows hold no evaluation.
    """
    evals = [row for row in rows if row.get("eval/pass_at_1") is not None]
    if not evals:
        raise ConfigError(
            "a run must hold an evaluation to be compared, got none; give --eval.problems"
        )
    places = [(_tokens(row), row["eval/pass_at_1"], row["eval/pass_at_k"]) for row in evals]
    prepared = preparation_tokens(rows)
    if prepared and evals[0]["iteration"] == 0:
        places.insert(1, (prepared, *places[0][1:]))
    tokens, first, at_k = zip(*places, strict=True)
    return Curve(tokens=tokens, pass_at_1=first, pass_at_k=at_k, k=int(evals[-1]["eval/k"]))


def preparation_tokens(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns the tokens that were generated before the first iteration."""
    first = next((row for row in rows if row["iteration"] == 1), None)
    if first is None:
        return 0.0
    return float(first["rollout/sampled_tokens_total"] - first["rollout/sampled_tokens"])


def area(tokens: Sequence[float], values: Sequence[float], *, budget: float) -> float:
    """Returns the mean height of a curve over 0..budget: its area by trapezoids over the budget.

    The line is cut at the budget; if it ends before, its last value holds.

    >>> area([0, 100, 300], [0.0, 0.5, 0.7], budget=200)  # (25 + 55) / 200
    0.4
    """
    x, y = np.asarray(tokens, dtype=np.float64), np.asarray(values, dtype=np.float64)
    inside = x < budget
    places = np.concatenate([x[inside], [budget]])
    heights = np.concatenate([y[inside], [np.interp(budget, x, y)]])
    return float(np.trapezoid(heights, places) / budget)


def tokens_to_level(
    tokens: Sequence[float], values: Sequence[float], *, level: float
) -> float | None:
    """Returns where a curve first reaches a level, between evaluations by a straight line.

    None if no evaluation reaches it.

    >>> tokens_to_level([0, 100, 300], [0.0, 0.5, 0.75], level=0.25)
    50.0
    """
    for at, value in enumerate(values):
        if value >= level:
            if at == 0:
                return float(tokens[0])
            before = values[at - 1]
            share = (level - before) / (value - before)
            return float(tokens[at - 1] + share * (tokens[at] - tokens[at - 1]))
    return None


def over_seeds(values: Mapping[int, float]) -> Estimate:
    """Returns the mean over seeds with its 95 % bootstrap interval; no interval for one seed.

    Args:
        values: Seed -> value, at least one.

    Raises:
        ConfigError: There are no values.
    """
    found = bootstrap_mean(
        list(values.values()), rng=np.random.default_rng(0), num_resamples=NUM_RESAMPLES
    )
    is_one = len(values) == 1
    return Estimate(
        mean=found.estimate,
        low=None if is_one else found.low,
        high=None if is_one else found.high,
        values=dict(values),
    )


def paired_difference(own: Mapping[int, float], other: Mapping[int, float]) -> Estimate | None:
    """Returns own - other over the seeds that both have; None if they share none."""
    shared = {seed: own[seed] - other[seed] for seed in own if seed in other}
    return over_seeds(shared) if shared else None


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Returns the exact two-sided p-value of a mean of 0, were each sign a coin's.

    The share of all 2^S sign choices whose mean is at least as far from 0 as the one found. None
    where there are more than 16 seeds; the interval is trustworthy then.

    Source: Fisher 1935, The Design of Experiments, section 21.

    >>> sign_flip_p([0.1, 0.2, 0.4])  # only all plus and all minus are as far
    0.25
    """
    if len(differences) > MOST_EXACT_SEEDS:
        return None
    values = np.asarray(differences, dtype=np.float64)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    sums = np.abs(signs @ values)
    # Equal sums differ in their last digits, by the order of addition.
    return float(np.mean(sums >= abs(values.sum()) - 1e-12))


def band(value_SX: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns mean, lower and upper 95 % bootstrap limits over seeds, each [X].

    All places share the resamples, so that the band is one of whole curves, place by place. For one
    seed the limits are nan.
    """
    mean_X = value_SX.mean(axis=0)
    if len(value_SX) == 1:
        nan_X = np.full_like(mean_X, np.nan)
        return mean_X, nan_X, nan_X
    rng = np.random.default_rng(0)
    weight_RS = rng.multinomial(len(value_SX), [1 / len(value_SX)] * len(value_SX), NUM_RESAMPLES)
    mean_RX = weight_RS @ value_SX / len(value_SX)
    low_X, high_X = np.quantile(mean_RX, [0.025, 0.975], axis=0)
    return mean_X, low_X, high_X


def _tokens(row: Mapping[str, Any]) -> float:
    # Iteration 0 is before anything was generated.
    return float(row.get("rollout/sampled_tokens_total") or 0)
