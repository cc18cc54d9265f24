"""The usual remedies for missing exploration do not achieve what guided copies achieve."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text=(
        "an entropy bonus, clip-higher, a pass@k objective and SFT on the reference "
        "solve less than POPE"
    ),
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence",)
FIGURE = "pass_at_k"
REMEDIES = ("grpo, entropy bonus", "grpo, clip higher", "grpo, pass@k")
PAIRS = tuple(("pope", arm, FIGURE) for arm in ("sft", *REMEDIES))
"""(arm, other arm, figure): the claim expects the first to be above the second.

The SFT imitates the families' references, on which the policy was pretrained; SFT on references in
other words is a variation (`variations.py`).
"""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score POPE's lead over each remedy."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
