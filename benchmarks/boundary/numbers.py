"""The numbers of a cell that should decide, measured before any training.

They are the figures of `reason-env probe`, so that a probe of another model finds its place on the
map, and two more:

    noise       share of the score-function energy (`token_energies`) of tokens that cannot change
                the return: asides, free letters, and whatever comes after the first wrong step
    twin        for `chain`, on problems small enough: the exact signal of a step after the
                restarts of GRPO, RRPO and SRPO (`method_rows`), mean over problems
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.boundary.sweep import Cell, Sweep
from benchmarks.tabular.twin import THRESHOLD, scorer
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.probe import Figure, ProbeConfig, Subject, probe, token_energies
from reason_env.agents.rollout import Start, initial_states
from reason_env.agents.tabular.worlds.twin import chain_twin, method_rows
from reason_env.agents.train import Session, TrainConfig, build_session
from reason_env.env import EnvConfig
from reason_env.problem import StepChecker
from reason_env.problems.families import chain
from reason_env.state import ReasonState, step_bounds

FIGURES = (
    "success/pass_at_1",
    "success/signal",
    "success/unsolved",
    "localisation/clean",
    "localisation/first_error_gain",
    "localisation/over_start",
    "localisation/reset_signal",
    "guided/prompt_0.25",
    "guided/prompt_0.25_gain",
    "mistakes/avoided",
    "mistakes/gain",
    "explanations/kept",
    "explanations/leads_on",
)
"""Figures of the probe that a row keeps, with their limits."""
SECTIONS = ("guided", "mistakes", "explanations", "localisation")
NOISE_PROBLEMS = 16
TWIN_LEVELS = (2, 3)
TWIN_PROBLEMS = 4
SMALLEST = 1e-4
"""Wrong branches of a twin below this probability are lost."""
LETTERS = 4
"""Characters at the end of a step of `late` that mean nothing: a space and three letters."""


def measured(sweep: Sweep, cell: Cell) -> dict[str, Any]:
    """Measure a cell's numbers; one row.

    Args:
        sweep: The problems' seed and number, and the samples.
        cell: The cell.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    session = build_session(
        TrainConfig(
            model=cell.model,
            method=GRPOConfig(),
            env=EnvConfig(
                problems=cell.source,
                size=sweep.numbers_problems,
                problem_seed=sweep.numbers_seed,
                max_tokens=cell.max_tokens,
            ),
            seed=sweep.numbers_seed,
        )
    )
    config = ProbeConfig(
        num_problems=sweep.numbers_problems,
        again=sweep.numbers_again,
        shares=(0.25,),
        sections=SECTIONS,
    )
    report = probe(session, config)
    return {
        "design": sweep.content_hash,
        "cell": cell.name,
        "started": started,
        "tokens": report.sampled_tokens,
        "figures": kept(report.figures),
        "noise": round(noise(session, cell), 4),
        "twin": twin_signals(session.policy, cell),
    }


def kept(known: Mapping[str, Figure]) -> dict[str, list[float]]:
    """Return those of `FIGURES` that have limits; what was measured on one problem has none.

    >>> one = Figure(name="success/signal", label="", estimate=0.5, num_problems=1)
    >>> two = Figure(name="success/pass_at_1", label="", estimate=1 / 3, low=0.1, high=0.7)
    >>> kept({one.name: one, two.name: two})
    {'success/pass_at_1': [0.3333, 0.1, 0.7]}
    """
    found: dict[str, list[float]] = {}
    for name in FIGURES:
        own = known.get(name)
        if own is not None and own.low is not None and own.high is not None:
            found[name] = [round(number, 4) for number in (own.estimate, own.low, own.high)]
    return found


def noise(session: Session, cell: Cell) -> float:
    """Measure the share of energy that cannot change the return, over one response a problem."""
    subject = Subject(session=session, again=1)
    assert subject.checker is not None, "a family has a step checker"
    states = initial_states(session.env, session.problem_ids[:NOISE_PROBLEMS], seed=1)
    starts = [
        Start(state=state, num_samples=1, learn_from=state, group=state.problem.problem_id)
        for state in states
    ]
    items = subject.collect(starts, 1).trajectories
    pairs = [(item.prompt_ids, item.final_state.response) for item in items]
    energies = token_energies(session.policy, pairs)
    has_letters = cell.name.startswith("late-")
    return noise_share(
        [item.final_state for item in items], energies, subject.checker, has_letters=has_letters
    )


def noise_share(
    states: Sequence[ReasonState],
    energies: Sequence[Sequence[float]],
    checker: StepChecker,
    *,
    has_letters: bool = False,
) -> float:
    """Return the share of all energy of tokens that cannot change the return.

    Args:
        states: Responses.
        energies: Of each token of each response.
        checker: Finds the first wrong step; whatever comes after it is beside the point.
        has_letters: Whether steps end with `LETTERS` free characters.
    """
    beside = total = 0.0
    for state, own in zip(states, energies, strict=True):
        wrong = checker(state.problem, state.steps)
        bounds = step_bounds(state)
        for number, (begin, end) in enumerate(pairwise(bounds), start=1):
            text = state.codec.decode(state.response[begin:end])
            energy = sum(own[begin:end])
            total += energy
            if text.startswith("~") or (wrong is not None and number > wrong):
                beside += energy
            elif has_letters and not text.startswith("#"):
                # The line's end is the last token.
                beside += sum(own[max(begin, end - LETTERS) : end - 1])
        total += sum(own[bounds[-1] :])
    return beside / total


def twin_signals(policy: LanguageModelPolicy, cell: Cell) -> dict[str, float] | None:
    """Compute the exact signals of restarts on twins of a `chain` cell; None for other cells."""
    family, _, level = cell.name.partition("-")
    if family != "chain" or int(level) not in TWIN_LEVELS:
        return None
    problems = chain.make("validation", size=TWIN_PROBLEMS, levels=(int(level), int(level)))
    found: dict[str, list[float]] = {}
    for problem in problems:
        twin = chain_twin(problem, scorer(policy), codec=policy.codec, min_probability=SMALLEST)
        for row in method_rows(twin, threshold=THRESHOLD):
            found.setdefault(str(row["method"]), []).append(float(row["signal"]))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}
