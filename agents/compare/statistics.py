"""Statistics of a comparison: curves of runs, and confidence intervals that resample seeds.

Evaluations of one run are correlated, seeds are independent. Intervals therefore resample seeds,
and differences are taken between runs of one seed. For n = 5 seeds, about 83 % of the bootstrap's
95 % intervals contain the mean: too few. So each difference also has an exact sign-flip p-value,
whose smallest value is 2^(1-n), and a change or a difference is claimed only if Student's interval
excludes 0 too.

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
    """Tokens generated for training before each evaluation."""
    pass_at_1: tuple[float, ...]
    pass_at_k: tuple[float, ...]
    k: int

    @property
    def final_pass_at_1(self) -> float:
        """pass@1 of the last evaluation."""
        return self.pass_at_1[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over seeds with its limits."""

    mean: float
    low: float | None
    """Lower 95 % limit; None for a single seed."""
    high: float | None
    values: dict[int, float]
    """Seed -> value."""

    @property
    def excludes_zero(self) -> bool:
        """True if there is an interval and it does not contain 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def is_clear(self) -> bool:
        """True if Student's 95 % interval, the wider one for few seeds, excludes 0 too.

        >>> wide = over_seeds({0: 0.01, 1: 0.02, 2: 0.3})
        >>> wide.excludes_zero, wide.is_clear
        (True, False)
        """
        if not self.excludes_zero:
            return False
        student = student_interval(list(self.values.values()))
        return not student.low <= 0 <= student.high


def curve_of(rows: Sequence[Mapping[str, Any]]) -> Curve:
    """Extract the evaluations of a run from its metrics.

    Tokens of a preparation add a point with the value of the untrained policy, so that the curve is
    flat before the first iteration.

    Raises:
        ConfigError: The rows contain no evaluation.
    """
    evals = [row for row in rows if row.get("eval/pass_at_1") is not None]
    if not evals:
        raise ConfigError(
            "a run must contain an evaluation to be compared, got none; give --eval.problems"
        )
    places = [(_tokens(row), row["eval/pass_at_1"], row["eval/pass_at_k"]) for row in evals]
    prepared = preparation_tokens(rows)
    if prepared and evals[0]["iteration"] == 0:
        places.insert(1, (prepared, *places[0][1:]))
    tokens, first, at_k = zip(*places, strict=True)
    return Curve(tokens=tokens, pass_at_1=first, pass_at_k=at_k, k=int(evals[-1]["eval/k"]))


def preparation_tokens(rows: Sequence[Mapping[str, Any]]) -> float:
    """Count the tokens that were generated before the first iteration."""
    first = next((row for row in rows if row["iteration"] == 1), None)
    if first is None:
        return 0.0
    return float(first["rollout/sampled_tokens_total"] - first["rollout/sampled_tokens"])


def area(tokens: Sequence[float], values: Sequence[float], *, budget: float) -> float:
    """Average a curve over 0..budget: its area by trapezoids, divided by the budget.

    The curve is cut at the budget; if it ends earlier, its last value continues.

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
    """Find where a curve first reaches a level, with linear interpolation between evaluations.

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
    """Average over seeds, with a 95 % bootstrap interval; no interval for one seed.

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
    """Average own - other over the seeds that both have; None if they share none."""
    shared = {seed: own[seed] - other[seed] for seed in own if seed in other}
    return over_seeds(shared) if shared else None


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Compute the exact two-sided p-value of the mean difference under random signs.

    The fraction of all 2^S choices of signs whose mean is at least as far from 0 as the observed
    one. None for more than 16 seeds, for which the interval is reliable.

    Source: Fisher 1935, The Design of Experiments, section 21.

    >>> sign_flip_p([0.1, 0.2, 0.4])  # only all plus and all minus are as far
    0.25
    """
    if len(differences) > MOST_EXACT_SEEDS:
        return None
    values = np.asarray(differences, dtype=np.float64)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))), dtype=np.float64)
    sums: Floats = np.abs(signs @ values)
    # Equal sums differ in their last digits by the order of addition.
    return int(np.count_nonzero(sums >= abs(values.sum()) - 1e-12)) / len(sums)


def band(value_SX: Floats) -> tuple[Floats, Floats, Floats]:
    """Compute the mean and the lower and upper 95 % bootstrap limits over seeds, each [X].

    All places share the resamples of seeds, so whole curves are resampled. For one seed the limits
    are nan.
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
    # Iteration 0 precedes all sampling.
    return float(row.get("rollout/sampled_tokens_total") or 0)
