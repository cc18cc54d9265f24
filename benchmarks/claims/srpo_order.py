"""Resets at the first error beat resets at a random step, and those do not lose to none."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.finding import Claim, Finding, Row, mean_of, verdict_of

CLAIM = Claim(
    text="SRPO > RRPO >= GRPO, at equal generated tokens and at equal trained samples",
    paper="SRPO, arXiv 2605.25507",
)
USES = ("chain",)
SLACK = 0.02
"""How far RRPO may be below GRPO and still count as not losing (pass@1)."""


def at_samples(rows: Sequence[Row], arm: str) -> dict[int, float]:
    """Returns seed -> pass@1 after as many iterations as the shortest run had.

    Every arm trains eight episodes of each problem of an iteration, so iterations count samples.
    """
    most = min(row["iterations"] for row in rows)
    found: dict[int, float] = {}
    for row in rows:
        if row["arm"] == arm:
            places, _, first, _ = np.asarray(row["curve"], dtype=np.float64).T
            found[row["seed"]] = float(np.interp(most, places, first))
    return found


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the order at equal tokens and at equal trained samples."""
    arms = [row for row in rows["chain"] if row["arm"] in ("grpo", "rrpo", "srpo")]
    by_tokens = {
        arm: {row["seed"]: row["pass_at_1"] for row in arms if row["arm"] == arm}
        for arm in ("grpo", "rrpo", "srpo")
    }
    by_samples = {arm: at_samples(arms, arm) for arm in by_tokens}
    found, parts = [], []
    for name, figures in (("tokens", by_tokens), ("trained samples", by_samples)):
        for own, other, slack in (("srpo", "rrpo", 0.0), ("rrpo", "grpo", SLACK)):
            seeds = [seed for seed in figures[own] if seed in figures[other]]
            item = mean_of([figures[own][seed] - figures[other][seed] for seed in seeds])
            lifted = mean_of([figures[own][seed] - figures[other][seed] + slack for seed in seeds])
            found.append(lifted)
            parts.append(f"{own} - {other} at equal {name}: {item}")
    return Finding(claim=CLAIM, verdict=verdict_of(found), measures=tuple(parts))
