"""Where a model lies on the map of methods: what the nearest trained cells say, and the boundaries.

The map is a sweep over the generated families (docs/boundary.md): in each cell GRPO and the methods
made for it were trained with equal tokens, and two numbers that a probe measures too were measured
on the untrained model. The constants are the published rows of `benchmarks/boundary`; a test keeps
them equal.

A place on the map is evidence about small models on small problems, not a gate: it changes no
method's status.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from reason_env.agents.probe.figure import Figure

BASE = "success/pass_at_1"
LEAST_BASE = 2e-3
"""Base success below this is one place on the map's log axis."""
NEAREST = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """A trained cell of the map, for one method."""

    name: str
    """Family and level."""
    base: float
    """pass@1 before training."""
    axis: float
    """The method's own number before training."""
    difference: float
    """Mean pass@1 over the budget, method - GRPO, mean over seeds."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number at which the sweep shows a method to change sides."""

    figure: str
    value: float
    low: float
    high: float
    """95 % limits over cells."""
    below: float
    """Mean difference to GRPO of the cells below."""
    above: float


AXES: Mapping[str, str] = MappingProxyType(
    {
        "rrpo": "localisation/clean",
        "srpo": "localisation/over_start",
        "pope": "guided/prompt_0.25_gain",
        "lte": "mistakes/gain",
        "expo": "explanations/kept",
    }
)
"""Method -> the figure beside base success that spans its map."""
# The published map: begin
CELLS: Mapping[str, tuple[Cell, ...]] = MappingProxyType(
    {
        "rrpo": (
            Cell("unlock-1", 0.042, 0.216, -0.265),
            Cell("unlock-2", 0.047, 0.251, -0.106),
            Cell("unlock-3", 0.047, 0.157, -0.029),
            Cell("chain-8", 0.109, 0.333, 0.023),
            Cell("chain-6", 0.172, 0.477, 0.122),
            Cell("chain-5", 0.229, 0.492, -0.064),
            Cell("late-2", 0.37, 0.727, -0.069),
            Cell("chain-2", 0.375, 0.508, 0.042),
            Cell("chain-4", 0.448, 0.468, -0.052),
            Cell("chain-3", 0.516, 0.481, -0.043),
            Cell("late-1", 0.609, 0.682, 0.006),
        ),
        "srpo": (
            Cell("inverse-5", 0.047, -0.002, -0.092),
            Cell("equation-3", 0.094, 0.122, 0.014),
            Cell("equation-4", 0.099, 0.002, 0.026),
            Cell("chain-8", 0.109, 0.021, 0.386),
            Cell("chain-6", 0.172, 0.085, 0.071),
            Cell("chain-5", 0.229, -0.002, -0.014),
            Cell("inverse-4", 0.229, -0.095, -0.139),
            Cell("equation-2", 0.24, 0.028, -0.01),
            Cell("inverse-3", 0.266, -0.064, -0.117),
            Cell("inverse-2", 0.297, -0.006, -0.004),
            Cell("late-2", 0.37, 0.015, -0.021),
            Cell("chain-2", 0.375, -0.012, -0.015),
            Cell("chain-4", 0.448, -0.054, -0.121),
            Cell("chain-3", 0.516, -0.152, -0.008),
            Cell("late-1", 0.609, -0.008, -0.012),
        ),
        "pope": (
            Cell("precedence-7", 0.016, 0.5, 0.013),
            Cell("precedence-5", 0.021, 0.452, -0.007),
            Cell("precedence-4", 0.031, 0.342, 0.008),
            Cell("precedence-2", 0.036, 0.235, -0.172),
            Cell("precedence-3", 0.042, 0.529, -0.067),
            Cell("unlock-1", 0.042, 0.056, -0.269),
            Cell("unlock-2", 0.047, 0.219, -0.314),
            Cell("unlock-3", 0.047, 0.094, -0.07),
            Cell("precedence-1", 0.177, 0.5, -0.03),
        ),
        "lte": (
            Cell("precedence-7", 0.016, 0.386, 0.027),
            Cell("precedence-5", 0.021, 0.381, 0.022),
            Cell("precedence-4", 0.031, 0.342, 0.075),
            Cell("countdown-6", 0.036, -0.056, -0.013),
            Cell("precedence-2", 0.036, 0.382, 0.031),
            Cell("precedence-3", 0.042, 0.294, 0.074),
            Cell("countdown-5", 0.062, -0.033, -0.014),
            Cell("countdown-4", 0.073, 0.038, -0.043),
            Cell("precedence-1", 0.177, 0.188, -0.089),
            Cell("opposed-2", 0.661, 0.0, -0.002),
        ),
        "expo": (
            Cell("inverse-5", 0.047, 1.0, 0.019),
            Cell("equation-3", 0.094, 0.583, 0.031),
            Cell("equation-4", 0.099, 0.417, 0.033),
            Cell("inverse-4", 0.229, 1.0, -0.014),
            Cell("equation-2", 0.24, 0.667, 0.02),
            Cell("inverse-3", 0.266, 1.0, -0.02),
            Cell("inverse-2", 0.297, 1.0, -0.021),
        ),
    }
)
"""Method -> its cells."""
THRESHOLDS: Mapping[str, tuple[Threshold, ...]] = MappingProxyType({})
"""Method -> the thresholds that decide; a method without one has none that is shown."""
# The published map: end


def place_on_map(
    method: str,
    figures: Mapping[str, Figure],
    *,
    cells: Mapping[str, tuple[Cell, ...]] | None = None,
    thresholds: Mapping[str, tuple[Threshold, ...]] | None = None,
) -> str | None:
    """Say where a probed model lies on a method's map; None for a method or a model off the map.

    Args:
        method: Its name.
        figures: Of the probe, by name.
        cells: Trained cells; None: the published ones.
        thresholds: Boundaries; None: the published ones.
    """
    own = (CELLS if cells is None else cells).get(method, ())
    axis = AXES.get(method, "")
    if len(own) < NEAREST or BASE not in figures or axis not in figures:
        return None
    base, value = figures[BASE], figures[axis]
    near = nearest(own, base.estimate, value.estimate)
    listed = ", ".join(f"{cell.difference:+.3f} ({cell.name})" for cell in near)
    found = [f"{value.label} {value.estimate:.3f}, pass@1 {base.estimate:.3f}"]
    found.append(f"{method} - GRPO in the nearest cells: {listed}")
    for own_threshold in (THRESHOLDS if thresholds is None else thresholds).get(method, ()):
        if own_threshold.figure in figures:
            found.append(_side(own_threshold, figures[own_threshold.figure]))
    return "; ".join(found)


def nearest(cells: tuple[Cell, ...], base: float, axis: float) -> tuple[Cell, ...]:
    """Return the `NEAREST` cells, nearest first.

    Base success is measured on a log axis; each axis is divided by its range over the cells.

    >>> bases = {"a": 0.01, "b": 0.1, "c": 1.0}
    >>> cells = tuple(Cell(name, base, 0.0, 0.0) for name, base in bases.items())
    >>> [cell.name for cell in nearest(cells, 0.2, 0.0)]
    ['b', 'c', 'a']
    """
    places = [(_log(cell.base), cell.axis) for cell in cells]
    spans = [max(part) - min(part) or 1.0 for part in zip(*places, strict=True)]
    here = (_log(base), axis)

    def distance(at: int) -> float:
        return math.dist(
            [part / span for part, span in zip(places[at], spans, strict=True)],
            [part / span for part, span in zip(here, spans, strict=True)],
        )

    return tuple(cells[at] for at in sorted(range(len(cells)), key=distance)[:NEAREST])


def _log(base: float) -> float:
    return math.log10(max(base, LEAST_BASE))


def _side(threshold: Threshold, figure: Figure) -> str:
    low = figure.estimate if figure.low is None else figure.low
    high = figure.estimate if figure.high is None else figure.high
    shown = f"the boundary of {figure.label}, {threshold.value:.3f} [{threshold.low:.3f}, "
    shown += f"{threshold.high:.3f}]"
    if low > threshold.high:
        return f"above {shown}, where it ended {threshold.above:+.3f}"
    if high < threshold.low:
        return f"below {shown}, where it ended {threshold.below:+.3f}"
    sides = f"{threshold.below:+.3f} below, {threshold.above:+.3f} above"
    return f"within the limits of {shown}: {sides}"
