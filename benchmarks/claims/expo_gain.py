"""Explanations of the given answer teach what neither GRPO nor expert chains do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="ExPO beats GRPO and expert chains in its slot on the hard level",
    paper="ExPO, arXiv 2507.02834",
)
USES = ("inverse",)
PAIRS = (
    ("expo", "grpo", "pass_at_1"),
    ("expo", "grpo", "pass_at_k"),
    ("expo", "expo, expert chains", "pass_at_1"),
    ("expo", "expo, expert chains", "pass_at_k"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
