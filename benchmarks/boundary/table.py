"""The tables of the map: boundaries, cells, and how well the twin foresees them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.boundary.points import Point
from benchmarks.boundary.rule import Boundary
from reason_env.agents.probe.boundary import AXES, BASE
from reason_env.agents.statistics import Interval

BASES = (0.0, 0.01, 0.05, 0.2, 1.0)
"""Limits of base success in the tables; no model solves everything before training."""


def tables(points: Sequence[Point], found: Sequence[Boundary]) -> str:
    """Write the tables of base success, of boundaries and of cells, as Markdown."""
    return f"{base_table(points)}\n\n{boundary_table(found)}\n\n{cell_table(points)}"


def base_table(points: Sequence[Point]) -> str:
    """Write the mean difference of each method by base success, and in how many cells it leads."""
    lines = [
        f"| pass@1 before | {' | '.join(AXES)} |",
        f"|---|{'---|' * len(AXES)}",
    ]
    for low, high in pairwise(BASES):
        shown: list[str] = []
        for method in AXES:
            own = [
                point.difference
                for point in points
                if point.method == method and low <= (point.value(BASE) or 0.0) < high
            ]
            leads = f"{sum(value > 0 for value in own)} of {len(own)}"
            shown.append(f"{np.mean(own):+.3f} ({leads})" if own else "-")
        lines.append(f"| {low:g} to {high:g} | {' | '.join(shown)} |")
    return "\n".join(lines)


def boundary_table(found: Sequence[Boundary]) -> str:
    """Write one line a method and number."""
    lines = [
        "| method | number | cells | threshold | method - GRPO below | above | least gap | p | "
        "decides |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {own.method} | `{own.figure}` | {own.cells} | {own.threshold:.3f} [{own.low:.3f}, "
        f"{own.high:.3f}] | {_signed(own.below)} | {_signed(own.above)} | "
        f"{own.least_gap:+.3f} | {own.p:.3f} | "
        f"{'yes' if own.decides else 'no'} |"
        for own in found
    ]
    return "\n".join(lines)


def cell_table(points: Sequence[Point]) -> str:
    """Write one line a cell and method."""
    lines = [
        "| cell | method | pass@1 before | number | noise | GRPO gained | method - GRPO, by seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for own in sorted(points, key=lambda one: (one.method, one.value(BASE) or 0.0)):
        axis = own.value(AXES[own.method])
        seeds = ", ".join(f"{value:+.3f}" for value in own.differences)
        lines.append(
            f"| {own.cell} | {own.method} | {own.numbers[BASE][0]:.3f} | "
            f"{'-' if axis is None else f'{axis:+.3f}'} | {own.noise:.2f} | {own.gained:+.3f} | "
            f"{seeds} |"
        )
    return "\n".join(lines)


def agreement(points: Sequence[Point], twin: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return method -> rank correlation of the real differences with the twin's.

    A real cell's counterpart is the world with the nearest numbers (base success on a log axis, the
    method's axis, the noise; each divided by its spread over the real cells).
    """
    found: dict[str, float] = {}
    for method, axis in AXES.items():
        own = [p for p in points if p.method == method and p.value(axis) is not None]
        worlds = [row for row in twin if axis in row["figures"]]
        if len(own) < 4 or not worlds:
            continue
        real = np.array([_place(p.value(BASE), p.value(axis), p.noise) for p in own])
        others = np.array(
            [_place(row["figures"][BASE], row["figures"][axis], row["noise"]) for row in worlds]
        )
        spread = real.std(axis=0) + 1e-9
        nearest = (((real[:, None] - others) / spread) ** 2).sum(-1).argmin(1)
        foreseen = [worlds[at]["differences"][method] for at in nearest.tolist()]
        found[method] = rank_correlation([p.difference for p in own], foreseen)
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation; ties share their mean rank, nan without spread.

    >>> rank_correlation([1, 2, 3, 4], [1, 2, 4, 3])
    0.8
    """
    ranks = np.array([_ranks(first), _ranks(second)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = float(np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return round(float(centred[0] @ centred[1]) / length, 10) if length else float("nan")


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = np.asarray(values, dtype=float)
    return [float((ordered < one).sum() + ((ordered == one).sum() + 1) / 2) for one in ordered]


def _place(base: float | None, axis: float | None, noise: float) -> tuple[float, float, float]:
    assert base is not None and axis is not None, "filtered"  # noqa: PT018
    return float(np.log10(max(base, 1e-3))), axis, noise


def _signed(own: Interval) -> str:
    return f"{own.estimate:+.3f} [{own.low:+.3f}, {own.high:+.3f}]"


def twin_table(twin: Sequence[dict[str, Any]]) -> str:
    """Tabulate the twin's mean difference to GRPO by base success and thirds of a method's number.

    Thirds are of the worlds with that base success; the range of the number is written with each.
    """
    lines = ["| method | pass@1 before | number: lowest third | middle | highest |"]
    lines.append("|---|---|---|---|---|")
    for method, axis in AXES.items():
        worlds = [row for row in twin if method in row["differences"]]
        for low, high in pairwise(BASES):
            own = sorted(
                (row["figures"][axis], row["differences"][method])
                for row in worlds
                if low <= row["figures"][BASE] < high
            )
            if own:
                parts = [part for part in np.array_split(np.array(own), 3) if len(part)]
                shown = " | ".join(
                    f"{part[:, 1].mean():+.3f} ({part[0, 0]:.2f} to {part[-1, 0]:.2f})"
                    for part in parts
                )
                lines.append(f"| {method} | {low:g} to {high:g} | {shown} |")
    return "\n".join(lines)
