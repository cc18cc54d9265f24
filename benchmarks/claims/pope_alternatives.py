"""The usual remedies for missing exploration do not do what guided copies do."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, difference, verdict_of

CLAIM = Claim(
    text="an entropy bonus, clip-higher, a pass@k objective and SFT on the reference do not do it",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence", "precedence, foreign experts")
FIGURE = "pass_at_k"
REMEDIES = ("grpo, entropy bonus", "grpo, clip higher", "grpo, pass@k")


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns POPE's lead over each remedy; the SFT is on solutions in a hand of their own.

    SFT on the families' own references is reported beside it: the policy was pretrained on texts
    in that hand, so they teach it the right steps without teaching it a language.
    """
    own, foreign = (rows[name] for name in USES)
    found = {name: difference(own, "pope", name, FIGURE) for name in REMEDIES}
    found["sft on foreign references"] = difference(own, "pope", "sft", FIGURE, foreign)
    same = difference(own, "pope", "sft", FIGURE)
    parts = [f"pope - {name}, {FIGURE}: {item}" for name, item in found.items()]
    return Finding(
        claim=CLAIM,
        verdict=verdict_of(list(found.values())),
        measures=(*parts, f"pope - sft on references in the policy's own hand, {FIGURE}: {same}"),
    )
