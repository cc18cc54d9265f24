"""POPE solves problems that GRPO cannot, also without guidance at evaluation."""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.sealed import GRPO, POPE, figures, plan

__all__ = ["CLAIM", "PLAN", "contrasts", "figures"]
CLAIM = Claim(
    text="POPE solves problems that GRPO cannot, and transfers to the unguided problems",
    paper="POPE, arXiv 2601.18779",
)
KINDS = {"pass@1": "pass_at_1", "pass@8": "pass_at_k"}
PLAN = plan({"grpo": GRPO, "pope": POPE}, {f"pope - grpo, {kind}": 0.2 for kind in KINDS})


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Subtract GRPO's pass rates of one seed, all without guidance."""
    return {
        f"pope - grpo, {kind}": rows["pope"][key] - rows["grpo"][key] for kind, key in KINDS.items()
    }
