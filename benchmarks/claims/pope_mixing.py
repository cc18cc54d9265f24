"""With easy problems mixed in, GRPO learns less of the hard ones (ray interference); POPE resists.

The easy problems, `opposed`, pay reading from the left, by which the base model fails on the hard
ones. GRPO learns hard problems alone when it finds a success early; the mixture's success is easy.

At 3e-4 GRPO and LTE collapse on `precedence` (pilot of `lte_gain`), so the rates are lower. A
hard problem costs an eleventh of an iteration and one of the mixture, on average, a fifteenth: so
GRPO on the mixture spends 15/22 of its tokens on hard ones, and is behind by that much anyway. The
evaluation halfway shows how far the arm of hard problems alone was before.

This is the second plan; no run had the first as its design. Its pilot (seeds 100 to 102) gave every
arm eight problems an iteration, and so GRPO on the mixture twice POPE's updates. On seeds 57 and 58
the sizes below gave each arm about 130, as the design does. The second pilot's power asked for more
than the twenty seeds that were the most, so the most became thirty before the design.

The claim presumes that the easy problems are solved often, the hard ones seldom, and that the hard
ones fail by the reading that the easy ones pay.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from benchmarks.claims.hosted import found_figures
from benchmarks.families import hosts
from reason_env.agents.probe import Findings, Gate, Subject

CLAIM = Claim(
    text="POPE is robust to easy problems in the mixture; GRPO suffers ray interference",
    paper="POPE, arXiv 2601.18779",
)
LOST = "grpo on hard problems alone - grpo on the mixture, pass@8"
LEAD = "pope - grpo on the mixture, pass@8"
HARD = "mix:precedence@7-10"
_POPE = (
    "pope:hard_samples=4,probe_samples=4,grid=0.25,loss.clip_low=0.2,loss.clip_high=0.2,"
    "loss.aggregation=token_mean,problems_per_iteration=8"
)
PLAN = Plan(
    source="mix:opposed@1-3+precedence@7-10",
    sources={"hard alone": HARD},
    eval_problems=HARD,
    arms={
        "hard alone": "grpo:problems_per_iteration=11",
        "grpo": "grpo:problems_per_iteration=15",
        "pope": f"{_POPE},easy=mix",
    },
    effects={LOST: 0.05, LEAD: 0.05},
    gates=(
        Gate(
            rule="the easy problems are solved often",
            figures=("own/easy_success",),
            above=0.3,
            reason="They are to be most of what pays.",
        ),
        Gate(
            rule="the hard ones are not",
            figures=("own/hard_success",),
            below=0.05,
            reason="Above, groups of eight hold a success, and the hard ones pay as well.",
        ),
        Gate(
            rule="the hard ones fail by the reading that the easy ones pay",
            figures=("own/hard_failures_by_the_paid_reading",),
            above=0.4,
            reason="Otherwise what the easy ones teach does not stand in the way of the hard ones.",
        ),
    ),
    gate_problems=48,
    budget=240_000,
    rates=(5e-5, 1e-4, 2e-4),
    evaluations=2,
    train_size=64,
    fewest_seeds=12,
    most_seeds=30,
    pilot_seeds=(110, 111, 112),
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Compare the pass@8 on hard problems of one seed."""
    grpo = rows["grpo"]["pass_at_k"]
    return {LOST: rows["hard alone"]["pass_at_k"] - grpo, LEAD: rows["pope"]["pass_at_k"] - grpo}


def figures(subject: Subject, seed: int) -> Findings:
    """Measure easy and hard problems of the validation split, and how the hard ones fail."""
    source, measure = hosts.MEASURES["opposed"]
    size = len(subject.session.problem_ids)
    easy = hosts.subject_of(subject.session.policy, source, num_problems=size)
    return found_figures(measure(easy))
