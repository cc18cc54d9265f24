"""Updates that are kept only if they pass a test on fresh restarts do not lower the pass rate."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.first.finding import Claim, Finding, Row, mean_of, verdict_of

CLAIM = Claim(
    text="CPI-style acceptance keeps improvement monotone; plain updates fall back",
    paper="Kakade and Langford 2002",
)
USES = ("chain, large steps",)
ARMS = ("rrpo", "rrpo, accepted")


def drawdown(row: Row) -> float:
    """Return the largest fall of pass@1 from an earlier evaluation of the run."""
    first = np.asarray([place[2] for place in row["curve"]], dtype=np.float64)
    return float(np.max(np.maximum.accumulate(first) - first))


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score how much further plain updates fall."""
    plain, accepted = (
        {row["seed"]: drawdown(row) for row in rows[USES[0]] if row["arm"] == arm} for arm in ARMS
    )
    lead = mean_of([plain[seed] - accepted[seed] for seed in plain if seed in accepted])
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([lead]),
        measures=(
            f"largest fall of pass@1, plain - accepted: {lead}",
            f"plain: {mean_of(list(plain.values()))}",
            f"accepted: {mean_of(list(accepted.values()))}",
        ),
    )
