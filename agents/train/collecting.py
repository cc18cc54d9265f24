"""Collect episodes for a session: from given starts, or from all starts of an iteration."""

from collections.abc import Sequence

import numpy as np

from reason_env.agents.methods import collect_rounds
from reason_env.agents.rollout import RolloutBatch, Start, collect, initial_states
from reason_env.agents.train.session import Session


def collect_iteration(session: Session) -> RolloutBatch:
    """Collect the starts that the method plans, then those it asks for after seeing rewards."""
    config = session.config
    ids = config.chosen(session.problem_ids, session.iteration)
    states = initial_states(session.env, ids, seed=config.seed_of("starts", session.iteration))
    rng, seeds = session.rng("starts"), session.rng("sampling")
    _, batch = collect_rounds(
        session.method, states, lambda starts: collect_starts(session, starts, seeds), rng
    )
    return batch


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
