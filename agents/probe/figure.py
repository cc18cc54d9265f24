"""Figure and Section: what a measurement found, as values.

The unit of every interval is the problem: samples of one problem are not independent. Where
resampling problems shows no spread because all of them have the value 0 or 1, the interval is
Wilson's over the problems. Timings have no interval: a machine's speed is not a sample.

Not covered: fewer than about 20 problems, where bootstrap intervals are too narrow; gates use no
figures of very few problems (`gates.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from reason_env.agents.statistics import bootstrap_mean, wilson

MEAN_SEED = 0
"""Seed of every bootstrap: equal values give equal limits, whatever else is measured."""

BARE = ("fraction", "difference")
"""Units that are not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number with its 95 % interval."""

    name: str
    """Name in JSON and in gates, as in "guided/prompt_0.25"."""
    label: str
    """What it is, in words."""
    estimate: float
    low: float | None = None
    """Lower 95 % limit; None for timings, counts and fewer than two problems."""
    high: float | None = None
    unit: str = "fraction"
    """"fraction" in 0..1, "difference" of two fractions, or the unit in words."""
    num_problems: int = 0
    """Problems that the number is an average over; 0 if it is none."""

    @property
    def has_interval(self) -> bool:
        """Whether both limits are known."""
        return self.low is not None and self.high is not None

    def text(self) -> str:
        """The number with its limits.

        >>> Figure(name="a", label="a", estimate=0.5, low=0.25, high=0.75).text()
        '0.500 [0.250, 0.750]'
        >>> Figure(name="a", label="a", estimate=1234.5, unit="tokens/s").text()
        '1,234 tokens/s'
        """
        unit = "" if self.unit in BARE else f" {self.unit}"
        if self.low is None or self.high is None:
            return f"{_number(self.estimate)}{unit}"
        limits = f"[{_number(self.low)}, {_number(self.high)}]"
        return f"{_number(self.estimate)} {limits}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The figures of one measurement, and what they cost."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    """What could not be measured -> why."""
    num_problems: int
    """Problems that were measured."""
    num_eligible: int
    """Problems that could have been measured with more time."""
    sampled_tokens: int
    """Generated tokens that the measurement cost."""
    seconds: float

    @property
    def num_left_out(self) -> int:
        """Problems that the time did not allow."""
        return self.num_eligible - self.num_problems

    def to_dict(self) -> dict[str, Any]:
        """Convert the section to a JSON-able dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Section":
        """Read what `to_dict` wrote, before or after JSON."""
        own: dict[str, Any] = dict(data)
        own["figures"] = tuple(Figure(**figure) for figure in data["figures"])
        return cls(**own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The figures that some rows give, and what the rows could not answer."""

    figures: tuple[Figure, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict[str, str])


def rate_figure(name: str, label: str, values: Sequence[float]) -> Figure:
    """Average one number in 0..1 a problem.

    >>> rate_figure("a", "a", [0.0] * 20).text()
    '0.000 [0.000, 0.161]'
    """
    total = float(np.sum(values))
    if total not in (0.0, float(len(values))):
        return mean_figure(name, label, values, unit="fraction")
    found = wilson(int(total), len(values))
    return Figure(
        name=name,
        label=label,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        num_problems=len(values),
    )


def difference_figure(
    name: str, label: str, first: Sequence[float], second: Sequence[float]
) -> Figure:
    """Average `first` - `second` over problems, two rates in 0..1 paired by problem.

    If both are equal in every problem, resampling shows no spread; the limits are then those of
    Wilson's interval for the share of problems in which they differ.

    >>> difference_figure("a", "a", [0.5] * 20, [0.5] * 20).text()
    '0.000 [-0.161, 0.161]'
    """
    values = np.subtract(first, second)
    if values.any():
        return mean_figure(name, label, values.tolist(), unit="difference")
    high = wilson(0, len(values)).high
    return Figure(
        name=name,
        label=label,
        estimate=0.0,
        low=-high,
        high=high,
        unit="difference",
        num_problems=len(values),
    )


def mean_figure(name: str, label: str, values: Sequence[float], *, unit: str) -> Figure:
    """Average one number a problem; no limits for a single problem.

    >>> mean_figure("a", "a", [2.0], unit="nats").text()
    '2.000 nats'
    """
    found = bootstrap_mean(values, rng=np.random.default_rng(MEAN_SEED))
    has_limits = len(values) > 1
    return Figure(
        name=name,
        label=label,
        estimate=found.estimate,
        low=found.low if has_limits else None,
        high=found.high if has_limits else None,
        unit=unit,
        num_problems=len(values),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
