"""LTE keeps reducing the number of problems that are never solved; under GRPO it plateaus.

Never solved is: not once in eight samples of a held-out problem. The contrasts are what LTE gains
from the middle of its tokens to the end, and how much more that is than GRPO's gain.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.lte_gain import ARMS, plan

CLAIM = Claim(
    text="LTE keeps reducing never-solved problems in the second half of training, GRPO does not",
    paper="LTE, arXiv 2510.26109",
)
OWN, LEAD = "lte, gained in the second half", "lte - grpo, gained in the second half"
PLAN = plan({label: ARMS[label] for label in ("grpo", "lte")}, {OWN: 0.05, LEAD: 0.05})


def second_half(row: Mapping[str, Any]) -> float:
    """Return how far pass@k rises after half of the tokens; linear between evaluations."""
    curve: list[tuple[int, int, float, float]] = row["curve"]
    tokens, at_k = [place[1] for place in curve], [place[3] for place in curve]
    return at_k[-1] - float(np.interp(tokens[-1] / 2, tokens, at_k))


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Compare what one seed gains in the second half."""
    own, other = second_half(rows["lte"]), second_half(rows["grpo"])
    return {OWN: own, LEAD: own - other}
