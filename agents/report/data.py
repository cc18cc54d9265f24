"""Collect the data of the report as one JSON-able value, from the files of the runs.

`numbers.py` computes the charts, `episodes.py` chooses the episodes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reason_env.agents.compare import Comparison, summary
from reason_env.agents.methods import ComposedConfig, method_name
from reason_env.agents.metrics import METRICS, OUTCOMES
from reason_env.agents.report.episodes import chosen_episodes
from reason_env.agents.report.numbers import EVALS, SIGNALS, ReportRun, numbers_of
from reason_env.agents.runs import RunDir, differences, leaves, tree_of
from reason_env.agents.train import TrainConfig
from reason_env.errors import ConfigError

Json = dict[str, Any]


def report_data(paths: Sequence[Path], *, num_episodes: int) -> Json:
    """Collect the data of the page, for one comparison or for some runs.

    Args:
        paths: One comparison directory, or run directories.
        num_episodes: Maximum number of episodes.

    Raises:
        ConfigError: No path is given, or no run has metrics.
        CheckpointError: A path is neither.
    """
    if not paths:
        raise ConfigError("a report must have a path, got none; give a run directory")
    is_comparison = len(paths) == 1 and (paths[0] / "runs").is_dir()
    found = summary(Comparison.open(paths[0])) if is_comparison else None
    runs = _comparison_runs(paths[0], found) if found is not None else _single_runs(paths)
    if not any(run.rows for run in runs):
        raise ConfigError(f"a report must have runs with metrics, got none in '{paths[0]}'")
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
            source: numbers_of([run for run in runs if run.source == source], arms)
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
    """List the settings that differ between arms, and the main settings that all arms share."""
    unequal = differences({arm: _leaves(own) for arm, own in configs.items()})
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


def _leaves(config: TrainConfig) -> Json:
    """Flatten a config to dotted key -> value; a part of a composed method goes by its name."""
    tree = tree_of(config)
    method = config.method
    tree["method"]["kind"] = method_name(method)
    if not isinstance(method, ComposedConfig):
        return leaves(tree)
    parts = tree["method"].pop("methods")
    return leaves(tree) | {
        f"{own.kind}.{key}": value
        for own, part in zip(method.methods, parts, strict=True)
        for key, value in leaves(part).items()
        if key != "kind"
    }


def _comparison_runs(path: Path, found: Json) -> list[ReportRun]:
    return [
        _report_run(path / item["path"], item["source"], item["arm"], item["seed"], item["status"])
        for item in found["runs"]
        if (path / item["path"] / "config.json").is_file()
    ]


def _single_runs(paths: Sequence[Path]) -> list[ReportRun]:
    """Make each run an arm, named like its `train` command if these differ, else by directory."""
    configs = [RunDir.open(path).config(TrainConfig) for path in paths]
    labels = [config.name for config in configs]
    if len(set(labels)) < len(labels):
        labels = [path.resolve().name for path in paths]
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
    """Collect a run's evaluations and totals from its metrics."""
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
