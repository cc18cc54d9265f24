"""Hints from the policy's own mistakes beat GRPO, and GRPO with as many extra samples.

The claim presumes problems that are seldom solved, whose solution becomes likelier when the
policy's own wrong answers are excluded in the prompt.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from reason_env.agents.probe import Gate

CLAIM = Claim(
    text="LTE beats GRPO, and GRPO with the same extra samples, at pass@1 and at pass@k",
    paper="LTE, arXiv 2510.26109",
)
KINDS = {"pass@1": "pass_at_1", "pass@8": "pass_at_k"}
OTHERS = ("grpo", "grpo, extra")
SOURCE = "mix:precedence@7-10"
ARMS = {"grpo": "grpo", "grpo, extra": "lte:extra=unhinted", "lte": "lte"}
GATES = (
    Gate(
        rule="the problems are hard",
        figures=("success/pass_at_1",),
        below=0.05,
        reason="Above, most groups of eight hold a success, and LTE is GRPO.",
    ),
    Gate(
        rule="a list of the policy's own wrong answers lets it succeed more often",
        figures=("mistakes/gain",),
        above=0.02,
        reason="LTE learns from hinted samples; at a fiftieth every sixth group of eight holds a "
        "success.",
    ),
)


def plan(arms: Mapping[str, str], effects: Mapping[str, float]) -> Plan:
    """Plan a claim about LTE; arms of the same text are the same runs."""
    return Plan(
        source=SOURCE,
        arms=dict(arms),
        effects=dict(effects),
        gates=GATES,
        gate_problems=48,
        budget=120_000,
        rates=(1e-4, 3e-4),
        first_problems=4,
        evaluations=2,
        eval_size=32,
        pilot_seeds=(100, 101, 102),
        most_seeds=12,
    )


PLAN = plan(ARMS, {f"lte - {other}, {kind}": 0.08 for other in OTHERS for kind in KINDS})


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Subtract the rivals' pass rates of one seed from LTE's."""
    return {
        f"lte - {other}, {kind}": rows["lte"][key] - rows[other][key]
        for other in OTHERS
        for kind, key in KINDS.items()
    }
