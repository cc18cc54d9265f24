"""LTE keeps reducing the problems that are never solved, where GRPO's number stands still."""

from collections.abc import Mapping, Sequence

from benchmarks.claims.finding import Claim, Finding, Row, mean_of, verdict_of

CLAIM = Claim(
    text="LTE keeps reducing never-solved problems in the second half of training, GRPO does not",
    paper="LTE, arXiv 2510.26109",
)
USES = ("precedence",)


def late_fall(row: Row) -> float:
    """Returns how much the share of problems without a success in 8 falls after half the tokens.

    It is measured from the first evaluation there to the last one; nothing is interpolated.
    """
    last_tokens, at_the_end = row["curve"][-1][1], row["curve"][-1][3]
    begin = next(at_k for _, tokens, _, at_k in row["curve"] if tokens >= last_tokens / 2)
    return float(at_the_end - begin)


def score(rows: Mapping[str, Sequence[Row]]) -> Finding:
    """Returns the fall under LTE, and its lead over GRPO's."""
    own = {row["seed"]: late_fall(row) for row in rows["precedence"] if row["arm"] == "lte"}
    other = {row["seed"]: late_fall(row) for row in rows["precedence"] if row["arm"] == "grpo"}
    fall = mean_of(list(own.values()))
    lead = mean_of([own[seed] - other[seed] for seed in own if seed in other])
    return Finding(
        claim=CLAIM,
        verdict=verdict_of([fall, lead]),
        measures=(
            "share of held-out problems solved in 8, gained in the second half, lte - grpo: "
            f"{lead}",
            f"lte itself: {fall}",
        ),
    )
