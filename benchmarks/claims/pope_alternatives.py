"""The usual remedies for missing exploration solve less than POPE's guided copies.

Imitation of an expert is another question, because what it teaches depends on how the expert
writes: `expo_gain.py` has experts at several distances.

Its seeds are its own. A first design had those of `pope_lifts`, whose runs of POPE were older than
it; its remedies had run (pass@8 0 in all 24) when that was refused, and none of its rows counts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.sealed import GRPO, POPE, figures, plan

__all__ = ["CLAIM", "PLAN", "contrasts", "figures"]
CLAIM = Claim(
    text="an entropy bonus, clip-higher and a pass@k objective solve less than POPE",
    paper="POPE, arXiv 2601.18779",
)
REMEDIES = {
    "entropy bonus": f"{GRPO},loss.entropy_coefficient=0.01",
    "clip-higher": f"{GRPO},loss.clip_high=0.5",
    "pass@k": f"{GRPO},advantage.kind=pass_at_k,advantage.k=4",
}
PLAN = replace(
    plan({"pope": POPE, **REMEDIES}, {f"pope - {label}, pass@8": 0.2 for label in REMEDIES}),
    first_seed=1200,
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Subtract each remedy's pass@8 of one seed from POPE's."""
    own = rows["pope"]["pass_at_k"]
    return {f"pope - {label}, pass@8": own - rows[label]["pass_at_k"] for label in REMEDIES}
