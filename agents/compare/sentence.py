"""One plain sentence per arm: how pass@1 changed, and what the numbers do not show.

A difference is claimed only if the bootstrap interval over paired seeds and Student's both exclude
0 and there are at least `FEW_PAIRS` pairs; a change, if both intervals over seeds do. Below three
seeds there is no interval, because the bootstrap's limits are then the values themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reason_env.agents.compare.config import CompareConfig

FEWEST_FOR_INTERVAL = 3
FEW_PAIRS = 5
"""Below this many pairs, even equal signs of all differences are not significant."""
LEAST_DROP = 0.1
LEAST_DROP_SHARE = 1 / 3
"""A collapse is a drop from the best evaluation by at least both."""
Json = Mapping[str, Any]


def has_collapsed(pass_at_1: Sequence[float]) -> bool:
    """Decide whether the last evaluation is below the best by 0.1 and by a third of it.

    >>> has_collapsed([0.3, 0.6, 0.41]), has_collapsed([0.3, 0.6, 0.39])
    (False, True)
    """
    best = max(pass_at_1)
    return best - pass_at_1[-1] >= max(LEAST_DROP, LEAST_DROP_SHARE * best) - 1e-9


def sentence(label: str, own: Json, *, config: CompareConfig) -> str:
    """Describe one arm's result in words.

    Args:
        label: The arm.
        own: Its entry in `by_source`, including `differences`.
        config: The comparison's.
    """
    is_baseline = label == config.baseline
    name = f"{label} (the baseline)" if is_baseline and len(config.arms) > 1 else label
    text = f"{name}: {_change(own)}"
    if own["differences"] is not None:
        text += _against(own["differences"], config.baseline)
    else:
        text += f" ({_spread(own['final_pass_at_1'], 'seed')})"
        text += "" if is_baseline else f"; {config.baseline}, the baseline, has no finished run"
    return f"{text}{_collapse(own)}{_missing(own, config.num_seeds)}."


def without_result(label: str, statuses: Sequence[str], *, config: CompareConfig) -> str:
    """Describe an arm without a finished run.

    Args:
        label: The arm.
        statuses: The status of each run.
        config: The comparison's.
    """
    count, failed = len(statuses), statuses.count("failed")
    runs = "its one run has not" if count == 1 else f"none of its {count} runs has"
    why = f" ({failed} failed)" if failed else ""
    rest = ", and no other arm can be compared with it" if label == config.baseline else ""
    return f"{label}: {runs} finished{why}, so nothing can be said about it{rest}."


def _change(own: Json) -> str:
    if own["best_pass_at_1"]["mean"] == 0:
        return "pass@1 was 0 in every evaluation"
    first, final = own["first_pass_at_1"]["mean"], own["final_pass_at_1"]["mean"]
    gain = own["gain"]
    if gain["low"] is None:
        verb = "went"
    elif not gain["is_clear"]:
        verb = "did not clearly change: it went"
    else:
        verb = "rose" if gain["mean"] > 0 else "fell"
    return f"pass@1 {verb} from {first:.3f} to {final:.3f}"


def _against(found: Json, baseline: str) -> str:
    if "final_pass_at_1" not in found:
        return f"; no seed of both it and {baseline} has finished, so there is no comparison"
    own = found["final_pass_at_1"]
    pairs = len(own["values"])
    if not any(own["values"].values()):
        where = {1: "its one pair", 2: "both pairs"}.get(pairs, f"all {pairs} pairs")
        return f"; equal to {baseline} in {where}"
    size = f", {abs(own['mean']):.3f} {'above' if own['mean'] >= 0 else 'below'} {baseline}"
    if own["low"] is None:
        return f"{size} ({_spread(own, 'pair')}, so nothing is claimed)"
    if own["low"] <= 0 <= own["high"]:
        text = f"; no difference could be told from {baseline}"
        return f"{text} ({_signed(own['mean'])}, {_spread(own, 'pair', sign=True)}){_area(found)}"
    if own["mean"] < 0:
        own = {**own, "low": -own["high"], "high": -own["low"]}
    return f"{size} ({_spread(own, 'pair')}{_doubt(own, pairs)})"


def _doubt(own: Json, pairs: int) -> str:
    """Give the reason why a difference is not claimed, or else its p-value."""
    if pairs < FEW_PAIRS:
        return ": too few to claim it"
    if not own["is_clear"]:
        return ": Student's interval contains 0, so nothing is claimed"
    return "" if own["sign_flip_p"] is None else f", sign-flip p {own['sign_flip_p']:.3f}"


def _area(found: Json) -> str:
    """Report a clear difference of the areas, if the final values show none."""
    own = found["area"]
    if len(own["values"]) < FEW_PAIRS or not own["is_clear"]:
        return ""
    where = "higher" if own["mean"] > 0 else "lower"
    return f", but it was {where} along the way (area {_signed(own['mean'])})"


def _collapse(own: Json) -> str:
    seeds = [str(seed) for seed in own["collapsed_seeds"]]
    if not seeds:
        return ""
    count = own["num_seeds"]
    where = "" if count == 1 else f" in {len(seeds)} of {count} seeds"
    best, final = (
        sum(own[name]["values"][seed] for seed in seeds) / len(seeds)
        for name in ("best_pass_at_1", "final_pass_at_1")
    )
    return f"; it collapsed{where}, from {best:.3f} at its best to {final:.3f} at the end"


def _missing(own: Json, num_seeds: int) -> str:
    missing = num_seeds - own["num_seeds"]
    if not missing:
        return ""
    are = "is" if missing == 1 else "are"
    return f"; {missing} of its {num_seeds} runs did not finish and {are} not counted"


def _spread(estimate: Json, unit: str, *, sign: bool = False) -> str:
    """Format the interval and its number of seeds or pairs."""
    count = len(estimate["values"])
    units = f"1 {unit}" if count == 1 else f"{count} {unit}s"
    if estimate["low"] is None:
        return f"{units}: too few for an interval"
    low, high = (
        _signed(value) if sign else f"{value:.3f}" for value in (estimate["low"], estimate["high"])
    )
    return f"95 % interval {low} to {high}, {units}"


def _signed(value: float) -> str:
    # Round first: -0.0001 is 0.000 without a sign.
    rounded = round(value, 3)
    return f"{rounded:+.3f}" if rounded else "0.000"
