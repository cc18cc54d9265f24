"""Where a model lies on the map of methods: what the nearest trained cells say, and the boundaries.

The map is a sweep over the generated families (docs/boundary.md): in each cell GRPO and the methods
were trained with equal tokens, and the numbers that a probe measures too were measured on the
untrained model. The constants are the published rows of `benchmarks/boundary`; a test keeps
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
CELL_ERROR = 0.05
"""Standard error of a cell's difference, which is the mean of two seeds."""


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
            Cell("precedence-5", 0.005, 0.221, 0.021),
            Cell("inverse-8", 0.021, 0.321, -0.005),
            Cell("precedence-7", 0.021, 0.208, 0.025),
            Cell("inverse-5", 0.026, 0.361, -0.197),
            Cell("unlock-1", 0.031, 0.226, -0.053),
            Cell("unlock-2", 0.031, 0.271, 0.031),
            Cell("inverse-6", 0.036, 0.358, -0.055),
            Cell("countdown-6", 0.042, 0.936, -0.008),
            Cell("countdown-4", 0.047, 0.945, -0.002),
            Cell("precedence-4", 0.052, 0.343, 0.088),
            Cell("precedence-2", 0.062, 0.281, -0.097),
            Cell("precedence-3", 0.062, 0.307, -0.016),
            Cell("unlock-3", 0.073, 0.198, -0.097),
            Cell("chain-8", 0.078, 0.315, -0.023),
            Cell("countdown-5", 0.078, 0.925, -0.004),
            Cell("chain-10", 0.083, 0.356, 0.001),
            Cell("equation-4", 0.083, 0.347, -0.041),
            Cell("equation-3", 0.141, 0.338, 0.008),
            Cell("precedence-1", 0.177, 0.288, -0.076),
            Cell("inverse-3", 0.182, 0.5, -0.09),
            Cell("inverse-4", 0.182, 0.473, -0.101),
            Cell("inverse-2", 0.198, 0.569, 0.04),
            Cell("late-3", 0.245, 0.715, -0.049),
            Cell("chain-5", 0.25, 0.474, -0.016),
            Cell("chain-6", 0.26, 0.477, -0.033),
            Cell("equation-2", 0.266, 0.365, 0.02),
            Cell("late-2", 0.365, 0.704, 0.038),
            Cell("chain-4", 0.417, 0.469, 0.01),
            Cell("chain-2", 0.453, 0.499, -0.009),
            Cell("chain-3", 0.526, 0.451, -0.017),
            Cell("late-1", 0.651, 0.7, -0.002),
            Cell("opposed-1", 0.677, 0.241, -0.014),
            Cell("opposed-2", 0.719, 0.251, -0.053),
        ),
        "srpo": (
            Cell("precedence-5", 0.005, -0.006, 0.026),
            Cell("inverse-8", 0.021, -0.003, 0.012),
            Cell("precedence-7", 0.021, -0.013, 0.065),
            Cell("inverse-5", 0.026, 0.022, -0.087),
            Cell("unlock-1", 0.031, 0.058, 0.074),
            Cell("unlock-2", 0.031, 0.069, 0.022),
            Cell("inverse-6", 0.036, 0.021, 0.095),
            Cell("countdown-6", 0.042, -0.048, -0.008),
            Cell("countdown-4", 0.047, -0.022, -0.003),
            Cell("precedence-4", 0.052, -0.028, 0.03),
            Cell("precedence-2", 0.062, 0.043, -0.065),
            Cell("precedence-3", 0.062, 0.012, 0.013),
            Cell("unlock-3", 0.073, 0.031, -0.149),
            Cell("chain-8", 0.078, 0.098, 0.034),
            Cell("countdown-5", 0.078, -0.048, -0.002),
            Cell("chain-10", 0.083, 0.051, 0.046),
            Cell("equation-4", 0.083, 0.061, -0.017),
            Cell("equation-3", 0.141, 0.1, -0.001),
            Cell("precedence-1", 0.177, -0.067, -0.033),
            Cell("inverse-3", 0.182, 0.021, -0.022),
            Cell("inverse-4", 0.182, -0.01, -0.012),
            Cell("inverse-2", 0.198, 0.076, 0.071),
            Cell("late-3", 0.245, 0.085, -0.041),
            Cell("chain-5", 0.25, -0.004, -0.058),
            Cell("chain-6", 0.26, -0.027, -0.04),
            Cell("equation-2", 0.266, 0.103, -0.015),
            Cell("late-2", 0.365, 0.083, -0.003),
            Cell("chain-4", 0.417, -0.112, -0.005),
            Cell("chain-2", 0.453, -0.07, -0.014),
            Cell("chain-3", 0.526, -0.153, -0.008),
            Cell("late-1", 0.651, -0.098, 0.003),
            Cell("opposed-1", 0.677, -0.062, -0.037),
            Cell("opposed-2", 0.719, -0.082, 0.002),
        ),
        "pope": (
            Cell("precedence-5", 0.005, 0.413, 0.04),
            Cell("sealed-4", 0.005, 0.109, 0.384),
            Cell("inverse-8", 0.021, 0.025, 0.047),
            Cell("precedence-7", 0.021, 0.386, 0.022),
            Cell("inverse-5", 0.026, 0.175, -0.231),
            Cell("unlock-1", 0.031, 0.368, -0.009),
            Cell("unlock-2", 0.031, 0.25, -0.139),
            Cell("inverse-6", 0.036, 0.147, -0.035),
            Cell("countdown-6", 0.042, 0.094, 0.006),
            Cell("countdown-4", 0.047, 0.156, -0.013),
            Cell("precedence-4", 0.052, 0.382, -0.032),
            Cell("precedence-2", 0.062, 0.467, -0.008),
            Cell("precedence-3", 0.062, 0.361, 0.106),
            Cell("unlock-3", 0.073, 0.154, -0.231),
            Cell("chain-8", 0.078, 0.15, -0.036),
            Cell("countdown-5", 0.078, 0.214, 0.005),
            Cell("chain-10", 0.083, 0.2, -0.244),
            Cell("equation-4", 0.083, 0.091, -0.04),
            Cell("equation-3", 0.141, 0.0, 0.008),
            Cell("precedence-1", 0.177, 0.2, -0.168),
            Cell("inverse-3", 0.182, 0.417, -0.174),
            Cell("inverse-4", 0.182, 0.5, -0.035),
            Cell("inverse-2", 0.198, 0.5, 0.008),
            Cell("chain-5", 0.25, 0.0, -0.158),
            Cell("chain-6", 0.26, 0.0, -0.226),
            Cell("equation-2", 0.266, 0.5, -0.039),
        ),
        "lte": (
            Cell("precedence-5", 0.005, 0.348, 0.165),
            Cell("inverse-8", 0.021, -0.025, -0.003),
            Cell("precedence-7", 0.021, 0.295, 0.105),
            Cell("inverse-5", 0.026, 0.125, -0.186),
            Cell("unlock-1", 0.031, 0.079, -0.043),
            Cell("unlock-2", 0.031, 0.25, 0.043),
            Cell("inverse-6", 0.036, -0.029, -0.028),
            Cell("countdown-6", 0.042, -0.062, -0.013),
            Cell("countdown-4", 0.047, -0.062, -0.055),
            Cell("precedence-4", 0.052, 0.235, 0.08),
            Cell("precedence-2", 0.062, 0.2, 0.012),
            Cell("precedence-3", 0.062, 0.528, 0.05),
            Cell("unlock-3", 0.073, 0.038, -0.287),
            Cell("chain-8", 0.078, 0.15, 0.02),
            Cell("countdown-5", 0.078, -0.036, -0.029),
            Cell("chain-10", 0.083, 0.033, -0.068),
            Cell("equation-4", 0.083, 0.0, -0.043),
            Cell("equation-3", 0.141, 0.0, -0.014),
            Cell("precedence-1", 0.177, 0.2, 0.033),
            Cell("inverse-3", 0.182, 0.333, -0.072),
            Cell("inverse-4", 0.182, 0.125, 0.017),
            Cell("inverse-2", 0.198, 0.7, 0.005),
            Cell("chain-5", 0.25, 0.5, -0.055),
            Cell("chain-6", 0.26, -0.25, -0.104),
            Cell("equation-2", 0.266, -0.125, -0.078),
        ),
        "expo": (
            Cell("precedence-5", 0.005, 1.0, 0.188),
            Cell("inverse-8", 0.021, 0.917, 0.106),
            Cell("precedence-7", 0.021, 0.833, 0.126),
            Cell("inverse-5", 0.026, 0.958, -0.079),
            Cell("unlock-1", 0.031, 1.0, 0.189),
            Cell("unlock-2", 0.031, 1.0, 0.063),
            Cell("inverse-6", 0.036, 0.958, 0.068),
            Cell("countdown-6", 0.042, 1.0, 0.0),
            Cell("countdown-4", 0.047, 1.0, -0.022),
            Cell("precedence-4", 0.052, 0.875, 0.146),
            Cell("precedence-2", 0.062, 0.917, 0.028),
            Cell("precedence-3", 0.062, 0.958, 0.046),
            Cell("unlock-3", 0.073, 1.0, 0.002),
            Cell("chain-8", 0.078, 1.0, 0.053),
            Cell("countdown-5", 0.078, 0.958, 0.023),
            Cell("chain-10", 0.083, 0.917, 0.043),
            Cell("equation-4", 0.083, 0.292, -0.019),
            Cell("equation-3", 0.141, 0.625, 0.012),
            Cell("precedence-1", 0.177, 1.0, -0.009),
            Cell("inverse-3", 0.182, 1.0, -0.049),
            Cell("inverse-4", 0.182, 1.0, -0.006),
            Cell("inverse-2", 0.198, 1.0, 0.031),
            Cell("chain-5", 0.25, 0.958, -0.025),
            Cell("chain-6", 0.26, 1.0, 0.008),
            Cell("equation-2", 0.266, 0.667, -0.006),
            Cell("chain-4", 0.417, 1.0, 0.003),
            Cell("chain-2", 0.453, 1.0, 0.004),
            Cell("chain-3", 0.526, 1.0, -0.006),
            Cell("opposed-1", 0.677, 0.958, -0.0),
            Cell("opposed-2", 0.719, 1.0, 0.02),
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
    found.append(f"{method} - GRPO in the nearest cells, each +-{CELL_ERROR:g}: {listed}")
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
        return f"above {shown}, where it was {threshold.above:+.3f}"
    if high < threshold.low:
        return f"below {shown}, where it was {threshold.below:+.3f}"
    sides = f"{threshold.below:+.3f} below, {threshold.above:+.3f} above"
    return f"within the limits of {shown}: {sides}"
