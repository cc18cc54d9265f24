"""One iteration of training: collect episodes, update the policy, measure both."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reason_env.agents.metrics import Number
from reason_env.agents.rollout import (
    RolloutBatch,
    TrainingSample,
    Trajectory,
    advantage_metrics,
    discarded_metrics,
    episode_rows,
    is_trained_as_sampled,
    mismatch_metrics,
    role_metrics,
    rollout_metrics,
    signal_metrics,
    source_metrics,
    staleness_metrics,
    trained_rows,
    trainer_scores,
)
from reason_env.agents.train.collecting import ProblemDraws, collect_iteration
from reason_env.agents.train.session import Session
from reason_env.env import chooses_problems
from reason_env.errors import VerifierError

NOTHING_SAMPLED: Mapping[str, Number] = {
    "rollout/num_trajectories": 0,
    "rollout/num_groups": 0,
    "rollout/sampled_tokens": 0,
}
"""Rollout metrics of an iteration that trains on earlier samples only."""

Adjust = Callable[[list[TrainingSample]], list[TrainingSample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the loop writes of an iteration."""

    metrics: dict[str, Number]
    episodes: list[dict[str, Any]]
    """The first episodes as rows of `episodes/`, at most `episodes_per_iteration`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration(Written):
    """What one iteration of a language-model method collected and measured."""

    batch: RolloutBatch


def iterate(session: Session, *, adjust: Adjust = list) -> Iteration:
    """Collect episodes and train on them; advances the session by one iteration.

    Args:
        session: Prepared.
        adjust: Changes the training samples before the update; for measurements.

    Raises:
        VerifierError: The verifier failed on more than `max_ungraded_fraction` of the episodes.
    """
    config, engine = session.config, session.policy.engine
    done_before = session.run_share
    session.iteration += 1
    began = time.perf_counter()
    num_prefill_tokens, num_restarts = engine.num_prefill_tokens, engine.num_restarts
    num_reused_tokens = engine.num_reused_tokens
    found = collect_iteration(session)
    collected = time.perf_counter()
    problems, batch = found.problems, found.batch
    trajectories = batch.trajectories
    session.sampled_tokens_total += problems.measured_tokens + _num_sampled_tokens(trajectories)
    check_verifier(trajectories, config.max_ungraded_fraction)
    with session.method.served_by(found.services):
        samples = session.method.training_samples(batch.groups, session.rng("merging"))
    if config.zero_advantages:
        samples = [replace(sample, advantage=0.0) for sample in samples]
    samples = adjust(samples)
    rows = trained_rows(trajectories, samples)
    run_share = (done_before, session.run_share)
    learned = _learned_episodes(session, trajectories, samples, rows)
    comparing_began = time.perf_counter()
    scores = trainer_scores(
        session.policy, trajectories, config.sampling, config.engine.mismatch, learned=learned
    )
    learning_began = time.perf_counter()
    update = _update(session, samples, trajectories, run_share) if samples else {}
    learning_ended = time.perf_counter()
    old = session.learner.old_log_probs
    scores |= {number: tuple(map(float, old[row].numpy())) for number, row in learned.items()}
    mismatch = mismatch_metrics(trajectories, scores, config.engine.mismatch)
    episodes = episode_rows(
        trajectories,
        config.episodes_per_iteration,
        samples=samples,
        rows=rows,
        old_log_probs=old if samples else {},
    )
    ended = time.perf_counter()
    metrics = {
        **(rollout_metrics(batch.groups) if batch.groups else NOTHING_SAMPLED),
        **session.method.metrics(batch.groups),
        **_measured_metrics(problems),
        **found.services.counts.metrics("rollout"),
        **(_drawn_metrics(problems) if chooses_problems(session.env) else {}),
        **discarded_metrics(trajectories, rows),
        **(staleness_metrics(trajectories) if config.engine.max_staleness else {}),
        "rollout/sampled_tokens_total": session.sampled_tokens_total,
        "rollout/prefilled_tokens": engine.num_prefill_tokens - num_prefill_tokens,
        "rollout/reused_tokens": engine.num_reused_tokens - num_reused_tokens,
        "rollout/engine_restarts": engine.num_restarts - num_restarts,
        **mismatch,
        **advantage_metrics(samples),
        **signal_metrics(samples),
        **update,
        "update/num_updates_total": session.policy.policy_version,
        "time/rollout_s": collected - began - batch.grading_s,
        "time/grade_s": batch.grading_s,
        "time/update_s": ended - collected,
        "time/sampling_s": batch.sampling_s,
        "time/mismatch_s": learning_began - comparing_began,
        "time/learning_s": learning_ended - learning_began,
        "time/iteration_s": ended - began,
    }
    return Iteration(batch=batch, metrics=metrics, episodes=episodes)


def _learned_episodes(
    session: Session,
    trajectories: Sequence[Trajectory],
    samples: Sequence[TrainingSample],
    rows: Sequence[int | None],
) -> dict[int, int]:
    """Number the trajectories that the update scores as they were sampled, with their samples."""
    config = session.config
    # Dropout changes what a learning pass computes, and CPI may learn more than once.
    is_repeated = config.lora.dropout > 0 or session.conservative is not None
    if is_repeated or not config.engine.mismatch.sequences:
        return {}
    return {
        number: row
        for number, (item, row) in enumerate(zip(trajectories, rows, strict=True))
        if row is not None
        and not item.staleness
        and session.learner.scores(samples[row])
        and is_trained_as_sampled(item, samples[row], config.sampling)
    }


def _update(
    session: Session,
    samples: Sequence[TrainingSample],
    trajectories: Sequence[Trajectory],
    run_share: tuple[float, float],
) -> dict[str, Number]:
    """Update the policy, if the config has `cpi` only as far as its test accepts; give metrics."""
    rng = session.rng("updates")
    tested: dict[str, Number] = {}
    if session.conservative is None:
        report = session.learner.update(samples, rng, run_share=run_share)
    else:
        report, measured = session.conservative.update(
            samples,
            rng,
            problem_ids=session.method.trained_problems(session.problem_ids),
            seed=session.config.seed_of("conservative", session.iteration),
            run_share=run_share,
        )
        session.sampled_tokens_total += int(measured["cpi/tokens_advantage"] or 0)
        tested = {**measured, "cpi/tokens_candidate": _num_sampled_tokens(trajectories)}
    return {
        **report.metrics,
        **tested,
        **role_metrics(report.metrics_by_role),
        **source_metrics(report.metrics_by_source),
    }


def _measured_metrics(problems: ProblemDraws) -> dict[str, Number]:
    """Count what was measured when problems were first drawn; nothing for other methods."""
    if not problems.measured_tokens and not problems.num_left_out:
        return {}
    return {
        "rollout/preparation_tokens": problems.measured_tokens,
        "rollout/left_out_problems": problems.num_left_out,
    }


def _drawn_metrics(problems: ProblemDraws) -> dict[str, Number]:
    """Count the problems that the stack chose: distinct ones, and the share of each level."""
    drawn = [state.problem for state in problems.states]
    levels = Counter(problem.level for problem in drawn)
    return {
        "rollout/drawn_problems": len({problem.problem_id for problem in drawn}),
        **{
            f"rollout/drawn_fraction/level_{level}": count / len(drawn)
            for level, count in sorted(levels.items())
        },
    }


def _num_sampled_tokens(trajectories: Sequence[Trajectory]) -> int:
    return sum(item.num_sampled_tokens for item in trajectories)


def check_verifier(trajectories: Sequence[Trajectory], max_fraction: float) -> None:
    """Check that the verifier decided about enough episodes.

    Raises:
        VerifierError: It failed on more than this fraction.
    """
    failed = sum(item.is_undecided for item in trajectories)
    if failed > max_fraction * len(trajectories):
        raise VerifierError(
            f"the verifier must grade most responses, got {failed} of {len(trajectories)} failed; "
            "see `reason` in the run's episodes, or raise max_ungraded_fraction"
        )
