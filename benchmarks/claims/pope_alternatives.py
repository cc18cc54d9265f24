"""The usual remedies for missing exploration do not do what guided copies do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, paired_finding

CLAIM = Claim(
    text="an entropy bonus, clip-higher, a pass@k objective and SFT on the reference do not do it",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence",)
FIGURE = "pass_at_k"
REMEDIES = ("grpo, entropy bonus", "grpo, clip higher", "grpo, pass@k")
PAIRS = tuple(("pope", arm, FIGURE) for arm in ("sft", *REMEDIES))
"""(arm, other arm, figure): the claim expects the first to be above the second.

The SFT is on the families' own references, in whose hand the policy was pretrained; that on
references in another hand is a variation (`variations.py`).
"""


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns POPE's lead over each remedy."""
    return paired_finding(CLAIM, rows[USES[0]], PAIRS)
