"""With easy problems mixed in, GRPO learns only those (ray interference), POPE also hard ones."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.first.finding import Claim, Finding, Row, difference, verdict_of

CLAIM = Claim(
    text="POPE is robust to easy problems in the mixture; GRPO suffers ray interference",
    paper="POPE, arXiv 2601.18779",
)
USES = ("precedence, easy mixed in", "precedence")


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Score POPE's lead over GRPO on the hard split if both train on the mixture."""
    mixed = rows[USES[0]]
    found = [difference(mixed, "pope", "grpo", figure) for figure in ("pass_at_1", "pass_at_k")]
    hard_only = difference(rows[USES[1]], "pope", "grpo", "pass_at_k")
    return Finding(
        claim=CLAIM,
        verdict=verdict_of(found),
        measures=(
            f"pope - grpo on the mixture, pass_at_1: {found[0]}",
            f"pass_at_k: {found[1]}",
            f"on hard problems alone, pass_at_k: {hard_only}",
        ),
    )
