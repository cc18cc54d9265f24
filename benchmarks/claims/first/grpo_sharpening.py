"""GRPO sharpens what the policy can do: if nearly no group has a success, it learns nothing."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import (
    LEAST_SEEDS,
    Claim,
    Finding,
    Row,
    Verdict,
    by_seed,
    mean_of,
)

CLAIM = Claim(
    text="GRPO alone cannot leave pass@8 near 0 on hard problems (distribution sharpening)",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence",)
NEAR_ZERO = 0.1
"""Largest pass@8 on held-out hard problems that still counts as near 0."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score whether GRPO's final pass@8 stays near 0."""
    first = by_seed(rows["precedence"], "grpo", "first_pass_at_k")
    last = by_seed(rows["precedence"], "grpo", "pass_at_k")
    after = mean_of(list(last.values()))
    gain = mean_of([last[seed] - first[seed] for seed in last])
    verdict: Verdict = "not reproduced"
    if after.num_seeds < LEAST_SEEDS:
        verdict = "too few seeds"
    elif after.high <= NEAR_ZERO:
        verdict = "reproduced"
    elif after.low > NEAR_ZERO:
        verdict = "opposite"
    return Finding(
        claim=CLAIM,
        verdict=verdict,
        measures=(f"pass@8 after training: {after}", f"gained in training: {gain}"),
    )
