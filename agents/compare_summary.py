"""comparison.json: what the runs of a comparison found, and one honest sentence an arm.

A sentence claims a difference only where the interval over paired seeds leaves 0 out, and says so
where there are too few seeds for that to mean much. Runs that failed or are not finished are named
and in no number.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from reason_env.agents.compare import Comparison, Run, tokens_of
from reason_env.agents.compare_config import CompareConfig, differences
from reason_env.agents.compare_statistics import (
    Curve,
    Estimate,
    area,
    curve_of,
    over_seeds,
    paired_difference,
    sign_flip_p,
    tokens_to_level,
)

FEW_SEEDS = 5
"""Below this many pairs, not even equal signs everywhere are evidence at the usual level."""
MEASURES = ("final_pass_at_1", "final_pass_at_k", "area")
Json = dict[str, Any]


def summary(comparison: Comparison) -> Json:
    """Returns what `comparison.json` holds: settings, runs, and by source the arms' numbers."""
    config = comparison.config
    return {
        "format": 1,
        "baseline": config.baseline,
        "arms": list(config.arms),
        "sources": list(config.sources),
        "seeds": list(config.seeds),
        "budget": config.budget,
        "differences": differences(config.arms),
        "runs": [_run(comparison, run) for run in comparison.runs],
        "by_source": {
            source: _source(config, [run for run in comparison.runs if run.source == source])
            for source in config.sources
        },
    }


def _run(comparison: Comparison, run: Run) -> Json:
    end = run.end
    status = "unfinished" if end is None else end["status"]
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
        level = sum(finals) / len(finals)
    arms = {
        label: _arm(own, tokens[label], level=level, budget=config.budget)
        for label, own in curves.items()
        if own
    }
    for label, own in arms.items():
        own["differences"] = _differences(own, arms.get(config.baseline), label, config.baseline)
        own["sentence"] = sentence(label, own, config=config, level=level)
    missing = [label for label in config.arms if label not in arms]
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
    # A run overshoots its budget by less than an iteration; what it reaches there is not counted.
    within = {seed: value for seed, value in reached.items() if value is not None}
    within = {seed: value for seed, value in within.items() if value <= budget}
    return {
        "num_seeds": len(curves),
        "first_pass_at_1": _plain(over_seeds({s: c.pass_at_1[0] for s, c in curves.items()})),
        "gain": _plain(
            over_seeds({s: c.pass_at_1[-1] - c.pass_at_1[0] for s, c in curves.items()})
        ),
        "final_pass_at_1": _plain(over_seeds({s: c.pass_at_1[-1] for s, c in curves.items()})),
        "final_pass_at_k": _plain(over_seeds({s: c.pass_at_k[-1] for s, c in curves.items()})),
        "area": _plain(
            over_seeds({s: area(c.tokens, c.pass_at_1, budget=budget) for s, c in curves.items()})
        ),
        "tokens": _plain(over_seeds(tokens)),
        "tokens_to_level": {
            "values": {str(seed): within.get(seed) for seed in curves},
            "num_reached": len(within),
            # Over all seeds, those that did not get there counted as later than all others.
            "median": _median([within.get(seed, float("inf")) for seed in curves]),
        },
    }


def _differences(own: Json, baseline: Json | None, label: str, name: str) -> Json | None:
    """Returns measure -> paired difference against the baseline; None for the baseline itself."""
    if baseline is None or label == name:
        return None
    found: Json = {}
    for measure in MEASURES:
        difference = paired_difference(_values(own[measure]), _values(baseline[measure]))
        if difference is not None:
            p = sign_flip_p(list(difference.values.values()))
            found[measure] = _plain(difference) | {"sign_flip_p": p}
    return found


def sentence(label: str, own: Json, *, config: CompareConfig, level: float | None) -> str:
    """Returns what happened to one arm, in plain words made from its numbers.

    Args:
        label: The arm.
        own: Its part of `by_source`, `differences` included.
        config: Of the comparison.
        level: pass@1 of "tokens to reach"; None if the baseline has no result.
    """
    count = own["num_seeds"]
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    missing = config.num_seeds - count
    end = f"; {missing} of its {config.num_seeds} runs did not finish" if missing else ""
    change = _change(own["gain"])
    first, final = own["first_pass_at_1"]["mean"], _text(own["final_pass_at_1"])
    head = f"{label}: pass@1 went from {first:.3f} to {final} ({seeds}{change})"
    if own["differences"] is None:
        is_baseline = label == config.baseline
        return head + ("" if is_baseline else "; the baseline has no result") + end + "."
    return f"{head}; {_against(own['differences'], config.baseline)}{_reached(own, level)}{end}."


def _change(gain: Json) -> str:
    if gain["low"] is None or not gain["low"] <= 0 <= gain["high"]:
        return ""
    return ", no change shown"


def _against(found: Json, baseline: str) -> str:
    if "final_pass_at_1" not in found:
        return f"no seed of it and of {baseline} has finished, so there is no comparison"
    own = found["final_pass_at_1"]
    pairs = len(own["values"])
    size = f"{abs(own['mean']):.3f} {'above' if own['mean'] >= 0 else 'below'} {baseline}"
    if pairs == 1:
        return f"{size}, but one seed shows no difference"
    limits = f"[{own['low']:+.3f}, {own['high']:+.3f}] over {pairs} pairs"
    if own["low"] <= 0 <= own["high"]:
        return f"no difference to {baseline} shown: {own['mean']:+.3f} {limits}"
    if pairs < FEW_SEEDS:
        return f"{size}, {limits}, too few to claim it"
    p = own["sign_flip_p"]
    return f"{size}, {limits}{'' if p is None else f', sign-flip p {p:.3f}'}"


def _reached(own: Json, level: float | None) -> str:
    if level is None:
        return ""
    found, count = own["tokens_to_level"], own["num_seeds"]
    text = f"; it reached {level:.3f} in {found['num_reached']} of {count}"
    if found["median"] is not None:
        text += f", at the median after {found['median']:,.0f} tokens"
    return text


def _median(values: Sequence[float]) -> float | None:
    middle = median(values)
    return None if middle == float("inf") else middle


def _text(estimate: Json) -> str:
    if estimate["low"] is None:
        return f"{estimate['mean']:.3f}"
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _plain(estimate: Estimate) -> Json:
    return {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "values": {str(seed): value for seed, value in estimate.values.items()},
    }


def _values(estimate: Json) -> dict[int, float]:
    return {int(seed): value for seed, value in estimate["values"].items()}
