"""The usual remedies for missing exploration do not do what guided copies do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, difference, verdict_of

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
    found = [difference(rows[USES[0]], *pair) for pair in PAIRS]
    parts = [
        f"{own} - {other}, {figure}: {item}"
        for (own, other, figure), item in zip(PAIRS, found, strict=True)
    ]
    return Finding(claim=CLAIM, verdict=verdict_of(found), measured="; ".join(parts))
