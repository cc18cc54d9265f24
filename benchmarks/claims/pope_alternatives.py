"""The usual remedies for missing exploration solve less than POPE's guided copies.

SFT is another question: what it teaches depends on how the expert writes, which needs experts at a
chosen distance from the policy.

The claim presumes problems that the policy hardly solves, and part of a solution that helps.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from reason_env.agents.probe import Gate

CLAIM = Claim(
    text="an entropy bonus, clip-higher and a pass@k objective solve less than POPE",
    paper="POPE, arXiv 2601.18779",
)
REMEDIES = {
    "entropy bonus": "grpo:loss.entropy_coefficient=0.01",
    "clip-higher": "grpo:loss.clip_high=0.5",
    "pass@k": "grpo:advantage.kind=pass_at_k,advantage.k=4",
}
PLAN = Plan(
    source="mix:precedence@7-10",
    arms={
        "pope": "pope:hard_samples=4,probe_samples=4,loss.clip_low=0.2,loss.clip_high=0.2,"
        "loss.aggregation=token_mean",
        **REMEDIES,
    },
    effects={f"pope - {label}, pass@8": 0.1 for label in REMEDIES},
    gates=(
        Gate(
            rule="the problems are hard",
            figures=("success/pass_at_1",),
            below=0.05,
            reason="Above, groups of eight hold a success without help, and exploration is not "
            "what is missing.",
        ),
        Gate(
            rule="unsolved problems succeed more often with a quarter of the solution shown",
            figures=("guided/prompt_0.25_gain",),
            above=0.02,
            reason="POPE learns from guided copies; at a fiftieth, every sixth guided group of "
            "eight holds a success.",
        ),
    ),
    gate_problems=48,
    budget=120_000,
    rates=(1e-4, 3e-4),
    first_problems=6,
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Subtract each remedy's pass@8 of one seed from POPE's."""
    own = rows["pope"]["pass_at_k"]
    return {f"pope - {label}, pass@8": own - rows[label]["pass_at_k"] for label in REMEDIES}
