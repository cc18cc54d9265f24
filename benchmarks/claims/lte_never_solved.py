"""LTE keeps reducing the problems that are never solved, where GRPO's number stands still."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.finding import Claim, Finding, Row, mean_of, verdict_of

CLAIM = Claim(
    text="LTE keeps reducing never-solved problems in the second half of training, GRPO does not",
    paper="LTE, arXiv 2510.26109",
)
USES = ("precedence",)


def late_fall(row: Row) -> float:
    """Returns how much the share of problems without a success in 8 falls after half the tokens."""
    _, tokens, _, at_k = (np.asarray(values) for values in zip(*row["curve"], strict=True))
    half = float(np.interp(tokens[-1] / 2, tokens, at_k))
    return float(at_k[-1]) - half


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the fall under LTE, and its lead over GRPO's."""
    own = {row["seed"]: late_fall(row) for row in rows["precedence"] if row["arm"] == "lte"}
    other = {row["seed"]: late_fall(row) for row in rows["precedence"] if row["arm"] == "grpo"}
    fall = mean_of(list(own.values()))
    lead = mean_of([own[seed] - other[seed] for seed in own if seed in other])
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([fall, lead]),
        measures=(
            f"share solved gained in the second half, lte - grpo: {lead}",
            f"lte itself: {fall}",
        ),
    )
