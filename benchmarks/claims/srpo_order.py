"""Resets at the first error beat resets at a random step, and those do not lose to none."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.finding import Claim, Finding, Mean, Row, by_seed, mean_of, verdict_of

CLAIM = Claim(
    text="SRPO > RRPO >= GRPO, at equal generated tokens and at equal trained samples",
    paper="SRPO, arXiv 2605.25507",
)
USES = ("chain", "inverse", "precedence")
"""The first decides; in the others, right chains are rarer."""
ARMS = ("grpo", "rrpo", "srpo")
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
    found: list[Mean] = []
    parts: list[str] = []
    for name in USES:
        arms = [row for row in rows[name] if row["arm"] in ARMS]
        for what, figures in (
            ("tokens", {arm: by_seed(arms, arm, "pass_at_1") for arm in ARMS}),
            ("trained samples", {arm: at_samples(arms, arm) for arm in ARMS}),
        ):
            for own, other, slack in (("srpo", "rrpo", 0.0), ("rrpo", "grpo", SLACK)):
                first, second = figures[own], figures[other]
                leads = [first[seed] - second[seed] for seed in first if seed in second]
                if name == USES[0]:
                    found.append(mean_of([lead + slack for lead in leads]))
                elif what == "trained samples":
                    continue  # `inverse` is evaluated at the end alone
                where = "" if name == USES[0] else f" on {name}"
                parts.append(f"{own} - {other}{where} at equal {what}: {mean_of(leads)}")
    return Finding(claim=CLAIM, verdict=verdict_of(found), measures=tuple(parts))
