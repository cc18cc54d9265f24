"""The picture of a run: pass rate against the tokens that training generated.

Tokens, not iterations or seconds, because they are the price that methods with other group sizes,
resets or hints share. Evaluation stands as points with their 95 % bars; training rollouts as
faint dots with a running mean, since the problems differ from iteration to iteration.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reason_env.errors import ConfigError

_TRAIN, _EVAL, _INK = "#4477aa", "#cc3311", "#333333"
_X = "rollout/sampled_tokens_total"
_EVAL_NAMES = ("eval/pass_at_1", "eval/pass_at_1_low", "eval/pass_at_1_high")


def draw_curve(metrics: Sequence[Mapping[str, Any]], path: str | Path, *, title: str) -> None:
    """Writes the learning curve as a PNG of 1200 x 700 pixels.

    Args:
        metrics: Rows of `RunDir.read_metrics`, in order; rows without tokens stand at the last
            known number.
        path: Where the PNG is written.
        title: Of the picture: method, problems, model.

    Raises:
        ConfigError: No row holds a pass rate.
    """
    x = _tokens(metrics)
    train = np.array([_train_pass_rate(row) for row in metrics], dtype=np.float64)
    evals = np.array(
        [[_value(row, name) for name in _EVAL_NAMES] for row in metrics], dtype=np.float64
    ).reshape(-1, 3)
    if not np.isfinite(train).any() and not np.isfinite(evals[:, 0]).any():
        raise ConfigError(
            f"metrics must hold a pass rate to draw, got {len(metrics)} rows without; run at least "
            "one iteration"
        )
    _draw(x, train, evals, path=Path(path), title=title)


def running_mean(values: NDArray[np.float64], *, half_width: int) -> NDArray[np.float64]:
    """Returns the mean over each value's neighbours, as many on either side as there are.

    Near an end the window shrinks on both sides: a one-sided one would bend the curve's ends.

    >>> running_mean(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), half_width=1).round(2).tolist()
    [0.0, 0.33, 0.67, 1.0, 1.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(np.minimum(index, len(values) - 1 - index), half_width)
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)


def _draw(
    x: NDArray[np.float64],
    train: NDArray[np.float64],
    evals: NDArray[np.float64],
    *,
    path: Path,
    title: str,
) -> None:
    # The figure is made by hand: pyplot would choose a display and keep it in global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter

    figure = Figure(figsize=(12, 7), dpi=100, layout="constrained")
    axes = figure.subplots()
    known = np.isfinite(train)
    if known.any():
        half_width = max(1, int(known.sum()) // 20)
        smooth = running_mean(train[known], half_width=half_width)
        label = f"training rollouts (dots: iterations; line: mean of {2 * half_width + 1})"
        axes.plot(x[known], train[known], ".", color=_TRAIN, alpha=0.4, markersize=7)
        axes.plot(x[known], smooth, color=_TRAIN, linewidth=2.5, label=label)
    known = np.isfinite(evals[:, 0])
    if known.any():
        point, low, high = evals[known].T
        # A row without limits has no bar; rounding must not make a bar negative.
        bars = np.nan_to_num(np.clip([point - low, high - point], 0, None))
        axes.errorbar(
            x[known], point, yerr=bars, fmt="o", color=_EVAL, markersize=7,
            elinewidth=1.8, capsize=4, label="evaluation (pass@1; bars: 95 % interval)", zorder=3,
        )  # fmt: skip
    axes.set_title(title, fontsize=16, loc="left", color=_INK, pad=14)
    axes.set_xlabel("tokens generated for training", fontsize=14, color=_INK, labelpad=10)
    axes.set_ylabel("pass rate (share of episodes)", fontsize=14, color=_INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.set_ylim(0, 1.02)
    end = max(float(x.max()), 1.0)
    axes.set_xlim(-0.015 * end, 1.02 * end)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=13, colors=_INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(fontsize=13, frameon=False, loc="best", labelcolor=_INK)
    FigureCanvasAgg(figure).print_png(str(path))


def _tokens(metrics: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    tokens, last = [], 0.0
    for row in metrics:
        value = _value(row, _X)
        last = last if np.isnan(value) else value
        tokens.append(last)
    return np.array(tokens, dtype=np.float64)


def _train_pass_rate(row: Mapping[str, Any]) -> float:
    # Where episodes had help, only those without it are comparable between methods.
    return _value(row, "rollout/pass_rate/base" if _has_roles(row) else "rollout/pass_rate")


def _has_roles(row: Mapping[str, Any]) -> bool:
    return any(name.startswith("rollout/pass_rate/") for name in row)


def _value(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)
