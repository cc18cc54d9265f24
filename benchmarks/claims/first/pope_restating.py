"""If the policy must not restate the shown prefix, it transfers less to the unguided problem."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="forbidding the policy to restate the prefix hurts the transfer to unguided problems",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence",)
PAIRS = (
    ("pope", "pope, no restating", "pass_at_1"),
    ("pope", "pope, no restating", "pass_at_k"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
