"""LTE keeps reducing the number of problems that are never solved; under GRPO it plateaus."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.claims.first.finding import Claim, Finding, Row, mean_of, verdict_of

CLAIM = Claim(
    text="LTE keeps reducing never-solved problems in the second half of training, GRPO does not",
    paper="LTE, arXiv 2510.26109",
)
USES = ("precedence",)


def late_share(row: Row) -> float:
    """Return the share of tokens at the first evaluation in the second half of the run."""
    last = row["curve"][-1][1]
    return next(tokens / last for _, tokens, _, _ in row["curve"] if tokens >= last / 2)


def late_fall(row: Row, share: float) -> float:
    """Return how far the share of problems without a success in 8 falls after `share` of tokens.

    Between evaluations it is interpolated linearly.
    """
    _, tokens, _, at_k = (np.asarray(values) for values in zip(*row["curve"], strict=True))
    return float(at_k[-1] - np.interp(share * tokens[-1], tokens, at_k))


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score LTE's fall in the second half, and its lead over GRPO's fall in the same part."""
    by_arm = {
        arm: {row["seed"]: row for row in rows["precedence"] if row["arm"] == arm}
        for arm in ("lte", "grpo")
    }
    shares = {seed: late_share(row) for seed, row in by_arm["lte"].items()}
    own, other = (
        {seed: late_fall(row, shares[seed]) for seed, row in found.items() if seed in shares}
        for found in by_arm.values()
    )
    fall = mean_of(list(own.values()))
    lead = mean_of([own[seed] - other[seed] for seed in own if seed in other])
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([fall, lead]),
        measures=(
            "share of held-out problems solved in 8, gained in the second half, lte - grpo: "
            f"{lead}",
            f"lte alone: {fall}",
        ),
    )
