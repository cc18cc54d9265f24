"""draw(): the map, one panel a method: base success, the method's own number, and who wins.

Circles are trained cells, coloured by mean pass@1 over the budget, method - GRPO. Behind them,
where the softmax twin has the number, small squares: its worlds, by final success; worlds of equal
numbers lie side by side. Dotted lines are thresholds that the sweep shows to decide (`rule.py`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from benchmarks.boundary.points import LABELS, Point
from benchmarks.boundary.rule import Boundary
from reason_env.agents.probe.boundary import AXES, BASE, LEAST_BASE

NAMES = {
    "rrpo": "RRPO", "srpo": "SRPO, step checker", "pope": "POPE", "lte": "LTE", "expo": "ExPO",
}  # fmt: skip
COLOURS = "RdBu"
STEP = 1.06
"""Factor between squares that lie side by side."""
MOST = 0.15
"""Difference of pass@1 with the full colour."""


def draw(
    points: Sequence[Point],
    found: Sequence[Boundary],
    file: Path,
    twin: Sequence[dict[str, Any]] = (),
) -> None:
    """Draw the map into a PNG."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).ravel()
    norm = TwoSlopeNorm(0.0, -MOST, MOST)
    image = ScalarMappable(norm=norm, cmap=COLOURS)
    for axes, method in zip(panels, AXES, strict=False):
        own = [one for one in points if one.method == method]
        _panel(axes, method, own, twin, norm)
        for boundary in found:
            if boundary.method == method and boundary.decides:
                line = axes.axvline if boundary.figure == BASE else axes.axhline
                line(boundary.threshold, color="0.2", linestyle=":", linewidth=1.5)
    legend = panels[-1]
    legend.axis("off")
    _legend(legend)
    bar = figure.colorbar(image, ax=legend, location="bottom", fraction=0.12, aspect=30)
    bar.set_label("pass@1, method - GRPO (cells: mean over the budget)")
    figure.savefig(file, dpi=110)


def _panel(
    axes: Any, method: str, own: Sequence[Point], twin: Sequence[dict[str, Any]], norm: TwoSlopeNorm
) -> None:
    axis = AXES[method]
    shown = [one for one in own if one.value(axis) is not None]
    hidden = len(own) - len(shown)
    left_out = f"; {hidden} without this number" if hidden else ""
    axes.set_title(f"{NAMES[method]}: {len(shown)} cells{left_out}", fontsize=11)
    axes.set(xscale="log", xlim=(LEAST_BASE / 1.7, 1.7))
    axes.set_xlabel(LABELS[BASE], fontsize=9)
    axes.set_ylabel(LABELS[axis], fontsize=9)
    axes.grid(alpha=0.25)
    worlds = [row for row in twin if axis in row["figures"] and method in row["differences"]]
    if worlds:
        places = [(max(row["figures"][BASE], LEAST_BASE), row["figures"][axis]) for row in worlds]
        axes.scatter(
            beside(places),
            [value for _, value in places],
            c=[row["differences"][method] for row in worlds],
            s=22, marker="s", cmap=COLOURS, norm=norm, edgecolors="0.75", linewidths=0.4,
        )  # fmt: skip
    if not shown:
        if not worlds:
            axes.text(0.5, 0.5, "no trained cell yet", transform=axes.transAxes, ha="center")
        return
    x = np.array([max(one.value(BASE) or 0.0, LEAST_BASE) for one in shown])
    y = np.array([one.value(axis) for one in shown], dtype=float)
    axes.scatter(
        x, y, c=[one.difference for one in shown], s=110, cmap=COLOURS, norm=norm,
        edgecolors="0.15", linewidths=1.0, zorder=3,
    )  # fmt: skip
    for one, at_x, at_y in zip(shown, x, y, strict=True):
        family, _, level = one.cell.partition("-")
        axes.annotate(
            f"{family[:2]}{level}", (at_x, at_y), fontsize=6, ha="center", va="center", zorder=4
        )


def beside(places: Sequence[tuple[float, float]]) -> list[float]:
    """Spread the x of equal places to either side, on a log axis.

    >>> [round(x, 4) for x in beside([(0.1, 0.5), (0.1, 0.5), (0.2, 0.5)])]
    [0.1, 0.106, 0.2]
    """
    count: Counter[tuple[float, float]] = Counter()
    found: list[float] = []
    for x, y in places:
        key = (round(x, 4), round(y, 2))
        place = count[key]
        count[key] += 1
        found.append(x * STEP ** ((place + 1) // 2 * (1 if place % 2 else -1)))
    return found


def _legend(axes: Any) -> None:
    lines = (
        "circle: a trained cell, by the mean success over its budget",
        "   ch chain, eq equation, in inverse, pr precedence, un unlock,",
        "   co countdown, op opposed, la late, se sealed; number: level",
        "small square: a world of the softmax twin, by final success;",
        "   worlds of equal numbers lie side by side",
        "blue: the method is above GRPO, red: below",
        f"full colour at +-{MOST:g} of pass@1",
        "dotted: a threshold that the sweep shows to decide",
        f"cells without a success are drawn at {LEAST_BASE:g}",
    )
    axes.text(0.0, 0.98, "\n".join(lines), va="top", fontsize=9, linespacing=1.6)
