"""Compute the report's charts: means over the seeds of an arm, from the rows of its runs.

The axis of curves is generated tokens. Training numbers are smoothed over neighbouring iterations,
evaluations are not. Three or more seeds have a band; the band of a single run's evaluations is over
problems.

Axis letters: S seeds, X places on the token axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reason_env.agents.compare import (
    FEWEST_FOR_INTERVAL,
    Floats,
    band,
    curve_of,
    preparation_tokens,
)
from reason_env.agents.metrics import OUTCOMES
from reason_env.agents.runs import RunDir

Json = dict[str, Any]
Row = Mapping[str, Any]
Line = Floats | Sequence[float]
GRID_POINTS = 61
SMOOTHING = 20
"""Training numbers are smoothed over 1/20 of the iterations on either side."""
SIGNALS = {
    "advantage/groups_without_signal_fraction": "Groups without signal",
    "rollout/solved_problems_unaided": "Problems solved without help, an iteration",
    "rollout/pass_rate": "Training pass rate without help",
    "update/entropy": "Entropy, nats a token",
    "rollout/completion_tokens_mean": "Tokens of an episode",
    "update/grad_norm": "Gradient norm",
}
EVALS = ("eval/pass_at_1", "eval/pass_at_k")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """One run and its rows."""

    source: str
    arm: str
    seed: int
    status: str
    run: RunDir
    rows: tuple[Row, ...]

    @property
    def tokens(self) -> Floats:
        """Tokens generated for training up to each row, [rows]; 0 at iteration 0."""
        total = [row.get("rollout/sampled_tokens_total") or 0 for row in self.rows]
        return np.array(total, dtype=np.float64)


def numbers_of(runs: Sequence[ReportRun], arms: Sequence[str]) -> Json:
    """Compute the curves, signals, outcomes and costs of one problem source, by arm.

    Args:
        runs: The runs of the source; those without rows are left out.
        arms: All arms of the report, in order.
    """
    own = {arm: [run for run in runs if run.arm == arm and run.rows] for arm in arms}
    own = {arm: found for arm, found in own.items() if found}
    # Do not mix bands over problems with bands over seeds: a reader could not tell them apart.
    are_single = all(len(found) == 1 for found in own.values())
    return {
        "curves": {arm: _curves(found, are_single=are_single) for arm, found in own.items()},
        "signals": {
            arm: {name: _series(found, name) for name in SIGNALS} for arm, found in own.items()
        },
        "outcomes": {arm: _outcomes(found) for arm, found in own.items()},
        "drawn": {arm: parts for arm, found in own.items() if (parts := _drawn(found))},
        "cost": {arm: _cost(found) for arm, found in own.items()},
    }


def _curves(runs: Sequence[ReportRun], *, are_single: bool) -> Json:
    """Interpolate pass@1 and pass@k on a grid of tokens, with the band over seeds.

    For one seed, the curve has the points of its evaluations, with the band over problems if every
    arm has one seed, and no band otherwise.
    """
    curves = [curve_of(run.rows) for run in runs if _has_evals(run)]
    if not curves:
        return {}
    if len(curves) == 1:
        run = next(run for run in runs if _has_evals(run))
        rows = [row for row in run.rows if row.get("eval/pass_at_1") is not None]
        x = [float(row.get("rollout/sampled_tokens_total") or 0) for row in rows]
        return {
            name: {
                "x": x,
                "mean": [row[name] for row in rows],
                "low": [row[f"{name}_low"] for row in rows] if are_single else None,
                "high": [row[f"{name}_high"] for row in rows] if are_single else None,
            }
            for name in EVALS
        }
    end = min(curve.tokens[-1] for curve in curves)
    grid_X = np.linspace(0, end, GRID_POINTS)
    return {
        name: _banded(
            grid_X,
            _interpolated(
                grid_X, [(c.tokens, getattr(c, name.removeprefix("eval/"))) for c in curves]
            ),
        )
        for name in EVALS
    }


def _series(runs: Sequence[ReportRun], name: str) -> Json | None:
    """Interpolate a training number on a grid of tokens; None if no run has it."""
    found: list[tuple[Floats, Floats]] = []
    for run in runs:
        values = np.array([_base_value(row, name) for row in run.rows], dtype=np.float64)
        known = np.isfinite(values)
        if known.any():
            half_width = max(1, int(known.sum()) // SMOOTHING)
            found.append((run.tokens[known], running_mean(values[known], half_width=half_width)))
    if not found:
        return None
    start, end = max(x[0] for x, _ in found), min(x[-1] for x, _ in found)
    grid_X = np.linspace(start, max(start, end), GRID_POINTS, dtype=np.float64)
    return _banded(grid_X, _interpolated(grid_X, found))


def _interpolated(grid_X: Floats, lines: Sequence[tuple[Line, Line]]) -> Floats:
    return np.array([np.interp(grid_X, x, y) for x, y in lines], dtype=np.float64)


def _banded(grid_X: Floats, value_SX: Floats) -> Json:
    mean_X, low_X, high_X = band(value_SX)
    is_few = len(value_SX) < FEWEST_FOR_INTERVAL
    return {
        "x": _rounded(grid_X),
        "mean": _rounded(mean_X),
        "low": None if is_few else _rounded(low_X),
        "high": None if is_few else _rounded(high_X),
    }


def _outcomes(runs: Sequence[ReportRun]) -> list[Json]:
    """Compute each outcome's share in the first and the last quarter of the iterations."""
    parts: list[Json] = []
    for label, quarter in (("first quarter", slice(0, 1)), ("last quarter", slice(-1, None))):
        shares: dict[str, list[float]] = {name: [] for name in OUTCOMES}
        for run in runs:
            rows = [row for row in run.rows if row.get("grade/correct_fraction") is not None]
            if not rows:
                continue
            count = max(1, len(rows) // 4)
            own = rows[:count] if quarter.start == 0 else rows[-count:]
            for name in OUTCOMES:
                shares[name].append(sum(row[f"grade/{name}_fraction"] for row in own) / count)
        if shares["correct"]:
            means = {name: sum(values) / len(values) for name, values in shares.items()}
            parts.append({"label": label, "shares": means})
    return parts


def _drawn(runs: Sequence[ReportRun]) -> list[Json]:
    """Average what wrappers chose in the first and the last quarter of the iterations.

    Each part has the share of each level, and the distinct problems of an iteration. Runs whose
    wrappers choose no problems are left out.
    """
    head = "rollout/drawn_fraction/level_"
    parts: list[Json] = []
    for label, is_first in (("first quarter", True), ("last quarter", False)):
        found = [[row for row in run.rows if row.get("rollout/drawn_problems")] for run in runs]
        chosen: list[Row] = []
        for rows in found:
            count = max(1, len(rows) // 4)
            chosen += rows[:count] if is_first else rows[-count:]
        if not chosen:
            continue
        levels = sorted({int(k.removeprefix(head)) for row in chosen for k in row if head in k})
        shares = {
            str(level): sum(row.get(f"{head}{level}") or 0.0 for row in chosen) / len(chosen)
            for level in levels
        }
        problems = sum(row["rollout/drawn_problems"] for row in chosen) / len(chosen)
        parts.append({"label": label, "shares": shares, "problems": problems})
    return parts


def _cost(runs: Sequence[ReportRun]) -> Json:
    """Average the generated tokens by role over the runs; "discarded" is part of the roles."""
    totals = [_run_cost(run) for run in runs]
    names = list(dict.fromkeys(name for own in totals for name in own))
    return {name: sum(own.get(name, 0) for own in totals) / len(totals) for name in names}


def _run_cost(run: ReportRun) -> dict[str, float]:
    head = "rollout/sampled_tokens/"
    cost: dict[str, float] = {}
    prepared = preparation_tokens(run.rows)
    if prepared:
        cost["preparation"] = prepared
    discarded = 0.0
    for row in run.rows:
        roles = {name.removeprefix(head): row[name] for name in row if name.startswith(head)}
        if not roles and row.get("rollout/sampled_tokens") is not None:
            roles = {"base": row["rollout/sampled_tokens"]}
        for role, tokens in roles.items():
            cost[role] = cost.get(role, 0) + tokens
        discarded += row.get("rollout/discarded_tokens") or 0
    return cost | {"discarded": discarded}


def _base_value(row: Row, name: str) -> float:
    # If some episodes had help, only those without help are comparable between methods.
    value = row.get(f"{name}/base", row.get(name))
    return float("nan") if value is None else float(value)


def _has_evals(run: ReportRun) -> bool:
    return any(row.get("eval/pass_at_1") is not None for row in run.rows)


def _rounded(values: Floats) -> list[float | None]:
    return [round(value, 6) if np.isfinite(value) else None for value in values.tolist()]


def running_mean(values: NDArray[np.float64], *, half_width: int) -> NDArray[np.float64]:
    """Average each value with `half_width` neighbours on either side.

    Near an end the window shrinks on both sides: a one-sided window would bend the curve.

    >>> running_mean(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), half_width=1).round(2).tolist()
    [0.0, 0.33, 0.67, 1.0, 1.0]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(np.minimum(index, len(values) - 1 - index), half_width)
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)
