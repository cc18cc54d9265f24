"""Fit the exponent of a power law, with a confidence interval.

The bootstrap resamples seeds, so the interval covers the variation between sets of seeds.
"""

from collections.abc import Sequence

import numpy as np

from reason_env.agents.statistics import Interval
from reason_env.errors import ConfigError


def fitted_slope(
    x_values: Sequence[float],
    y_values: Sequence[float],
    seeds: Sequence[int],
    *,
    num_resamples: int = 1000,
) -> Interval:
    """Fit the least-squares slope of log y over log x, with a 95 % interval over seeds.

    Raises:
        ConfigError: A value is not positive and has no logarithm.

    >>> str(fitted_slope([1, 10, 1, 10], [2, 200, 3, 300], [0, 0, 1, 1]))
    '2.000 [2.000, 2.000]'
    """
    x, y, seed = np.asarray(x_values, float), np.asarray(y_values, float), np.asarray(seeds)
    if (x <= 0).any() or (y <= 0).any():
        raise ConfigError(
            f"values must be above 0 on log axes, got {float(min(x.min(), y.min()))!r}; drop them"
        )
    log_x, log_y = np.log(x), np.log(y)
    groups = [np.flatnonzero(seed == one) for one in np.unique(seed)]
    rng = np.random.default_rng(0)
    resamples: list[list[int]] = rng.integers(
        len(groups), size=(num_resamples, len(groups))
    ).tolist()
    drawn = [
        _slope(log_x, log_y, np.concatenate([groups[index] for index in drawn_groups]))
        for drawn_groups in resamples
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(_slope(log_x, log_y, np.arange(len(x))), float(low), float(high))


def _slope(log_x: np.ndarray, log_y: np.ndarray, index: np.ndarray) -> float:
    centred = log_x[index] - log_x[index].mean()
    return float(centred @ log_y[index] / (centred @ centred))
