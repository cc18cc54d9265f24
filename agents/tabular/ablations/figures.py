"""Draw one small figure per ablation, from the rows of its table to a PNG.

The figures show means over seeds; the table has the rows of each seed. Only drawing imports
matplotlib.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.ablations.scherrer import ARMS
from reason_env.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL_FIGURES = "pip install 'reason-env[figures]'"
Draw = Callable[[list[Row], "Figure"], None]


def has_matplotlib() -> bool:
    """Check for matplotlib, which the extra `figures` installs."""
    return find_spec("matplotlib") is not None


def write(draw: Draw, rows: list[Row], path: Path) -> None:
    """Draw the rows into a PNG of at most about 100 kB.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not has_matplotlib():
        raise ConfigError(
            f"a figure must be drawn with matplotlib, got none installed; {INSTALL_FIGURES}"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), dpi=90, layout="constrained")
    draw(rows, figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def step_size(rows: list[Row], figure: "Figure") -> None:
    """Draw the realised gain and the two lower bounds over step sizes."""
    left, right = figure.subplots(1, 2)
    grid = [row for row in rows if row["rule"] == "grid"]
    for column, label in (
        ("realised_gain", "realised"),
        ("safe_bound", "Pirotta 2013"),
        ("mixture_bound", "K&L, Theorem 4.1"),
    ):
        x, y = _means(grid, "step_size", column)
        left.plot(x, y, label=label)
        is_positive = y > 0
        right.plot(x[is_positive], y[is_positive], label=label)
    top = max(_means(grid, "step_size", "realised_gain")[1])
    left.set(xscale="log", ylim=(-top, 1.1 * top), ylabel="gain in normalised value")
    right.set(xscale="log", yscale="log", title="positive part, log scale")
    left.axhline(0, color="0.7", linewidth=0.8)
    for rule, colour in (("kakade_langford", "C2"), ("safe", "C1")):
        steps = [float(row["step_size"]) for row in rows if row["rule"] == rule]
        right.axvline(float(np.median(steps)), color=colour, linestyle=":")
    left.set_title("bounds turn negative early")
    _label(left, right, xlabel="step size alpha (dotted: each rule's own)")


def restart(rows: list[Row], figure: "Figure") -> None:
    """Draw final gap and mismatch by restart distribution, one column per world."""
    worlds = list(dict.fromkeys(str(row["world"]) for row in rows))
    names = list(dict.fromkeys(str(row["restart"]) for row in rows))
    top, bottom = figure.subplots(2, len(worlds), sharex=True)
    for column, world in enumerate(worlds):
        mine = [row for row in rows if row["world"] == world]
        gap = [_mean(mine, "gap", restart=name) for name in names]
        ratio = [_mean(mine, "mismatch", restart=name) for name in names]
        top[column].bar(names, gap, color="C3")
        top[column].set(title=world, ylim=(0, 1.05))
        bottom[column].bar(names, ratio, color="C0")
        bottom[column].set_yscale("log")
        bottom[column].tick_params(axis="x", rotation=60)
    top[0].set_ylabel("gap / optimum")
    bottom[0].set_ylabel("mismatch")


def coverage(rows: list[Row], figure: "Figure") -> None:
    """Draw samples to fixed confidence and gain per iteration over p, on log axes."""
    left, right = figure.subplots(1, 2)
    arms = ((1, 0, "noisy verdict, no baseline"), (0, 1, "exact verdict, baseline"))
    mine = _where(rows, resets="random_still", noise=1, baseline=0)
    left.plot(*_by_rate(mine, "samples"), "-^", color="C2", markersize=3)
    left.lines[-1].set_label("random, noisy, candidate moves only where it gains")
    for resets, colour in (("random", "C3"), ("oracle", "C0")):
        for (noise, baseline, label), style in zip(arms, ("-o", "--s"), strict=True):
            mine = _where(rows, resets=resets, noise=noise, baseline=baseline)
            left.plot(*_by_rate(mine, "samples"), style, color=colour, markersize=3)
            left.lines[-1].set_label(f"{resets}, {label}")
        mine = _where(rows, resets=resets, noise=1, baseline=0)
        for kind, style in (("guaranteed_gain", ":"), ("realised_gain", "-o")):
            right.plot(*_by_rate(mine, kind), style, color=colour, markersize=3)
            right.lines[-1].set_label(f"{resets}, {kind.split('_')[0]}")
    left.set(xscale="log", yscale="log", ylim=(0.3, 1e14), ylabel="resets to 3 standard errors")
    right.set(xscale="log", yscale="log", ylabel="gain in return per iteration")
    _label(left, right, xlabel="p: improvable share of steps")


def localisation(rows: list[Row], figure: "Figure") -> None:
    """Draw advantage and gain of resets over the error of the located step."""
    left, right = figure.subplots(1, 2)
    for share, label in ((0.0, "mistakes are final"), (0.5, "half can be repaired")):
        mine = _where(rows, repairable=share)
        for axes, column in ((left, "advantage"), (right, "gain")):
            x, y = _means(mine, "offset", column)
            axes.plot(x, y, "-o", label=label, markersize=3)
    left.set_ylabel("best advantage at the reset")
    right.set_ylabel("gain in return, one budget")
    for axes in (left, right):
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    _label(left, right, xlabel="error of the named step", is_peaked=True)


def chain(rows: list[Row], figure: "Figure") -> None:
    """Draw transitions to escape K&L's chain, and the fraction of seeds that escape."""
    left, right = figure.subplots(1, 2)
    for name, colour in (("initial", "C3"), ("uniform", "C0")):
        mine = _where(rows, restart=name)
        x, y = _means(mine, "length", "transitions")
        left.plot(x, y, "-o", color=colour, label=f"restart: {name}", markersize=3)
        x, y = _means(mine, "length", "escaped")
        right.plot(x, y, "-o", color=colour, label=f"restart: {name}", markersize=3)
    left.plot(*_means(rows, "length", "uniform_policy_steps"), ":", color="0.5")
    left.lines[-1].set_label("3 (2^n - n - 1)")
    left.set(yscale="log", ylabel="transitions spent (failed attempts too)")
    right.set(ylim=(-0.05, 1.05), ylabel="share of seeds that escape")
    _label(left, right, xlabel="states of the chain")


def curriculum(rows: list[Row], figure: "Figure") -> None:
    """Draw the cost of PSDP backwards and of a first success from the start."""
    axes = figure.subplots()
    for column, label in (
        ("backwards_transitions", "PSDP, last digit first: the lock is solved"),
        ("from_start_transitions", "from the start: the first success is seen"),
    ):
        axes.plot(*_means(rows, "length", column), "-o", label=label, markersize=3)
    axes.set(yscale="log", ylabel="transitions")
    _label(axes, xlabel="digits of the lock")


def garnet(rows: list[Row], figure: "Figure") -> None:
    """Draw each arm's mean gap and its deviation between runs, one column per branching."""
    figure.set_size_inches(7.2, 5.0)
    panels = figure.subplots(2, 3, sharex=True, sharey="row")
    num_actions = sorted({int(row["num_actions"]) for row in rows})
    for column, branching in enumerate((1, 2, 10)):
        for axes, what in zip(panels[:, column], ("last_gap", "run_deviation"), strict=True):
            for offset, actions in enumerate(num_actions):
                mine = _where(rows, branching=branching, num_actions=actions)
                height = [_mean(mine, what, arm=arm) for arm in ARMS]
                place = np.arange(len(ARMS)) + 0.27 * (offset - 1)
                axes.bar(place, height, 0.27, label=f"A = {actions}")
            axes.set_xticks(range(len(ARMS)), ARMS, rotation=70, fontsize=7)
        panels[0, column].set_title(f"branching {branching}", fontsize=9)
    panels[0, 0].set_ylabel("gap after 100 iterations", fontsize=8)
    panels[1, 0].set_ylabel("its deviation between runs", fontsize=8)
    panels[0, 2].legend(fontsize=7)


def _where(rows: Iterable[Row], **wanted: str | float) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _mean(rows: list[Row], column: str, **wanted: str) -> float:
    return float(np.mean([float(row[column]) for row in _where(rows, **wanted)]))


def _means(rows: list[Row], x_column: str, y_column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct x and the mean y of each."""
    x = np.array([float(row[x_column]) for row in rows])
    y = np.array([float(row[y_column]) for row in rows])
    distinct, index = np.unique(x, return_inverse=True)
    return distinct, np.bincount(index, weights=y) / np.bincount(index)


def _by_rate(rows: list[Row], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean p and mean y for each rate of critical steps, because p differs by seed."""
    return _means(rows, "critical_rate", "coverage")[1], _means(rows, "critical_rate", column)[1]


def _label(*panels: "Axes", xlabel: str, is_peaked: bool = False) -> None:
    for axes in panels:
        axes.set_xlabel(xlabel)
        axes.legend(fontsize=7, loc="upper left" if is_peaked else "best")
        axes.grid(alpha=0.3)
