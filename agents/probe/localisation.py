"""SRPO's precondition: the policy names the first wrong step of its own failed chains.

With a step checker: how often the named step is the first wrong one, against a random step; how
often a uniform cut keeps no wrong step; and the success of suffixes from the first wrong step,
against a uniform cut and against the problem's other responses. Without one: the success of
suffixes from the named cut, against suffixes from a uniform cut of the same chains (RRPO). A reply
in range names a step that the chain has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.methods import (
    LOCALISE,
    RRPO,
    MethodBase,
    RRPOConfig,
    SRPOConfig,
    named_step,
    step_in_reply,
)
from reason_env.agents.probe.budget import block_seed
from reason_env.agents.probe.figure import (
    Figure,
    Findings,
    difference_figure,
    mean_figure,
    rate_figure,
)
from reason_env.agents.probe.subject import Subject, problem_id_of, success_rate
from reason_env.agents.rollout import Group, Trajectory


@dataclass(frozen=True, slots=True)
class LocalisationRow:
    """One failed chain, reset at the named step and at a uniform one."""

    problem_id: str
    num_steps: int
    named: int | None
    """Step that the policy named; None if the question did not fit the prompt."""
    is_in_range: bool | None
    """Whether the reply names a step of the chain; None without a reply."""
    wrong: int | None
    """First wrong step by the checker; None without a checker, or if no step is wrong."""
    named_success: float | None
    uniform_success: float | None
    uniform_has_signal: bool
    """Whether the suffixes from the uniform cut differ in success."""
    exact_success: float | None
    """Success from the checker's cut; None without a checker."""
    start_success: float | None
    """Success of the problem's other responses; None if there is none."""


def localisation_rows(
    subject: Subject, groups: Sequence[Group], seed: int
) -> list[LocalisationRow]:
    """Ask for the first wrong step, then sample suffixes from both cuts.

    Args:
        subject: The model and the problems.
        groups: Groups with a failed chain of several steps.
        seed: Determines replies, cuts and suffixes.
    """
    named = _resets(subject, subject.method(SRPOConfig()), groups, seed)
    uniform = _resets(subject, subject.method(RRPOConfig()), groups, block_seed((seed, 1)))
    exact: dict[str, _Reset] = {}
    if subject.checker is not None:
        method = subject.method(SRPOConfig(localiser="checker"))
        exact = _resets(subject, method, groups, block_seed((seed, 2)))
    return [
        _row(subject, group, named[group.key], uniform[group.key], exact.get(group.key))
        for group in groups
        if group.key in named and group.key in uniform
    ]


@dataclass(frozen=True, slots=True)
class _Reset:
    source: Trajectory
    group: Group
    reply: Trajectory | None


def _resets(
    subject: Subject, method: MethodBase, groups: Sequence[Group], seed: int
) -> dict[str, _Reset]:
    """Follow groups up with a method that resets; return group key -> its reset."""
    assert isinstance(method, RRPO), "both methods reset"
    known = {group.key: group for group in groups}
    rng = np.random.default_rng(seed)
    number = 0
    while starts := method.follow_up(tuple(known.values()), rng):
        number += 1
        batch = subject.collect(starts, block_seed((seed, number)))
        known |= {group.key: group for group in batch.groups}
    found: dict[str, _Reset] = {}
    for source, group in method.resets(tuple(known.values())):
        reply = known.get(source.start.group + LOCALISE)
        found[source.start.group] = _Reset(
            source, group, None if reply is None else reply.trajectories[0]
        )
    return found


def _row(
    subject: Subject, group: Group, named: _Reset, uniform: _Reset, exact: _Reset | None
) -> LocalisationRow:
    chain, checker = named.source.final_state, subject.checker
    reply = None if named.reply is None else named.reply.reply
    returns = {item.is_success for item in uniform.group.graded}
    # The source is one of the group's failures.
    others = len(group.graded) - 1
    successes = sum(item.is_success for item in group.graded)
    return LocalisationRow(
        problem_id=problem_id_of(group),
        num_steps=chain.num_steps,
        named=None if reply is None else named_step(reply, chain.num_steps),
        is_in_range=None if reply is None else step_in_reply(reply, chain.num_steps) is not None,
        wrong=None if checker is None else checker(chain.problem, chain.steps),
        named_success=success_rate(named.group),
        uniform_success=success_rate(uniform.group),
        uniform_has_signal=len(returns) > 1,
        exact_success=None if exact is None else success_rate(exact.group),
        start_success=successes / others if others else None,
    )


def localisation_findings(rows: Sequence[LocalisationRow]) -> Findings:
    """Average accuracy, replies in range, and the success of suffixes from both cuts."""
    if not rows:
        return Findings(missing={"localisation": "no failed response has several steps"})
    missing: dict[str, str] = {}
    figures: list[Figure] = []
    ranges = [float(row.is_in_range) for row in rows if row.is_in_range is not None]
    if ranges:
        label = "replies that name a step of the chain"
        figures.append(rate_figure("localisation/in_range", label, ranges))
    else:
        missing["localisation/in_range"] = "no failed chain fits the localiser's prompt"
    figures += _accuracy(rows)
    if not any(row.wrong is not None for row in rows):
        missing["localisation/accuracy"] = "the problems have no step checker"
    pairs = [
        (row.named_success, row.uniform_success)
        for row in rows
        if row.named is not None
        and row.named_success is not None
        and row.uniform_success is not None
    ]
    if pairs:
        named, uniform = zip(*pairs, strict=True)
        figures += [
            rate_figure("localisation/named_success", "success from the named cut", named),
            rate_figure("localisation/uniform_success", "success from a uniform cut", uniform),
            difference_figure(
                "localisation/gain", "gain of the named over the uniform cut", named, uniform
            ),
        ]
    figures += _first_error(rows)
    figures += [
        rate_figure(
            "localisation/reset_signal",
            "groups with signal from a uniform cut",
            [float(row.uniform_has_signal) for row in rows],
        ),
        mean_figure(
            "localisation/steps",
            "steps of a failed chain",
            [float(row.num_steps) for row in rows],
            unit="steps",
        ),
    ]
    return Findings(figures=tuple(figures), missing=missing)


def _accuracy(rows: Sequence[LocalisationRow]) -> list[Figure]:
    named = [row for row in rows if row.named is not None and row.wrong is not None]
    if not named:
        return []
    hits = [float(row.named == row.wrong) for row in named]
    chances = [1 / row.num_steps for row in named]
    return [
        rate_figure("localisation/accuracy", "first wrong step named", hits),
        rate_figure("localisation/chance", "the same by a random step", chances),
        difference_figure("localisation/above_chance", "accuracy above chance", hits, chances),
    ]


def _first_error(rows: Sequence[LocalisationRow]) -> list[Figure]:
    """Compare resets at the first wrong step, which needs a checker, with other starts."""
    figures: list[Figure] = []
    # A uniform cut at step k keeps k - 1 steps: no wrong one if k is at most the first wrong step.
    clean = [row.wrong / row.num_steps for row in rows if row.wrong is not None]
    if clean:
        label = "uniform cuts that keep no wrong step"
        figures.append(rate_figure("localisation/clean", label, clean))
    known = [
        (row.exact_success, row.uniform_success, row.start_success)
        for row in rows
        if row.exact_success is not None
        and row.uniform_success is not None
        and row.start_success is not None
    ]
    if known:
        exact, uniform, start = zip(*known, strict=True)
        figures += [
            rate_figure("localisation/first_error_success", "success from the first error", exact),
            difference_figure(
                "localisation/first_error_gain",
                "gain of resets at the first error over those at a random step",
                exact,
                uniform,
            ),
            difference_figure(
                "localisation/over_start",
                "gain of resets at the first error over the start",
                exact,
                start,
            ),
        ]
    return figures
