"""Continuations of a clean prefix succeed more often than of a prefix with an error.

Measured without training: the policy's own failures are cut at a uniform step, and continued.

The claim presumes that both kinds of prefix occur.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim
from benchmarks.claims.design import Plan
from reason_env.agents.probe import Findings, Gate, Subject, rate_figure
from reason_env.agents.rollout import Start, Trajectory, initial_states
from reason_env.state import ReasonState, uniform_cut

CLAIM = Claim(
    text="suffixes sampled from clean prefixes succeed more often than from unclean ones",
    paper="SRPO, arXiv 2605.25507",
)
LEAD = "success from clean - from unclean"
SAMPLES = 4
PLAN = Plan(
    source="mix:chain@12-14",
    effects={LEAD: 0.03},
    gates=(
        Gate(
            rule="some uniform cuts are clean",
            figures=("own/clean",),
            above=0.1,
            reason="Of 96 problems ten cuts of a kind give a mean that means something.",
        ),
        Gate(
            rule="and some are not",
            figures=("own/clean",),
            below=0.9,
            reason="As above.",
        ),
    ),
    gate_problems=96,
    train_size=96,
    pilot_seeds=(100, 101, 102, 103),
    most_seeds=12,
)


def measure(subject: Subject, seed: int) -> dict[str, float]:
    """Measure the success from uniform cuts of own failures, one mean for each kind of prefix."""
    cut = _cuts(subject, seed)
    starts = [
        Start(
            state=state,
            num_samples=SAMPLES,
            learn_from=state,
            group=state.problem.problem_id,
            role="reset",
        )
        for state in cut
    ]
    is_clean = {state.problem.problem_id: _is_clean(subject, state) for state in cut}
    rates: dict[bool, list[float]] = {True: [], False: []}
    for group in subject.collect(starts, seed + 1).groups:
        rate = float(np.mean([item.is_success for item in group.graded]))
        rates[is_clean[group.key]].append(rate)
    return {
        "clean": float(np.mean(rates[True])),
        "unclean": float(np.mean(rates[False])),
        "clean_share": len(rates[True]) / len(starts),
    }


def contrasts(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Take the difference of one seed."""
    (row,) = rows.values()
    return {LEAD: row["clean"] - row["unclean"]}


def figures(subject: Subject, seed: int) -> Findings:
    """Measure the share of uniform cuts of failures that are clean."""
    clean = [float(_is_clean(subject, state)) for state in _cuts(subject, seed)]
    return Findings(figures=(rate_figure("own/clean", "uniform cuts that are clean", clean),))


def _cuts(subject: Subject, seed: int) -> list[ReasonState]:
    """Sample two chains a problem, and cut its first failure of several steps at a uniform one."""
    states = initial_states(subject.session.env, subject.session.problem_ids, seed=seed)
    starts = [
        Start(state=state, num_samples=2, learn_from=state, group=state.problem.problem_id)
        for state in states
    ]
    failures: dict[str, Trajectory] = {}
    for item in subject.collect(starts, seed).trajectories:
        if not item.is_success and item.final_state.num_steps > 1:
            failures.setdefault(item.start.state.problem.problem_id, item)
    rng = np.random.default_rng(seed)
    return [item.final_state.cut(uniform_cut(item.final_state, rng)) for item in failures.values()]


def _is_clean(subject: Subject, state: ReasonState) -> bool:
    checker = subject.checker
    assert checker is not None, "a family has a step checker"
    return checker(state.problem, state.steps) is None
