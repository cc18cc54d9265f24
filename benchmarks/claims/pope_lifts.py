"""POPE solves hard problems that GRPO cannot, and what it learns holds without guidance."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="POPE solves problems that GRPO cannot, and transfers to the unguided problems",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence",)
PAIRS = (
    ("pope", "grpo", "pass_at_1"),
    ("pope", "grpo", "pass_at_k"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
