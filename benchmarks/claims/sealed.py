"""What the claims about POPE share: `sealed`, on which sampling never succeeds.

Arms of the same text and rates are the same runs, whichever claim they belong to. POPE searches a
real grid of prefixes, sixteenths with 16 samples each, which takes a quarter of its tokens; with 16
problems because every one is searched.

This is the second plan. Under the first, 240,000 tokens in 30 iterations, the transfer to unguided
problems came in three of seven seeds and late in two. On three problem seeds that no run has (50,
51, 52) it came between 110,000 and 320,000 tokens at two problems an iteration, which is what the
budget is for. Seeds differ by when it comes, which a pilot's few do not show, so eight are run at
least, and none of them or of the pilot's is the first plan's.
"""

from collections.abc import Mapping

from benchmarks.claims.design import Plan
from benchmarks.claims.hosted import host_figures
from benchmarks.families import hosts
from reason_env.agents.probe import Findings, Gate, Subject

POPE = "pope:hard_samples=4,probe_samples=16"
GRPO = "grpo:problems_per_iteration=5"
NEVER = Gate(
    rule="a whole budget is not expected to hold an unguided success",
    figures=("own/successes_in_3,000_episodes",),
    below=1.0,
    reason="With a success at hand GRPO begins to learn, and exploration is not what is missing.",
)
HELPED = Gate(
    rule="the shortest helpful prefix lets the policy succeed",
    figures=("own/guided_success",),
    above=0.05,
    reason="POPE learns from guided copies: at a twentieth every third group of eight holds a "
    "success.",
)
SELDOM = Gate(
    rule="but seldom enough to learn from",
    figures=("own/guided_success",),
    below=0.3,
    reason="Above, the prefix has done the work, and what is left is easy.",
)


def plan(arms: Mapping[str, str], effects: Mapping[str, float]) -> Plan:
    """Plan a claim on `sealed`."""
    return Plan(
        source="sealed",
        model="sealed",
        arms=dict(arms),
        effects=dict(effects),
        gates=(NEVER, HELPED, SELDOM),
        gate_problems=24,
        budget=400_000,
        iterations=72,
        rates=(1e-4, 2e-4),
        first_problems=2,
        train_size=16,
        eval_size=24,
        pilot_seeds=(110, 111, 112),
        fewest_seeds=8,
        most_seeds=12,
        first_seed=1100,
    )


def figures(subject: Subject, seed: int) -> Findings:
    """Measure unguided and guided success, and what a budget would find without guidance."""
    return host_figures(subject, hosts.sealed)
