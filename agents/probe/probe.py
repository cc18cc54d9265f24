"""probe(): measure a model on some problems within a time, and judge every method.

Order: episodes of the problems themselves; then the measurements that follow them up, each on the
first problems that it applies to, as far as its share of the remaining time goes. The timed update
comes last. Time that a measurement does not use goes to the later ones.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reason_env.agents.methods import GRPOConfig, RRPOConfig, method_names
from reason_env.agents.probe.boundary import place_on_map
from reason_env.agents.probe.budget import Clock, Limits, block_sizes, run_blocks
from reason_env.agents.probe.command import train_command
from reason_env.agents.probe.config import ProbeConfig
from reason_env.agents.probe.entropy import entropy_findings, entropy_rows
from reason_env.agents.probe.explanations import explanation_findings, explanation_rows
from reason_env.agents.probe.figure import Figure, Findings, Section
from reason_env.agents.probe.gates import Gate, Judgement, combined, judged
from reason_env.agents.probe.guided import guided_findings, guided_rows
from reason_env.agents.probe.localisation import localisation_findings, localisation_rows
from reason_env.agents.probe.mistakes import mistakes_findings, mistakes_rows
from reason_env.agents.probe.preconditions import preconditions
from reason_env.agents.probe.report import ProbeReport
from reason_env.agents.probe.speed import (
    SampledBlock,
    sampled_block,
    speed_figures,
    timed_update,
    trial_samples,
)
from reason_env.agents.probe.subject import Subject, has_failed, state_of
from reason_env.agents.probe.success import (
    NO_SOLUTION,
    failed_chain,
    reference_findings,
    success_findings,
)
from reason_env.agents.rollout import Group, Start, initial_states
from reason_env.agents.runs import tree_of
from reason_env.agents.train import Session, TrainConfig
from reason_env.errors import ConfigError, ModelError
from reason_env.state import PRESETS, ReasonState

OnProgress = Callable[[str], None]
BASE_WEIGHT = 0.35
"""Share of the time for the episodes of the problems themselves."""
UPDATE_S = 0.05
"""Share of the time that is kept for the timed update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One follow-up measurement."""

    name: str
    title: str
    weight: float
    """Share of the time, relative to the measurements that follow."""
    episodes: int
    """Episodes of each problem, to foresee what it costs."""
    applies: Callable[[Group], bool]
    """Whether a problem's group can be measured."""
    why_none: str
    """Why nothing was measured if it applies to no problem."""
    rows: Callable[[Subject, Sequence[Group], int], Sequence[Any]]
    findings: Callable[[Sequence[Any]], Findings]


def measurements(config: ProbeConfig) -> tuple[Measurement, ...]:
    """Return the follow-up measurements, in order."""
    shares = config.shares
    return (
        Measurement(
            name="guided",
            title="Unsolved problems with part of the reference solution",
            weight=0.4,
            episodes=config.again * (1 + 2 * len(shares)),
            applies=lambda group: has_failed(group) and bool(state_of(group).problem.solution),
            why_none="no unsolved problem has a reference solution",
            rows=lambda subject, groups, seed: guided_rows(subject, groups, seed, shares),
            findings=lambda rows: guided_findings(rows, shares),
        ),
        Measurement(
            name="mistakes",
            title="Failed problems with their wrong answers listed",
            weight=0.2,
            episodes=2 * config.again,
            applies=has_failed,
            why_none="no problem failed in all its samples",
            rows=mistakes_rows,
            findings=mistakes_findings,
        ),
        Measurement(
            name="explanations",
            title="Explanations of the given answer",
            weight=0.15,
            episodes=1,
            applies=lambda group: True,
            why_none="no problem was sampled",
            rows=explanation_rows,
            findings=explanation_findings,
        ),
        Measurement(
            name="localisation",
            title="Resets of failed responses",
            weight=0.2,
            episodes=3 * RRPOConfig().num_reset + 1,
            applies=lambda group: failed_chain(group) is not None,
            why_none="no failed response has several steps",
            rows=localisation_rows,
            findings=localisation_findings,
        ),
        Measurement(
            name="entropy",
            title="Entropy and first errors",
            weight=0.05,
            episodes=0,
            applies=lambda group: True,
            why_none="no problem was sampled",
            rows=entropy_rows,
            findings=entropy_findings,
        ),
    )


def probe(
    session: Session,
    config: ProbeConfig,
    *,
    given: TrainConfig | None = None,
    on_progress: OnProgress = lambda text: None,
    clock: Clock = time.monotonic,
) -> ProbeReport:
    """Measure a session's policy on its problems, and judge every method's preconditions.

    The session's weights and optimizer are the same afterwards, and it was not advanced.

    Args:
        session: Just built, with GRPO; its group size is G.
        config: Time and samples.
        given: The config that the session was built from; suggested commands name its template,
            where the session's config holds a long text. None: the session's.
        on_progress: Called with what is measured next.
        clock: In seconds.

    Raises:
        ConfigError: The session's method is not GRPO.
        ModelError: No problem's prompt fits.
    """
    run = session.config
    if not isinstance(run.method, GRPOConfig):
        raise ConfigError(f"a probe must have a session of grpo, got one of {run.name!r}")
    subject = Subject(session=session, again=config.again)
    began = clock()
    deadline = None if config.num_problems is not None else began + 60 * config.minutes
    states, notes = _states(subject, config)
    on_progress(f"sampling {run.method.group_size} responses of each problem")
    largest = max(1, run.problems_per_iteration)
    groups, blocks = _sampled(
        subject, states, config=config, clock=clock, deadline=deadline, largest=largest
    )
    sections = [_success_section(subject, states, groups, blocks, clock() - began)]
    every = measurements(config)
    todo = [own for own in every if own.name in config.sections]
    follow_up_end = None if deadline is None else deadline - 60 * config.minutes * UPDATE_S
    episode_s = sections[0].seconds / max(1, sum(block.num_rows for block in blocks))
    for at, own in enumerate(todo):
        on_progress(own.title.lower())
        left = sum(later.weight for later in todo[at:])
        now = clock()
        end = None if follow_up_end is None else now + (follow_up_end - now) * own.weight / left
        limits = Limits(own=end, last=follow_up_end, expected_s=own.episodes * episode_s)
        seed = (run.seed, 1 + every.index(own))
        sections.append(
            _section(subject, own, groups, seed=seed, limits=limits, largest=largest, clock=clock)
        )
    on_progress("timing an update")
    sections.insert(0, _speed_section(subject, groups, blocks, clock))
    figures = {figure.name: figure for section in sections for figure in section.figures}
    missing = {own.name: f"sections leave {own.name} out" for own in every if own not in todo}
    missing |= {name: why for section in sections for name, why in section.missing.items()}
    declared, undeclared = _declared(config)
    asked = _as_asked(run, run if given is None else given)
    settings = suggested(asked, groups, figures)
    return ProbeReport(
        model=run.model,
        problems=run.env.source,
        num_problems=len(session.problem_ids),
        group_size=run.method.group_size,
        problems_per_iteration=run.problems_per_iteration,
        seed=run.seed,
        minutes=(clock() - began) / 60,
        sampled_tokens=sum(section.sampled_tokens for section in sections),
        notes=(*notes, *_notes(sections)),
        judgements=tuple(
            _judgement(name, gates, figures, missing, settings) for name, gates in declared.items()
        ),
        undeclared=undeclared,
        sections=tuple(sections),
        settings=tree_of(asked),
    )


def suggested(
    run: TrainConfig, groups: Sequence[Group], figures: dict[str, Figure]
) -> tuple[TrainConfig, int]:
    """Return the config and the group size to train with.

    max_tokens: twice as many if a tenth of the responses is truncated, else a quarter more than the
    longest response needs, in multiples of 32, never more than now. Group size: the smallest of 8,
    16, ... at which 30 % of the groups have signal; twice the measured one if none has.
    """
    assert isinstance(run.method, GRPOConfig), "checked by probe()"
    budget = run.env.max_tokens
    items = [item for group in groups for item in group.trajectories]
    truncated = sum(item.outcome == "truncated" for item in items) / max(1, len(items))
    longest = max((len(item.completion_ids) for item in items), default=budget)
    fitting = 32 * -(-5 * longest // 128)
    max_tokens = 2 * budget if truncated > 0.1 else min(budget, fitting)
    size = run.method.group_size
    signals = {own: figures.get(f"success/signal_at_{own}") for own in (8, 16, 32, 64)}
    signals[size] = figures.get("success/signal")
    enough = [own for own, figure in sorted(signals.items()) if figure and figure.estimate >= 0.3]
    group_size = max(min(enough), min(8, size)) if enough else 2 * size
    env = run.env if run.env.stack is not None else replace(run.env, max_tokens=max_tokens)
    return replace(run, env=env), group_size


def _as_asked(run: TrainConfig, given: TrainConfig) -> TrainConfig:
    """Return the session's config with the environment as it was asked for.

    A template that "auto" stands for is named; examples are drawn again by name.
    """
    env = given.env
    if env.stack is None and run.env.template in PRESETS:
        env = replace(env, template=run.env.template)
    return replace(run, env=env)


def _states(subject: Subject, config: ProbeConfig) -> tuple[list[ReasonState], list[str]]:
    """Return the states of the problems in a random order, without those that do not fit."""
    run, session = subject.session.config, subject.session
    ids = session.problem_ids
    order = np.random.default_rng([run.seed, 0]).permutation(len(ids))
    wanted = min(len(ids), config.num_problems or config.max_problems)
    chosen = [ids[int(at)] for at in order[:wanted]]
    states = initial_states(session.env, chosen, seed=run.seed)
    kept = [state for state in states if subject.fits(state)]
    if not kept:
        raise ModelError(
            f"some problem must fit the prompt and the model, got none of {len(states)}; raise "
            "max_prompt_tokens, or lower max_tokens"
        )
    left_out = len(states) - len(kept)
    return kept, [f"{left_out} problems are too long for the prompt or the model"] * bool(left_out)


def _sampled(
    subject: Subject,
    states: Sequence[ReasonState],
    *,
    config: ProbeConfig,
    clock: Clock,
    deadline: float | None,
    largest: int,
) -> tuple[list[Group], list[SampledBlock]]:
    """Sample a group of each problem, as far as the time goes."""
    run = subject.session.config
    assert isinstance(run.method, GRPOConfig), "checked by probe()"
    size = run.method.group_size
    blocks: list[SampledBlock] = []

    def sample(own: Sequence[ReasonState], seed: int) -> tuple[Group, ...]:
        starts = [
            Start(state=state, num_samples=size, learn_from=state,
                  group=f"{at}:{state.problem.problem_id}", draw=at)
            for at, state in enumerate(own)
        ]  # fmt: skip
        batch = subject.collect(starts, seed)
        blocks.append(sampled_block(batch))
        return batch.groups

    end = None if deadline is None else clock() + BASE_WEIGHT * 60 * config.minutes
    groups, _ = run_blocks(
        states,
        sample,
        sizes=block_sizes(len(states), 4, largest),
        seed=(run.seed, 0),
        limits=Limits(own=end, last=deadline),
        clock=clock,
    )
    return groups, blocks


def _success_section(
    subject: Subject,
    states: Sequence[ReasonState],
    groups: Sequence[Group],
    blocks: Sequence[SampledBlock],
    seconds: float,
) -> Section:
    run = subject.session.config
    assert isinstance(run.method, GRPOConfig), "checked by probe()"
    found = success_findings(groups, run.method.group_size)
    references = reference_findings(
        [state_of(group) for group in groups],
        subject.reference_ids,
        subject.inner.rules.max_tokens,
    )
    return Section(
        name="success",
        title="Success without help",
        figures=(*found.figures, *references.figures),
        missing={**found.missing, **references.missing},
        num_problems=len(groups),
        num_eligible=len(states),
        sampled_tokens=sum(block.sampled_tokens for block in blocks),
        seconds=seconds,
    )


def _section(
    subject: Subject,
    own: Measurement,
    groups: Sequence[Group],
    *,
    seed: tuple[int, int],
    limits: Limits,
    largest: int,
    clock: Clock,
) -> Section:
    """Run one follow-up measurement, as far as its time goes."""
    engine = subject.session.policy.engine
    tokens, began = engine.num_sampled_tokens, clock()
    items = [group for group in groups if own.applies(group)]
    rows, done = run_blocks(
        items,
        lambda block, block_seed: own.rows(subject, block, block_seed),
        sizes=block_sizes(len(items), 2, largest),
        seed=seed,
        limits=limits,
        clock=clock,
    )
    if not items:
        has_solutions = any(state_of(group).problem.solution for group in groups)
        why = own.why_none if has_solutions or own.name != "guided" else NO_SOLUTION
        found = Findings(missing={own.name: why})
    elif not done:
        found = Findings(missing={own.name: "there was no time left; give more minutes"})
    else:
        found = own.findings(rows)
    return Section(
        name=own.name,
        title=own.title,
        figures=found.figures,
        missing=found.missing,
        num_problems=done,
        num_eligible=len(items),
        sampled_tokens=engine.num_sampled_tokens - tokens,
        seconds=clock() - began,
    )


def _speed_section(
    subject: Subject, groups: Sequence[Group], blocks: Sequence[SampledBlock], clock: Clock
) -> Section:
    session, began = subject.session, clock()
    run = session.config
    assert isinstance(run.method, GRPOConfig), "checked by probe()"
    samples = trial_samples(groups, run.learner.micro_batch_tokens)
    trained = timed_update(session, samples) if samples else None
    figures = speed_figures(
        blocks,
        trained,
        groups,
        group_size=run.method.group_size,
        problems_per_iteration=run.problems_per_iteration,
        updates_per_iteration=run.learner.updates_per_iteration * run.learner.epochs,
    )
    return Section(
        name="speed",
        title="Speed, memory and what a budget buys",
        figures=tuple(figures),
        missing={} if trained else {"speed/trained": "no response was graded"},
        num_problems=len(groups),
        num_eligible=len(groups),
        sampled_tokens=0,
        seconds=clock() - began,
    )


def _declared(config: ProbeConfig) -> tuple[dict[str, tuple[Gate, ...]], tuple[str, ...]]:
    """Return method -> gates, and the methods without any."""
    names = (*method_names(), "cpi")
    found = {name: preconditions(name, config) for name in names}
    declared = {name: gates for name, gates in found.items() if gates is not None}
    return declared, tuple(name for name in names if name not in declared)


def _judgement(
    name: str,
    gates: Sequence[Gate],
    figures: dict[str, Figure],
    missing: dict[str, str],
    settings: tuple[TrainConfig, int],
) -> Judgement:
    results = tuple(judged(gate, figures, missing) for gate in gates)
    status = combined(gates, results)
    config, group_size = settings
    is_next = status in ("holds", "undecided")
    return Judgement(
        method=name,
        status=status,
        gates=results,
        command=train_command(name, config, group_size=group_size) if is_next else None,
        place=place_on_map(name, figures),
    )


def _notes(sections: Sequence[Section]) -> list[str]:
    return [
        f"{section.title}: {section.num_left_out} of {section.num_eligible} problems were left "
        "out, for lack of time"
        for section in sections
        if section.num_left_out
    ]
