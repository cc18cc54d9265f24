"""The policy advantage under (1 - beta) mu + beta D, with an interval over draws of a problem.

Each draw of a problem gives one start of D and any number of starts of mu (none, where no episode
failed), and starts of one draw are not independent of each other. So the unit is the draw:

    A     = beta mean_i D_i + (1 - beta) mean_{i has mu} M_i
    psi_i = beta (D_i - mean D) + (1 - beta) (n / n_mu) 1[i has mu] (M_i - mean M)
    s^2   = sum_i psi_i^2 / n^2 * n_min / (n_min - 1),    half width = t_{n_min - 1} s

with D_i, M_i the means over the draw's starts: the linearised (cluster-robust) variance of a sum of
two ratio means, and Student's t with the degrees of freedom of the smaller part. Where every draw
has both, it is the plain t interval of beta D_i + (1 - beta) M_i.

A percentile bootstrap is not offered: with 16 draws it covers less than it says.
"""

import math
from collections.abc import Sequence

import numpy as np

from reason_env.agents.statistics import Interval, t_quantile
from reason_env.errors import VerifierError


def advantage_interval(
    values: Sequence[float],
    units: Sequence[int],
    is_base: Sequence[bool],
    *,
    beta: float,
    confidence: float = 0.95,
    limit: float = 1.0,
) -> Interval:
    """Returns the estimate between its limits.

    Args:
        values: Estimated advantage of each start, in return.
        units: The draw of each start.
        is_base: True for a start of D.
        beta: Weight of D. Where no draw has a start of mu, all weight is on D, and the reverse.
        confidence: Of the two-sided interval, 0..1.
        limit: No advantage is larger in absolute value; the limits are cut there. They lie there
            where a part has one draw only, whose spread nobody knows.

    Raises:
        VerifierError: There is no start at all.

    >>> str(advantage_interval([0.0, 0.2, 0.4], [0, 1, 2], [True] * 3, beta=1.0))  # 4.303 * 0.1155
    '0.200 [-0.297, 0.697]'
    """
    parts = [(weight, own) for weight, own in _parts(units, is_base, values, beta) if weight > 0]
    estimate = sum(weight * float(np.mean(list(own.values()))) for weight, own in parts)
    names = sorted(set(units))
    smallest = min(len(own) for _, own in parts)
    if smallest < 2:
        return Interval(estimate, -limit, limit)
    influence = np.zeros(len(names))
    for weight, own in parts:
        mean, scale = float(np.mean(list(own.values()))), len(names) / len(own)
        influence += [weight * scale * (own[name] - mean) if name in own else 0.0 for name in names]
    variance = float(influence @ influence) / len(names) ** 2 * smallest / (smallest - 1)
    width = t_quantile(0.5 + confidence / 2, smallest - 1) * math.sqrt(variance)
    return Interval(estimate, max(-limit, estimate - width), min(limit, estimate + width))


def base_weight(is_base: Sequence[bool], beta: float) -> float:
    """Returns the weight of D in fact: beta, or all or nothing where one part has no start.

    >>> base_weight([True, False], 0.25), base_weight([True, True], 0.25)
    (0.25, 1.0)
    """
    if not is_base:
        raise VerifierError(
            "an advantage must be measured on at least one start, got none whose episodes were "
            "graded; see `reason` in the run's episodes"
        )
    return beta if len(set(is_base)) == 2 else float(is_base[0])


def _parts(
    units: Sequence[int], is_base: Sequence[bool], values: Sequence[float], beta: float
) -> list[tuple[float, dict[int, float]]]:
    """Returns the weight and the means by draw of D, then of mu."""
    weight = base_weight(is_base, beta)
    parts: list[tuple[float, dict[int, float]]] = []
    for part_weight, kind in ((weight, True), (1 - weight, False)):
        own: dict[int, list[float]] = {}
        for unit, base, value in zip(units, is_base, values, strict=True):
            if base == kind:
                own.setdefault(unit, []).append(value)
        parts.append((part_weight, {unit: float(np.mean(some)) for unit, some in own.items()}))
    return parts
