"""Unbiased pass@k, and confidence intervals that resample problems.

Problems are independent, samples of one problem are not. Intervals therefore resample *problems*;
resampling single samples would give intervals that are too narrow. The Wilson interval is for a
plain proportion, one sample per problem (greedy decoding).

Not covered: small sets. If all problems have the same value, or there are fewer than about 20, the
bootstrap interval is too narrow.

Axes: P problems, R resamples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reason_env.errors import ConfigError, shown

_CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence limits."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def pass_at_k_per_problem(
    num_correct: Sequence[int], num_samples: Sequence[int], *, k: int
) -> NDArray[np.float64]:
    """Estimate, per problem, the probability that one of k samples is correct, unbiased, [P].

    1 - C(n - c, k) / C(n, k), with n samples of which c are correct. The binomials are exact
    integers, so only the quotient is rounded.

    Args:
        num_correct: Correct samples of each problem, [P].
        num_samples: Graded samples of each problem, [P].
        k: Samples drawn without replacement.

    Raises:
        ConfigError: k is less than 1 or more than the samples of a problem, or a count of correct
            samples is out of range.

    Source: Chen et al. 2021, arXiv 2107.03374, equation 1.

    >>> pass_at_k_per_problem([2, 0], [4, 4], k=2).tolist()  # 1 - 1/6 and 1 - 6/6
    [0.8333333333333334, 0.0]
    """
    counts = [(int(c), int(n)) for c, n in zip(num_correct, num_samples, strict=True)]
    _check_counts(counts, k)
    value = {
        (c, n): (math.comb(n, k) - math.comb(n - c, k)) / math.comb(n, k) for c, n in set(counts)
    }
    return np.array([value[pair] for pair in counts], dtype=np.float64)


def pass_at_k(num_correct: Sequence[int], num_samples: Sequence[int], *, k: int) -> float:
    """Average `pass_at_k_per_problem` over problems.

    >>> pass_at_k([2, 0], [4, 4], k=1)
    0.25
    """
    return float(pass_at_k_per_problem(num_correct, num_samples, k=k).mean())


def pass_at_k_interval(
    num_correct: Sequence[int],
    num_samples: Sequence[int],
    *,
    k: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Interval:
    """Estimate pass@k with a bootstrap interval over problems.

    If no problem is ever solved, or every problem always, resampling shows no spread; the interval
    is then Wilson's over the problems.

    >>> str(pass_at_k_interval([0] * 20, [8] * 20, k=8, rng=np.random.default_rng(0)))
    '0.000 [0.000, 0.161]'
    """
    values = pass_at_k_per_problem(num_correct, num_samples, k=k)
    total = float(values.sum())
    if total in (0.0, float(len(values))):
        return wilson(int(total), len(values), confidence=confidence)
    return bootstrap_mean(values, rng=rng, confidence=confidence)


def bootstrap_mean(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    num_resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Average `values`, with a percentile bootstrap interval.

    Args:
        values: One number per problem, [P].
        rng: Draws the resamples.
        num_resamples: R, resamples of P problems drawn with replacement.
        confidence: Nominal coverage, 0..1.

    Raises:
        ConfigError: There are no values, or the confidence is not between 0 and 1.

    Source: Efron 1979, doi 10.1214/aos/1176344552; the percentile interval.

    >>> str(bootstrap_mean([0.0, 1.0], rng=np.random.default_rng(0)))
    '0.500 [0.000, 1.000]'
    """
    value_P = np.asarray(values, dtype=np.float64)
    if value_P.ndim != 1 or value_P.size == 0:
        raise ConfigError(
            f"values must hold one number per problem, got shape {value_P.shape}; "
            "evaluate at least one problem"
        )
    if num_resamples < 1:
        raise ConfigError(f"num_resamples must be at least 1, got {num_resamples!r}; use 2000")
    tail = _tail(confidence)
    # In pieces, to bound memory: R * P numbers are many for 10,000 problems.
    at_once = max(1, _CELLS_AT_ONCE // value_P.size)
    mean_R = np.concatenate(
        [
            value_P[rng.integers(value_P.size, size=(rows, value_P.size))].mean(axis=1)
            for rows in _pieces(num_resamples, at_once)
        ]
    )
    low, high = np.quantile(mean_R, [tail, 1 - tail])
    return Interval(float(value_P.mean()), float(low), float(high))


def wilson(num_correct: int, num_samples: int, *, confidence: float = 0.95) -> Interval:
    """Estimate the proportion of independent trials, with the Wilson score interval.

    center = (p + z^2 / 2n) / (1 + z^2 / n)
    half   = z / (1 + z^2 / n) * sqrt(p (1 - p) / n + z^2 / 4n^2)

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.

    >>> str(wilson(8, 10))
    '0.800 [0.490, 0.943]'
    """
    _check_counts([(num_correct, num_samples)], 1)
    z = NormalDist().inv_cdf(1 - _tail(confidence))
    n, p = num_samples, num_correct / num_samples
    scale = 1 + z * z / n
    center = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and n the limits are exactly 0 and 1; rounding would leave 1e-17 of error.
    low = 0.0 if num_correct == 0 else center - half
    high = 1.0 if num_correct == n else center + half
    return Interval(p, low, high)


def _pieces(total: int, at_once: int) -> list[int]:
    return [min(at_once, total - done) for done in range(0, total, at_once)]


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must lie between 0 and 1, got {confidence!r}; use 0.95")
    return (1 - confidence) / 2


def _check_counts(counts: list[tuple[int, int]], k: int) -> None:
    if not counts:
        raise ConfigError("pass@k must be taken over at least one problem, got none")
    if k < 1:
        raise ConfigError(f"k of pass@k must be at least 1, got {k!r}; pass@1 is the mean")
    for row, (correct, samples) in enumerate(counts):
        if samples < k:
            raise ConfigError(
                f"k of pass@k must be at most the graded samples of each problem, got k={k} and "
                f"{samples} in row {row}; sample more or lower k"
            )
        if not 0 <= correct <= samples:
            raise ConfigError(
                f"num_correct must lie in 0..num_samples, got {shown(correct)} of {samples} in "
                f"row {row}; pass counts, not rates"
            )


def student_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Average independent values, with Student's interval.

    Raises:
        ConfigError: There are fewer than two values.

    Source: Student 1908, doi 10.1093/biomet/6.1.1.

    >>> str(student_interval([0.1, 0.2, 0.3]))  # t(0.975, 2) = 4.303, standard error 0.0577
    '0.200 [-0.048, 0.448]'
    """
    own = np.asarray(values, dtype=np.float64)
    if len(own) < 2:
        raise ConfigError(f"an interval must have at least two values, got {len(own)}; add seeds")
    mean, error = float(own.mean()), float(own.std(ddof=1)) / len(own) ** 0.5
    half = t_quantile(0.5 + confidence / 2, len(own) - 1) * error
    return Interval(mean, mean - half, mean + half)


def student_p(values: Sequence[float]) -> float:
    """Compute Student's two-sided p-value of a mean of 0; independent values that are all equal
    have 0, or 1 if they are 0.

    Raises:
        ConfigError: There are fewer than two values.

    Source: Student 1908, doi 10.1093/biomet/6.1.1.

    >>> round(student_p([0.1, 0.2, 0.3]), 4)  # t = 2 sqrt(3); p = 1 - t / sqrt(t^2 + 2)
    0.0742
    """
    own = np.asarray(values, dtype=np.float64)
    if len(own) < 2:
        raise ConfigError(f"a p-value must have at least two values, got {len(own)}; add seeds")
    mean, error = float(own.mean()), float(own.std(ddof=1)) / len(own) ** 0.5
    # Beyond 1e9 standard errors the spread is rounding.
    if error <= 1e-9 * abs(mean) or error == 0:
        return 1.0 if mean == 0 else 0.0
    degrees = len(own) - 1
    return 1 - _within(math.atan(abs(mean) / error / math.sqrt(degrees)), degrees)


def t_quantile(probability: float, degrees: int) -> float:
    """Compute a quantile of Student's t distribution with integer degrees of freedom.

    Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4, solved by bisection.

    >>> round(t_quantile(0.975, 1), 3), round(t_quantile(0.975, 10), 3)
    (12.706, 2.228)
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ConfigError(
            f"a quantile must have a probability in 0..1 and at least 1 degree of freedom, got "
            f"{probability!r} and {degrees!r}"
        )
    # theta = atan(t / sqrt(degrees)); P(|T| < t) grows with it from 0 to 1.
    wanted = abs(2 * probability - 1)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < wanted else (low, middle)
    return math.copysign(math.tan(low) * math.sqrt(degrees), probability - 0.5)


def _within(theta: float, degrees: int) -> float:
    """Compute P(|T| < tan(theta) sqrt(degrees))."""
    cosine = math.cos(theta)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if is_odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    total *= math.sin(theta)
    return 2 / math.pi * (theta + total) if is_odd else total
