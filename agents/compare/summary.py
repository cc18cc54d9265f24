"""The content of comparison.json: the numbers of a comparison, and one sentence per arm.

Failed and unfinished runs are listed, but no number includes them.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from reason_env.agents.compare.config import CompareConfig, losses_of
from reason_env.agents.compare.run import Run, tokens_of
from reason_env.agents.compare.runner import Comparison
from reason_env.agents.compare.sentence import (
    FEWEST_FOR_INTERVAL,
    has_collapsed,
    sentence,
    without_result,
)
from reason_env.agents.compare.statistics import (
    Curve,
    Estimate,
    area,
    curve_of,
    over_seeds,
    paired_difference,
    sign_flip_p,
    tokens_to_level,
)
from reason_env.agents.runs import differences

MOST_OVERSHOOT = 0.1
"""Fraction of the budget by which a run may exceed it before a note warns of unequal budgets."""
MEASURES = ("final_pass_at_1", "final_pass_at_k", "area")
Json = dict[str, Any]


def summary(comparison: Comparison) -> Json:
    """Summarise a comparison: settings, runs, and the numbers of each arm by source."""
    config = comparison.config
    runs = [_run(comparison, run) for run in comparison.runs]
    return {
        "format": 1,
        "baseline": config.baseline,
        "arms": list(config.arms),
        "sources": list(config.sources),
        "seeds": list(config.seeds),
        "budget": config.budget,
        "differences": differences(config.arms),
        "runs": runs,
        "notes": _notes(config, runs),
        "by_source": {
            source: _source(config, [run for run in comparison.runs if run.source == source])
            for source in config.sources
        },
    }


def _run(comparison: Comparison, run: Run) -> Json:
    end, status = run.end, _status(run)
    row = {
        "source": run.source,
        "arm": run.arm,
        "seed": run.seed,
        "status": status,
        "path": run.path.relative_to(comparison.path).as_posix(),
        "tokens": tokens_of(run.metrics()),
    }
    if status == "failed":
        row |= {"exit_status": end and end["exit_status"], "log_tail": run.log_tail()}
    return row


def _status(run: Run) -> str:
    end = run.end
    return "unfinished" if end is None else end["status"]


def _notes(config: CompareConfig, runs: Sequence[Json]) -> list[str]:
    """List warnings to read before the numbers; empty if losses and budgets are equal."""
    return _loss_notes(config) + _budget_notes(config, runs)


def _loss_notes(config: CompareConfig) -> list[str]:
    base = losses_of(config.arms[config.baseline].method)[:1]
    others = [
        label
        for label, arm in config.arms.items()
        if label != config.baseline and any(loss not in base for loss in losses_of(arm.method))
    ]
    if not base or not others:
        return []
    return [
        f"The losses are not equal: {', '.join(others)} {'has' if len(others) == 1 else 'have'} "
        f"another loss than {config.baseline}, so a difference may come from the loss and not from "
        "the method. Give --same-loss True to use one loss; the report lists the settings."
    ]


def _budget_notes(config: CompareConfig, runs: Sequence[Json]) -> list[str]:
    finished = [row for row in runs if row["status"] == "finished"]
    longest = max(finished, key=lambda row: row["tokens"], default=None)
    if longest is None or longest["tokens"] <= (1 + MOST_OVERSHOOT) * config.budget:
        return []
    over = longest["tokens"] - config.budget
    enough = -(-over // 1000) * round(1000 / MOST_OVERSHOOT)
    return [
        f"The budgets are not equal: a run ends with an iteration, and {longest['arm']} on "
        f"{longest['source']} generated {longest['tokens']:,} tokens with a budget of "
        f"{config.budget:,}. Give --budget {enough} or more, or fewer --problems-per-iteration."
    ]


def _source(config: CompareConfig, runs: Sequence[Run]) -> Json:
    curves: dict[str, dict[int, Curve]] = {label: {} for label in config.arms}
    tokens: dict[str, dict[int, float]] = {label: {} for label in config.arms}
    for run in runs:
        if run.is_finished:
            rows = run.metrics()
            curves[run.arm][run.seed] = curve_of(rows)
            tokens[run.arm][run.seed] = float(tokens_of(rows))
    level = config.level
    if level is None and curves[config.baseline]:
        finals = [curve.final_pass_at_1 for curve in curves[config.baseline].values()]
        # Every curve begins at or above 0, so level 0 would mean nothing.
        level = sum(finals) / len(finals) or None
    arms = {
        label: _arm(own, tokens[label], level=level, budget=config.budget)
        for label, own in curves.items()
        if own
    }
    for label, own in arms.items():
        own["differences"] = _differences(own, arms.get(config.baseline), label, config.baseline)
        own["sentence"] = sentence(label, own, config=config)
    missing = {
        label: without_result(
            label,
            [_status(run) for run in runs if run.arm == label],
            config=config,
        )
        for label in config.arms
        if label not in arms
    }
    first = next((own for by_seed in curves.values() for own in by_seed.values()), None)
    return {
        "k": None if first is None else first.k,
        "level": level,
        "level_is_chosen": config.level is not None,
        "arms": arms,
        "without_result": missing,
    }


def _arm(
    curves: Mapping[int, Curve], tokens: Mapping[int, float], *, level: float | None, budget: int
) -> Json:
    reached = {
        seed: None if level is None else tokens_to_level(curve.tokens, curve.pass_at_1, level=level)
        for seed, curve in curves.items()
    }
    # A level that is reached beyond the budget does not count.
    within = {seed: value for seed, value in reached.items() if value is not None}
    within = {seed: value for seed, value in within.items() if value <= budget}
    return {
        "num_seeds": len(curves),
        "first_pass_at_1": _plain(over_seeds({s: c.pass_at_1[0] for s, c in curves.items()})),
        "gain": _plain(
            over_seeds({s: c.pass_at_1[-1] - c.pass_at_1[0] for s, c in curves.items()})
        ),
        "best_pass_at_1": _plain(over_seeds({s: max(c.pass_at_1) for s, c in curves.items()})),
        "collapsed_seeds": [s for s, c in curves.items() if has_collapsed(c.pass_at_1)],
        "final_pass_at_1": _plain(over_seeds({s: c.pass_at_1[-1] for s, c in curves.items()})),
        "final_pass_at_k": _plain(over_seeds({s: c.pass_at_k[-1] for s, c in curves.items()})),
        "area": _plain(
            over_seeds({s: area(c.tokens, c.pass_at_1, budget=budget) for s, c in curves.items()})
        ),
        "tokens": _plain(over_seeds(tokens)),
        "tokens_to_level": {
            "values": {str(seed): within.get(seed) for seed in curves},
            "num_reached": len(within),
            # Over all seeds; those that never reach it count as last.
            "median": _median([within.get(seed, float("inf")) for seed in curves]),
        },
    }


def _differences(own: Json, baseline: Json | None, label: str, name: str) -> Json | None:
    """Compute each measure's paired difference to the baseline; None for the baseline itself."""
    if baseline is None or label == name:
        return None
    found: Json = {}
    for measure in MEASURES:
        difference = paired_difference(_values(own[measure]), _values(baseline[measure]))
        if difference is not None:
            p = sign_flip_p(list(difference.values.values()))
            found[measure] = _plain(difference) | {"sign_flip_p": p}
    return found


def _median(values: Sequence[float]) -> float | None:
    middle = median(values)
    return None if middle == float("inf") else middle


def _plain(estimate: Estimate) -> Json:
    has_interval = len(estimate.values) >= FEWEST_FOR_INTERVAL
    return {
        "mean": estimate.mean,
        "low": estimate.low if has_interval else None,
        "high": estimate.high if has_interval else None,
        "is_clear": estimate.is_clear,
        "values": {str(seed): value for seed, value in estimate.values.items()},
    }


def _values(estimate: Json) -> dict[int, float]:
    return {int(seed): value for seed, value in estimate["values"].items()}
