"""The more accurate the localisation of the first error, the more a reset teaches.

A reset at a random step is RRPO.
"""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text=(
        "improvement grows with localisation accuracy: "
        "the checker beats a random step and offsets of 4 steps"
    ),
    paper="SRPO, arXiv 2605.25507",
)
USES = ("chain",)
PAIRS = (
    ("srpo, checker", "rrpo", "pass_at_1"),
    ("srpo, checker", "srpo, checker -4", "pass_at_1"),
    ("srpo, checker", "srpo, checker +4", "pass_at_1"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the paired differences over seeds; the policy's own localisation is in no pair."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
