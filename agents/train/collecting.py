"""Collect episodes for a session: from given starts, or from all starts of an iteration."""

from collections.abc import Sequence

import numpy as np

from reason_env.agents.rollout import RolloutBatch, Start, collect, initial_states, merge_batches
from reason_env.agents.train.session import Session


def collect_iteration(session: Session) -> RolloutBatch:
    """Collect the starts that the method plans, then those it asks for after seeing rewards."""
    config = session.config
    ids = config.chosen(session.problem_ids, session.iteration)
    states = initial_states(session.env, ids, seed=config.seed_of("starts", session.iteration))
    rng, seeds = session.rng("starts"), session.rng("sampling")
    starts = session.method.plan(states, rng)
    batches: list[RolloutBatch] = []
    while starts:
        batches.append(collect_starts(session, starts, seeds))
        starts = session.method.follow_up(merge_batches(batches).groups, rng)
    return merge_batches(batches)


def collect_starts(
    session: Session, starts: Sequence[Start], seeds: np.random.Generator
) -> RolloutBatch:
    """Collect the episodes of some starts with a seed drawn from `seeds`."""
    return collect(
        starts,
        env=session.env,
        policy=session.policy,
        sampling=session.config.sampling,
        seed=int(seeds.integers(2**62)),
    )
