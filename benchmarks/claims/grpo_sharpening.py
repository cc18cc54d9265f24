"""GRPO sharpens what the policy can do: where no group holds a success, it learns nothing.

The contrast is how far the final pass@8 stays below a tenth. On its own it would also hold for a
task that nothing can learn, so the second one is POPE's pass@8 above a half with the same tokens.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.sealed import GRPO, POPE, figures, plan

__all__ = ["CLAIM", "PLAN", "contrasts", "figures"]
CLAIM = Claim(
    text="GRPO alone cannot leave pass@8 near 0 on hard problems (distribution sharpening)",
    paper="POPE, arXiv 2601.18779",
)
NEAR_ZERO = 0.1
STAYS, LEARNABLE = "0.1 - grpo, pass@8", "pope - 0.5, pass@8"
PLAN = plan({"grpo": GRPO, "pope": POPE}, {STAYS: 0.05, LEARNABLE: 0.2})


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Compare the final pass@8 of each arm with its bound."""
    return {
        STAYS: NEAR_ZERO - rows["grpo"]["pass_at_k"],
        LEARNABLE: rows["pope"]["pass_at_k"] - 0.5,
    }
