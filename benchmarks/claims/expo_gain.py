"""Explanations of the given answer teach what neither GRPO nor expert chains do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, difference, verdict_of

CLAIM = Claim(
    text="ExPO beats GRPO and expert chains in its slot on the hard level",
    paper="ExPO, arXiv 2507.02834",
)
USES = ("inverse", "inverse, foreign experts")
EXPERT = "expo, expert chains"
FIGURES = ("pass_at_1", "pass_at_k")


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns ExPO's lead over GRPO, and over experts who write in a hand of their own.

    Experts who write as the policy does are reported beside them: their chains are what good
    explanations look like, and no lead is expected.
    """
    own, foreign = (rows[name] for name in USES)
    parts, found = [], []
    for label, arm, theirs in (("grpo", "grpo", own), ("foreign expert chains", EXPERT, foreign)):
        for figure in FIGURES:
            found.append(difference(own, "expo", arm, figure, theirs))
            parts.append(f"expo - {label}, {figure}: {found[-1]}")
    same = difference(own, "expo", EXPERT, "pass_at_1")
    return Finding(
        claim=CLAIM,
        verdict=verdict_of(found),
        measures=(*parts, f"expo - expert chains in the policy's own hand, pass_at_1: {same}"),
    )
