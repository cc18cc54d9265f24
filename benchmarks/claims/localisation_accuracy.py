"""The more of the resets are at the first error, the more they teach.

Resets at the step checker's step and at a random one are mixed at shares 0, 0.5 and 1; all else is
SRPO without its localiser's tokens. The contrast is the slope of the mean pass@1 over the budget,
which says how fast a policy improves, over the share.

The claim presumes that a reset at the first error succeeds more often than one at a random step of
the same chains (else its place does not matter), and that it keeps a part of the chain (else it is
the problem itself). Chains of 8 to 10 steps have that. Of 12 to 14 steps, the levels of the first
design, the gain is 0.039 [0.003, 0.076] (96 problems), because what follows the reset fails, too.

Parts of two pilots led to this plan. With 120,000 tokens 3e-4 ended below 0.04 in every arm and
seed (100 to 102), and 3e-5 at 0.85 to 0.86 in all three arms of seed 100; with 60,000 at 0.83 to
0.88. At the end nothing is left to tell them apart, so the rates are lower, and the way there is
compared.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from benchmarks.claims.evaluated import mean_pass
from reason_env.agents.probe import Findings, Gate, Subject, difference_figure, rate_figure
from reason_env.agents.rollout import Group, Start, initial_states
from reason_env.state import ReasonState, checker_cut, uniform_cut

CLAIM = Claim(
    text="improvement grows with the share of resets at the first error",
    paper="SRPO, arXiv 2605.25507",
)
SHARES = {"random": 0.0, "half": 0.5, "exact": 1.0}
"""Arm -> share of its resets at the checker's step."""
SLOPE = "slope of the mean pass@1 over the share of exact resets"
SAMPLES = 4
PLAN = Plan(
    source="mix:chain@8-10",
    arms={
        label: f"srpo:localiser=checker,checker_share={share:g}" for label, share in SHARES.items()
    },
    effects={SLOPE: 0.05},
    gates=(
        Gate(
            rule="a reset at the first error succeeds more often than one at a random step",
            figures=("own/gain",),
            above=0.05,
            reason="If both succeed as often, accuracy has nothing to add. Below a twentieth, a "
            "group of four suffixes has one success more in five resets.",
        ),
        Gate(
            rule="most resets at the first error keep a step of the chain",
            figures=("own/kept",),
            above=0.5,
            reason="A reset that keeps nothing is a restart, which is the same in every arm.",
        ),
    ),
    gate_problems=96,
    budget=60_000,
    rates=(3e-5, 1e-4),
    first_problems=2,
    eval_size=32,
    eval_samples=4,
    evaluations=6,
    pilot_seeds=(110, 111, 112),
    fewest_seeds=12,
    most_seeds=16,
)


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Fit the slope of one seed's mean pass@1 over the share of exact resets."""
    share = np.array(list(SHARES.values()))
    value = np.array([mean_pass(rows[label]) for label in SHARES])
    centred = share - share.mean()
    return {SLOPE: float(centred @ value / (centred @ centred))}


def figures(subject: Subject, seed: int) -> Findings:
    """Compare resets of failed chains at the first error with resets at a uniform step."""
    session, checker = subject.session, subject.checker
    assert checker is not None, "a family has a step checker"
    states = initial_states(session.env, session.problem_ids, seed=seed)
    tries = subject.collect(
        [
            Start(state=state, num_samples=2, learn_from=state, group=state.problem.problem_id)
            for state in states
        ],
        seed,
    )
    rng = np.random.default_rng(seed)
    starts: list[Start] = []
    kept: list[float] = []
    for group in tries.groups:
        chain = _failed(group)
        if chain is None:
            continue
        exact = checker_cut(chain, checker)
        kept.append(float(exact > 0))
        for name, cut in (("exact", exact), ("random", uniform_cut(chain, rng))):
            state = chain.cut(cut)
            key = f"{name}:{group.key}"
            starts.append(
                Start(state=state, num_samples=SAMPLES, learn_from=state, group=key, role="reset")
            )
    if not starts:
        return Findings(missing={"own": "no failed response has several steps"})
    found = {group.key: _rate(group) for group in subject.collect(starts, seed + 1).groups}
    rates = {
        name: [rate for key, rate in found.items() if key.startswith(f"{name}:")]
        for name in ("exact", "random")
    }
    return Findings(
        figures=(
            rate_figure("own/exact", "success from the first error", rates["exact"]),
            rate_figure("own/random", "success from a random step", rates["random"]),
            difference_figure(
                "own/gain",
                "gain of resets at the first error over those at a random step",
                rates["exact"],
                rates["random"],
            ),
            rate_figure("own/kept", "resets at the first error that keep a step", kept),
        )
    )


def _failed(group: Group) -> ReasonState | None:
    """Return the last state of a group's first failure of several steps; None without one."""
    ends = (item.final_state for item in group.graded if not item.is_success)
    return next((state for state in ends if state.num_steps > 1), None)


def _rate(group: Group) -> float:
    return float(np.mean([item.is_success for item in group.graded]))
