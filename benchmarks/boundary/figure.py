"""draw(): the map, one panel a method: base success, the method's own number, and who wins.

Circles are trained cells, coloured by mean pass@1 over the budget, method - GRPO. Behind them, where the softmax
twin has the number, small squares in the same colours: the twin's cells. Dotted lines are
thresholds that the sweep shows to decide (`rule.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from benchmarks.boundary.points import LABELS, Point
from benchmarks.boundary.rule import Boundary
from reason_env.agents.probe.boundary import AXES, BASE

LEAST_BASE = 2e-3
"""Where cells without any success are drawn on the log axis."""
NAMES = {
    "rrpo": "RRPO", "srpo": "SRPO, step checker", "pope": "POPE", "lte": "LTE", "expo": "ExPO",
}  # fmt: skip
COLOURS = "RdBu"
MOST = 0.3
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
    image = None
    for axes, method in zip(panels, AXES, strict=False):
        own = [one for one in points if one.method == method]
        image = _panel(axes, method, own, twin, norm) or image
        for boundary in found:
            if boundary.method == method and boundary.decides:
                line = axes.axvline if boundary.figure == BASE else axes.axhline
                line(boundary.threshold, color="0.2", linestyle=":", linewidth=1.5)
    legend = panels[-1]
    legend.axis("off")
    _legend(legend)
    if image is not None:
        bar = figure.colorbar(image, ax=legend, location="bottom", fraction=0.12, aspect=30)
        bar.set_label("mean pass@1 over the budget, method - GRPO (twin: final)")
    figure.savefig(file, dpi=110)


def _panel(
    axes: Any, method: str, own: Sequence[Point], twin: Sequence[dict[str, Any]], norm: TwoSlopeNorm
) -> Any:
    axis = AXES[method]
    shown = [one for one in own if one.value(axis) is not None]
    hidden = len(own) - len(shown)
    left_out = f"; {hidden} without this number" if hidden else ""
    axes.set_title(f"{NAMES[method]}: {len(shown)} cells{left_out}", fontsize=11)
    axes.set(xscale="log", xlim=(LEAST_BASE / 1.5, 1.0), xlabel=LABELS[BASE], ylabel=LABELS[axis])
    axes.grid(alpha=0.25)
    worlds = [row for row in twin if axis in row["figures"] and method in row["differences"]]
    if worlds:
        axes.scatter(
            [max(row["figures"][BASE], LEAST_BASE) for row in worlds],
            [row["figures"][axis] for row in worlds],
            c=[row["differences"][method] for row in worlds],
            s=9, marker="s", cmap=COLOURS, norm=norm, alpha=0.8, linewidths=0,
        )  # fmt: skip
    if not shown:
        return None
    x = np.array([max(one.value(BASE) or 0.0, LEAST_BASE) for one in shown])
    y = np.array([one.value(axis) for one in shown], dtype=float)
    image = axes.scatter(
        x, y, c=[one.difference for one in shown], s=110, cmap=COLOURS, norm=norm,
        edgecolors="0.15", linewidths=1.0, zorder=3,
    )  # fmt: skip
    for one, at_x, at_y in zip(shown, x, y, strict=True):
        family, _, level = one.cell.partition("-")
        axes.annotate(
            f"{family[:2]}{level}", (at_x, at_y), fontsize=6, ha="center", va="center", zorder=4
        )
    return image


def _legend(axes: Any) -> None:
    lines = (
        "circle: a trained cell of the shipped families",
        "   ch chain, eq equation, in inverse, pr precedence, un unlock,",
        "   co countdown, op opposed, la late, se sealed; number: level",
        "small square: a cell of the softmax twin",
        "blue: the method ends above GRPO, red: below",
        f"full colour at +-{MOST:g} of pass@1",
        "dotted: a threshold that the sweep shows to decide",
        f"cells without a success are drawn at {LEAST_BASE:g}",
    )
    axes.text(0.0, 0.98, "\n".join(lines), va="top", fontsize=9, linespacing=1.6)
