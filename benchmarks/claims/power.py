"""How many seeds a paired comparison needs to see an effect.

A design with this many seeds can say yes and no: if the true difference is `effect`, its 95 %
interval lies above 0 with probability `POWER`; if the true difference is 0, the interval lies below
`effect` with the same probability. Both need (t + t_power) sd / sqrt(n) <= effect.

The standard deviation comes from pilot seeds, so the number of seeds is an estimate. No verdict
rests on it: verdicts read the interval of the runs themselves (`verdict.py`).

Not covered: the exact power, which needs the noncentral t distribution. This sum of two quantiles
asks for at most one seed more or less from five seeds on.
"""

import math

from reason_env.agents.statistics import t_quantile
from reason_env.errors import ConfigError

POWER = 0.8
CONFIDENCE = 0.95
LEAST_SEEDS = 5
"""Fewer seeds give no verdict: Student's interval rests on the normal distribution."""


def effect_seen(sd: float, num_seeds: int, *, power: float = POWER) -> float:
    """Compute the smallest true difference that a number of seeds sees with this power.

    (t(0.975, 8) + t(0.8, 8)) / 3 = (2.306 + 0.889) / 3

    >>> round(effect_seen(1.0, 9), 3)
    1.065
    """
    if num_seeds < 2:
        raise ConfigError(f"num_seeds must be at least 2, got {num_seeds!r}; add seeds")
    if not 0 <= sd < math.inf:
        raise ConfigError(f"sd must be at least 0 and finite, got {sd!r}")
    quantiles = t_quantile(0.5 + CONFIDENCE / 2, num_seeds - 1) + t_quantile(power, num_seeds - 1)
    return quantiles * sd / math.sqrt(num_seeds)


def seeds_needed(sd: float, effect: float, *, most: int, power: float = POWER) -> int | None:
    """Find the fewest seeds, at least `LEAST_SEEDS`, that see an effect; None if `most` do not.

    At sd 0.1, 9 seeds see 0.1065 and 10 see 0.0995.

    >>> seeds_needed(0.1, 0.1, most=40), seeds_needed(0.1, 0.02, most=40)
    (10, None)
    """
    if not effect > 0:
        raise ConfigError(f"effect must be above 0, got {effect!r}; give the smallest of interest")
    seeds = range(LEAST_SEEDS, most + 1)
    return next((n for n in seeds if effect_seen(sd, n, power=power) <= effect), None)
