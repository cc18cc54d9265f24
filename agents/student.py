"""Student's t: its quantiles, and the interval of a mean of few independent values."""

import math
from collections.abc import Sequence

import numpy as np

from reason_env.agents.statistics import Interval
from reason_env.errors import ConfigError


def student_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Returns the mean of independent values with Student's interval.

    Raises:
        ConfigError: There are fewer than two values, which have no spread.

    Source: Student 1908, doi 10.1093/biomet/6.1.1.

    >>> str(student_interval([0.1, 0.2, 0.3]))  # t(0.975, 2) = 4.303, standard error 0.0577
    '0.200 [-0.048, 0.448]'
    """
    own = np.asarray(values, dtype=np.float64)
    if len(own) < 2:
        raise ConfigError(f"an interval must be of at least two values, got {len(own)}; add seeds")
    mean, error = float(own.mean()), float(own.std(ddof=1)) / len(own) ** 0.5
    half = t_quantile(0.5 + confidence / 2, len(own) - 1) * error
    return Interval(mean, mean - half, mean + half)


def t_quantile(probability: float, degrees: int) -> float:
    """Returns the quantile of Student's t with an integer number of degrees of freedom.

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
    """Returns P(|T| < tan(theta) sqrt(degrees))."""
    cosine = math.cos(theta)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if is_odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    total *= math.sin(theta)
    return 2 / math.pi * (theta + total) if is_odd else total
