"""Explanations of the given answer teach more than GRPO and than expert chains."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="on the hard level, ExPO beats GRPO and the same training on expert chains",
    paper="ExPO, arXiv 2507.02834",
)
USES = ("inverse",)
EXPERT = "expo, expert chains"
FIGURES = ("pass_at_1", "pass_at_k")
PAIRS = tuple(("expo", arm, figure) for arm in (EXPERT, "grpo") for figure in FIGURES)
"""(arm, other arm, figure): the claim expects the first to be above the second.

The experts are the families' references, on which the policy was pretrained; experts that use other
words are a variation (`variations.py`).
"""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score the paired differences over seeds."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
