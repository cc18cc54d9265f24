"""Advantages of one group: how much better each trajectory did than the others of its group.

The group is the baseline, so no value function is learned. A group whose returns are all equal
tells nothing about which tokens to prefer: every baseline below gives exactly zero, and the caller
counts such groups. Only `kind="none"` has no baseline and returns the returns.

Axis letter: G trajectories of one group. Not covered: advantages per token or per reasoning step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reason_env.errors import ConfigError, did_you_mean

AdvantageKind = Literal["grpo", "mean", "rloo", "maxrl", "pass_at_k", "none"]
StdKind = Literal["unbiased", "population"]

MIN_SPREAD = 1e-8
"""Returns that differ by at most this much count as equal (rounding, not signal)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageConfig:
    """The baseline that is subtracted from a group's returns, and the divisor.

    Raises:
        ConfigError: A name is unknown, or `eps` is negative or not finite.
    """

    kind: AdvantageKind = "grpo"
    """grpo: (r - mean) / (std + eps). mean: r - mean (Dr.GRPO). rloo: r - mean of the others.
    maxrl: (r - mean) / (mean + eps), for returns of 0 and more. pass_at_k: gain of the best of k by
    r, leave-one-out. none: r itself, no baseline."""
    std: StdKind = "unbiased"
    """grpo only. unbiased: divides by G - 1 (TRL, verl). population: divides by G (SRPO)."""
    eps: float = 1e-4
    """grpo: added to the standard deviation, reward units (TRL 1e-4, verl 1e-6, SRPO 0). maxrl:
    added to the mean (the release: 1e-6)."""
    k: int = 4
    """pass_at_k only: the best of k samples counts; a group needs more than k."""

    def __post_init__(self) -> None:
        for name, choices in (("kind", get_args(AdvantageKind)), ("std", get_args(StdKind))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(
                    f"advantage {name} must be one of {', '.join(choices)}, got {value!r}"
                    + did_you_mean(str(value), choices)
                )
        if not 0 <= self.eps < float("inf"):
            raise ConfigError(f"advantage eps must be finite and at least 0, got {self.eps!r}")
        if self.k < 1:
            raise ConfigError(f"advantage k must be at least 1, got {self.k!r}")

    @property
    def formula(self) -> str:
        """The advantage of one trajectory, in plain ASCII.

        >>> AdvantageConfig(kind="grpo", std="population", eps=0.0).formula
        '(r - mean) / population std'
        """
        std = "std" if self.std == "unbiased" else "population std"
        divisor = f"({std} + eps)" if self.eps else std
        return {
            "grpo": f"(r - mean) / {divisor}",
            "mean": "r - mean",
            "rloo": "r - mean of the others",
            "maxrl": "(r - mean) / (mean + eps)" if self.eps else "(r - mean) / mean",
            "pass_at_k": f"gain of the best of {self.k} by r",
            "none": "r",
        }[self.kind]

    def check_size(self, size: int, name: str) -> None:
        """Refuse groups that are too small for this advantage.

        Args:
            size: Episodes of a group.
            name: Name of the size in the error.

        Raises:
            ConfigError: The size is below 2, or not above k.
        """
        least = self.k + 1 if self.kind == "pass_at_k" else 2
        if size < least:
            raise ConfigError(
                f"{name} must be at least {least}, got {size!r}; "
                + (
                    f"the best of {self.k} samples is compared with the best of {self.k} others"
                    if self.kind == "pass_at_k"
                    else "a single episode cannot be compared"
                )
            )


def group_advantages(
    returns_G: Sequence[float], config: AdvantageConfig | None = None
) -> NDArray[np.float64]:
    """Compute the advantage of each trajectory of one group, [G].

    All are zero if the group has one trajectory, if all returns are equal, or, under pass_at_k, if
    failed verdicts leave k trajectories or fewer. (verl instead gives a single trajectory its
    return, without a baseline.)

    pass_at_k, with S over all sets of k - 1 others and U over all sets of k others of i:

        A_i = k (mean_S max(r_i, max r_S) - mean_U max r_U)

    The first mean, times k / G and summed over i, is an unbiased gradient of E[max of k samples]
    (for returns 0 and 1: of pass@k); the second does not depend on sample i, so it only lowers the
    variance. k = 1 is rloo. There is no division by the standard deviation: it would add bias.

    maxrl, with eps 0, weighs rare successes up: for returns 0 and 1 of a policy that is right with
    probability p, its mean gradient is that of

        - sum over k = 1 .. G - 1 of (1 - p)^k / k

    the first terms of log p, where `mean` has the first alone, p. A negative mean would turn the
    gradient round, so negative returns are refused.

    Args:
        returns_G: Returns of the graded trajectories, reward units.
        config: GRPO's if None.

    Raises:
        ConfigError: There is no return, one is not finite, or one is negative under maxrl.

    Source:
        GRPO: Shao et al. 2024, arXiv 2402.03300, section 4.1.2. Dr.GRPO (no division): Liu et al.
        2025, arXiv 2503.20783. MaxRL: Tajwar et al. 2026, arXiv 2602.02710, as in the released code
        (github.com/tajwarfahim/maxrl, commit c0698eb); that the baseline takes away the last of the
        G terms is derived here. RLOO: Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740.
        pass_at_k: Walder and Karkhanis 2025, arXiv 2505.15201 (leave-one-out form; the closed form
        of the sums is derived here).

    >>> group_advantages([1.0, 0.0, 0.0, 0.0], AdvantageConfig(kind="mean")).tolist()
    [0.75, -0.25, -0.25, -0.25]
    >>> group_advantages([1.0, 0.0, 0.0], AdvantageConfig(kind="rloo")).tolist()
    [1.0, -0.5, -0.5]
    >>> group_advantages([1.0, 0.0, 0.0, 0.0], AdvantageConfig(kind="maxrl", eps=0.0)).tolist()
    [3.0, -1.0, -1.0, -1.0]
    >>> group_advantages([1.0, 0.0, 0.0], AdvantageConfig(kind="pass_at_k", k=2)).tolist()
    [2.0, -1.0, -1.0]
    """
    config = config or AdvantageConfig()
    values_G = _checked(returns_G)
    if config.kind != "none" and float(np.ptp(values_G)) <= MIN_SPREAD:
        return np.zeros_like(values_G)
    return BASELINES[config.kind](values_G, config)


def _checked(returns_G: Sequence[float]) -> NDArray[np.float64]:
    values_G = np.array(returns_G, dtype=np.float64)
    if values_G.ndim != 1 or values_G.size == 0:
        raise ConfigError(
            f"a group's returns must be a non-empty list of numbers, got shape {values_G.shape!r}; "
            "drop groups without graded trajectories"
        )
    num_bad = int(np.count_nonzero(~np.isfinite(values_G)))
    if num_bad:
        raise ConfigError(
            f"returns must be finite, got {num_bad} of {values_G.size} that are not; "
            "drop these trajectories from their group"
        )
    return values_G


def _grpo(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    std = values_G.std(ddof=1 if config.std == "unbiased" else 0)
    return (values_G - values_G.mean()) / (std + config.eps)


def _mean(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    return values_G - values_G.mean()


def _rloo(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    others_mean_G = (values_G.sum() - values_G) / (values_G.size - 1)
    return values_G - others_mean_G


def _maxrl(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    least = float(values_G.min())
    if least < 0:
        raise ConfigError(
            f"returns must be at least 0 with advantage kind 'maxrl', got {least!r}; give outcomes "
            "rewards of 0 and more, or use another kind"
        )
    mean = values_G.mean()
    return (values_G - mean) / (mean + config.eps)


def _pass_at_k(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    k, size = config.k, values_G.size
    if size <= k:
        return np.zeros_like(values_G)
    others = [np.sort(np.delete(values_G, i)) for i in range(size)]
    with_own = [
        _mean_best(np.maximum(own, value), k - 1) if k > 1 else float(value)
        for own, value in zip(others, values_G, strict=True)
    ]
    without = [_mean_best(own, k) for own in others]
    return k * (np.array(with_own) - np.array(without))


def _mean_best(sorted_N: NDArray[np.float64], k: int) -> float:
    """Average the largest value of a set over all sets of k values; they are in ascending order."""
    # The j-th smallest (from 0) is the largest of comb(j, k - 1) sets.
    share_N = [math.comb(j, k - 1) / math.comb(len(sorted_N), k) for j in range(len(sorted_N))]
    return float(np.dot(sorted_N, share_N))


def _none(values_G: NDArray[np.float64], config: AdvantageConfig) -> NDArray[np.float64]:
    return values_G


BASELINES: dict[str, Callable[[NDArray[np.float64], AdvantageConfig], NDArray[np.float64]]] = {
    "grpo": _grpo,
    "mean": _mean,
    "rloo": _rloo,
    "maxrl": _maxrl,
    "pass_at_k": _pass_at_k,
    "none": _none,
}
"""The function of each `AdvantageConfig.kind`."""
