"""Hints from the policy's own mistakes beat GRPO, and GRPO with as many extra samples."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="LTE beats GRPO, and GRPO with the same extra samples, at pass@1 and at pass@k",
    paper="LTE, arXiv 2510.26109",
)
USES = ("precedence",)
PAIRS = (
    ("lte", "grpo", "pass_at_1"),
    ("lte", "grpo", "pass_at_k"),
    ("lte", "grpo, extra", "pass_at_1"),
    ("lte", "grpo, extra", "pass_at_k"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
