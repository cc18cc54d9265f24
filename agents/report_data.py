"""What the report shows, as one JSON-able value: every number is read from the runs' own files.

Curves and costs are means over the seeds of an arm, on one axis of generated tokens. Training
numbers are smoothed over neighbouring iterations (the page says so), evaluations are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_env.agents.compare import Comparison
from reason_env.agents.compare_config import differences
from reason_env.agents.compare_statistics import Floats, band, curve_of, preparation_tokens
from reason_env.agents.compare_summary import summary
from reason_env.agents.curve import running_mean
from reason_env.agents.metrics import METRICS, OUTCOMES
from reason_env.agents.report_episodes import chosen_episodes
from reason_env.agents.run_dir import RunDir
from reason_env.agents.train_config import TrainConfig
from reason_env.errors import ConfigError

Json = dict[str, Any]
Row = Mapping[str, Any]
GRID_POINTS = 61
SMOOTHING = 20
"""Training numbers are means over a window of about 1/20 of the iterations to either side."""
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
    """One run as the report knows it."""

    source: str
    arm: str
    seed: int
    status: str
    run: RunDir
    rows: tuple[Row, ...]

    @property
    def tokens(self) -> Floats:
        """Generated for training before each row, [rows]; 0 at iteration 0."""
        total = [row.get("rollout/sampled_tokens_total") or 0 for row in self.rows]
        return np.array(total, dtype=np.float64)


def report_data(paths: Sequence[Path], *, num_episodes: int) -> Json:
    """Returns what the page shows, of one comparison or of some runs.

    Args:
        paths: One comparison directory, or run directories.
        num_episodes: Most episodes in it.

    Raises:
        ConfigError: No path is given, or nothing has run.
        CheckpointError: A path is neither.
    """
    if not paths:
        raise ConfigError("a report must be of something, got no path; give a run directory")
    is_comparison = len(paths) == 1 and (paths[0] / "runs").is_dir()
    found = summary(Comparison.open(paths[0])) if is_comparison else None
    runs = _comparison_runs(paths[0], found) if found is not None else _single_runs(paths)
    if not any(run.rows for run in runs):
        raise ConfigError(f"a report must be of runs with metrics, got none in '{paths[0]}'")
    arms = list(dict.fromkeys(run.arm for run in runs))
    sources = list(dict.fromkeys(run.source for run in runs))
    configs = {
        arm: next(run for run in runs if run.arm == arm).run.config(TrainConfig) for arm in arms
    }
    what = "on " + ", ".join(sources)
    return {
        "title": f"{' · '.join(arms)} {what}" if len(arms) < 7 else f"{len(arms)} arms {what}",
        "summary": found,
        "arms": arms,
        "sources": sources,
        "outcomes": list(OUTCOMES),
        "budget": found["budget"] if found is not None else None,
        "runs": [_run(run) for run in runs],
        "by_source": {
            source: _by_source([run for run in runs if run.source == source], arms)
            for source in sources
        },
        "signals": [
            {"name": name, "title": title, "meaning": METRICS[name].meaning}
            for name, title in SIGNALS.items()
        ],
        "settings": _settings(configs),
        "episodes": chosen_episodes(runs, num_episodes) if num_episodes else None,
    }


def _settings(configs: Mapping[str, TrainConfig]) -> Json:
    """Returns what differs between arms, and what a reader asks of all of them."""
    unequal = differences(configs) if len(configs) > 1 else {}
    for key in ("seed", "env.problems"):
        unequal.pop(key, None)
    first = next(iter(configs.values()))
    facts = {
        "model": first.model,
        "problems per iteration": first.problems_per_iteration,
        "learning rate": first.learner.learning_rate,
        "temperature": first.sampling.temperature,
        "most tokens of a response": first.env.max_tokens,
        "evaluation": f"{first.eval.num_problems} problems, {first.eval.samples} samples each",
    }
    known = {"learner.learning_rate", "sampling.temperature", "problems_per_iteration", "model"}
    names = {"model": "model", "learner.learning_rate": "learning rate"}
    for key in known & set(unequal):
        facts.pop(names.get(key, key.rpartition(".")[2].replace("_", " ")), None)
    return {"differences": unequal, "facts": facts}


def _comparison_runs(path: Path, found: Json) -> list[ReportRun]:
    return [
        _report_run(path / item["path"], item["source"], item["arm"], item["seed"], item["status"])
        for item in found["runs"]
        if (path / item["path"] / "config.json").is_file()
    ]


def _single_runs(paths: Sequence[Path]) -> list[ReportRun]:
    """Returns each run as an arm of its own, named by its method where that tells them apart."""
    configs = [RunDir.open(path).config(TrainConfig) for path in paths]
    kinds = [config.method.kind for config in configs]
    names = [path.resolve().name for path in paths]
    labels = kinds if len(set(kinds)) == len(kinds) else names
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    return [
        _report_run(path, config.env.source, label, config.seed, "run")
        for path, config, label in zip(paths, configs, labels, strict=True)
    ]


def _report_run(path: Path, source: str, arm: str, seed: int, status: str) -> ReportRun:
    run = RunDir.open(path)
    return ReportRun(
        source=source,
        arm=arm,
        seed=seed,
        status=status,
        run=run,
        rows=tuple(run.read_metrics()),
    )


def _run(run: ReportRun) -> Json:
    """Returns a run's evaluations, as they stand in its metrics, and its totals."""
    names = [f"{name}{limit}" for name in EVALS for limit in ("", "_low", "_high")]
    evals = [
        {"iteration": row["iteration"], "tokens": tokens, "k": row["eval/k"]}
        | {name.removeprefix("eval/"): row[name] for name in names}
        for row, tokens in zip(run.rows, run.tokens.tolist(), strict=True)
        if row.get("eval/pass_at_1") is not None
    ]
    return {
        "source": run.source,
        "arm": run.arm,
        "seed": run.seed,
        "status": run.status,
        "name": run.run.path.name,
        "iterations": run.rows[-1]["iteration"] if run.rows else 0,
        "tokens": int(run.tokens.max(initial=0.0)),
        "evals": evals,
    }


def _by_source(runs: Sequence[ReportRun], arms: Sequence[str]) -> Json:
    own = {arm: [run for run in runs if run.arm == arm and run.rows] for arm in arms}
    own = {arm: found for arm, found in own.items() if found}
    return {
        "curves": {arm: _curves(found) for arm, found in own.items()},
        "signals": {
            arm: {name: _series(found, name) for name in SIGNALS} for arm, found in own.items()
        },
        "outcomes": {arm: _outcomes(found) for arm, found in own.items()},
        "cost": {arm: _cost(found) for arm, found in own.items()},
    }


def _curves(runs: Sequence[ReportRun]) -> Json:
    """Returns pass@1 and pass@k on a grid of tokens, with the band over seeds.

    For one seed, the curve is its own points and the band the evaluation's: over problems.
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
                "low": [row[f"{name}_low"] for row in rows],
                "high": [row[f"{name}_high"] for row in rows],
            }
            for name in EVALS
        }
    end = min(curve.tokens[-1] for curve in curves)
    grid_X = np.linspace(0, end, GRID_POINTS)
    return {
        name: _banded(
            grid_X,
            np.array(
                [
                    np.interp(grid_X, c.tokens, getattr(c, name.removeprefix("eval/")))
                    for c in curves
                ]
            ),
        )
        for name in EVALS
    }


def _series(runs: Sequence[ReportRun], name: str) -> Json | None:
    """Returns a training number on a grid of tokens; None where no run has it."""
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
    grid_X = np.linspace(start, max(start, end), GRID_POINTS)
    return _banded(grid_X, np.array([np.interp(grid_X, x, y) for x, y in found]))


def _banded(grid_X: Floats, value_SX: Floats) -> Json:
    mean_X, low_X, high_X = band(value_SX)
    is_one = len(value_SX) == 1
    return {
        "x": _rounded(grid_X),
        "mean": _rounded(mean_X),
        "low": None if is_one else _rounded(low_X),
        "high": None if is_one else _rounded(high_X),
    }


def _outcomes(runs: Sequence[ReportRun]) -> list[Json]:
    """Returns each outcome's share in the first and in the last quarter of the iterations."""
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


def _cost(runs: Sequence[ReportRun]) -> Json:
    """Returns tokens by what they were generated for, means over the runs.

    Discarded ones are those of episodes that were to be trained on and were not.
    """
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
    # Where some episodes had help, only those without it are comparable between methods.
    value = row.get(f"{name}/base", row.get(name))
    return float("nan") if value is None else float(value)


def _has_evals(run: ReportRun) -> bool:
    return any(row.get("eval/pass_at_1") is not None for row in run.rows)


def _rounded(values: Floats) -> list[float | None]:
    return [round(value, 6) if np.isfinite(value) else None for value in values.tolist()]
