"""Resets at the first error beat resets at a random step, which do not lose to GRPO."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.first.finding import Claim, Finding, Mean, Row, by_seed, mean_of, verdict_of

CLAIM = Claim(
    text="SRPO > RRPO >= GRPO, at equal generated tokens and at equal trained samples",
    paper="SRPO, arXiv 2605.25507",
)
USES = ("chain", "inverse", "precedence")
"""The first experiment decides the verdict; in the others, right chains are rarer."""
ARMS = ("grpo", "rrpo", "srpo")
ENDS = 2
SLACK = 0.02
"""How far RRPO's pass@1 may be below GRPO's without losing."""


def at_samples(rows: Sequence[Row], arm: str) -> dict[int, float]:
    """Return seed -> pass@1 after as many iterations as the shortest run had.

    Every arm trains eight episodes of each problem of an iteration, so iterations count samples.
    """
    most = min(row["iterations"] for row in rows)
    found: dict[int, float] = {}
    for row in rows:
        if row["arm"] == arm:
            places, _, first, _ = np.asarray(row["curve"], dtype=np.float64).T
            found[row["seed"]] = float(np.interp(most, places, first))
    return found


def figures_of(rows: Sequence[Row]) -> dict[str, dict[str, dict[int, float]]]:
    """Return what is equal (tokens, trained samples) -> arm -> seed -> pass@1.

    If all runs have the same number of iterations, equal tokens are equal samples; runs that were
    evaluated only at their ends have no figure at equal samples.
    """
    at_tokens = {arm: by_seed(rows, arm, "pass_at_1") for arm in ARMS}
    if len({row["iterations"] for row in rows}) == 1:
        return {"tokens and equal trained samples": at_tokens}
    if all(len(row["curve"]) == ENDS for row in rows):
        return {"tokens": at_tokens}
    return {"tokens": at_tokens, "trained samples": {arm: at_samples(rows, arm) for arm in ARMS}}


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the order at equal tokens and at equal trained samples."""
    found: list[Mean] = []
    parts: list[str] = []
    for name in USES:
        arms = [row for row in rows[name] if row["arm"] in ARMS]
        for what, figures in figures_of(arms).items():
            for own, other, slack in (("srpo", "rrpo", 0.0), ("rrpo", "grpo", SLACK)):
                first, second = figures[own], figures[other]
                leads = [first[seed] - second[seed] for seed in first if seed in second]
                if name == USES[0]:
                    found.append(mean_of([lead + slack for lead in leads]))
                where = "" if name == USES[0] else f" on {name}"
                parts.append(f"{own} - {other}{where} at equal {what}: {mean_of(leads)}")
    return Finding(claim=CLAIM, verdict=verdict_of(found), measures=tuple(parts))
