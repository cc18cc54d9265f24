"""POPE solves hard problems that GRPO cannot, also without guidance at evaluation."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, difference, verdict_of

CLAIM = Claim(
    text="POPE solves problems that GRPO cannot, and transfers to the unguided problems",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence", "inverse")
"""The first experiment decides the verdict; in the second, right chains are less rare."""
FIGURES = ("pass_at_1", "pass_at_k")


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score POPE's lead over GRPO."""
    found = {name: [difference(rows[name], "pope", "grpo", f) for f in FIGURES] for name in USES}
    return Finding(
        claim=CLAIM,
        verdict=verdict_of(found[USES[0]]),
        measures=tuple(
            f"pope - grpo{'' if name == USES[0] else f' on {name}'}, {figure}: {item}"
            for name, items in found.items()
            for figure, item in zip(FIGURES, items, strict=True)
        ),
    )
