"""The usual remedies for missing exploration do not do what guided copies do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="an entropy bonus, clip-higher, a pass@k objective and SFT on the reference do not do it",
    paper="POPE, arXiv 2601.18779",
)
USES = ("unlock",)
PAIRS = (
    ("pope", "grpo, entropy bonus", "pass_at_k"),
    ("pope", "grpo, clip higher", "pass_at_k"),
    ("pope", "grpo, pass@k", "pass_at_k"),
    ("pope", "sft", "pass_at_k"),
)
"""(arm, other arm, figure): the claim expects the first to be above the second."""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
