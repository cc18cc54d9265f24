"""Collect episodes for a session: from given starts, or from all starts of an iteration.

A method may measure drawn problems and leave some out (POPE: those that are not hard). Then further
problems are drawn in their place, so that iterations keep their size. There are limits, because
measuring costs tokens: an iteration goes once through the problems at most, it measures in
`MAX_MEASURING_ROUNDS` rounds at most, and it draws no more once the run's budget is spent. It
trains on what it has then. Problems that a method asks for later (`more_states`) are drawn in the
same way, within the same limits.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.methods import CountedServices, collect_rounds
from reason_env.agents.rollout import (
    DrawnStart,
    Group,
    RolloutBatch,
    Start,
    chosen_starts,
    collect,
    initial_starts,
)
from reason_env.agents.train.session import RunSession, Session
from reason_env.env import chooses_problems
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

MAX_MEASURING_ROUNDS = 4
"""Rounds of an iteration in which drawn problems are measured."""
_log = logging.getLogger(__name__)


class ProblemDraws:
    """Draws the problems of one iteration; each draw advances the session's `num_drawn`."""

    def __init__(self, session: Session) -> None:
        """Draw nothing yet."""
        self.starts: list[DrawnStart] = []
        """Where the environment starts the problems that the method trains on."""
        self.num_drawn = 0
        """Draws of this iteration, with those that the method leaves out."""
        self.measured_tokens = 0
        """Tokens generated to measure drawn problems."""
        self.sampled_tokens = 0
        """Tokens generated otherwise in this iteration so far; they are spent too."""
        self._session = session
        self._num_rounds = 0
        self._is_drawing = False

    @property
    def states(self) -> tuple[ReasonState, ...]:
        """Where the environment starts each problem."""
        return tuple(start.state for start in self.starts)

    @property
    def num_left_out(self) -> int:
        """Drawn problems that the method leaves out."""
        return self.num_drawn - len(self.starts)

    def draw(self, num: int) -> list[ReasonState]:
        """Draw problems until the method keeps `num` more, as far as the limits allow.

        Raises:
            ConfigError: The method asks for further problems while it measures drawn ones.
        """
        if self._is_drawing:
            raise ConfigError(
                f"more_states must not be asked in `measure`, got a request for {num}; ask in plan "
                "or follow_up"
            )
        self._is_drawing = True
        session, num_before = self._session, len(self.starts)
        config, method = session.config, session.method
        most = max(config.problems_per_iteration, len(session.problem_ids))
        wanted = num_before + num
        while (missing := min(wanted - len(self.starts), most - self.num_drawn)) > 0:
            tokens = self.measured_tokens + self.sampled_tokens
            if self._num_rounds == MAX_MEASURING_ROUNDS or _is_spent(session, tokens):
                break
            seed = config.seed_of("starts", session.iteration) + self.num_drawn
            starts = draw_starts(session, missing, seed)
            measuring = _Measuring(session, starts)
            states = [start.state for start in starts]
            self.starts += _starts_of(method.measure(states, measuring), starts)
            self.num_drawn += missing
            own_tokens = measuring.sampled_tokens + method.measured_tokens
            self.measured_tokens += own_tokens
            self._num_rounds += own_tokens > 0
        self._is_drawing = False
        return [start.state for start in self.starts[num_before:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What an iteration collected."""

    problems: ProblemDraws
    batch: RolloutBatch
    services: CountedServices
    """For what the method asks after collecting."""


def collect_iteration(session: Session) -> Collected:
    """Collect the starts that the method plans, then those it asks for after seeing rewards."""
    problems = draw_problems(session)
    services = CountedServices(
        problems.states,
        draw=problems.draw,
        policy=session.policy,
        temperature=session.config.sampling.temperature,
        judges=session.judges,
        seed=session.config.seed_of("services", session.iteration),
    )
    rng, seeds = session.rng("starts"), session.rng("sampling")

    def collect_round(starts: Sequence[Start]) -> RolloutBatch:
        batch = collect_starts(session, starts, seeds, problems.starts, may_be_stale=True)
        problems.sampled_tokens += sum(item.num_sampled_tokens for item in batch.trajectories)
        return batch

    with session.method.served_by(services):
        _, batch = collect_rounds(session.method, problems.states, collect_round, rng)
    return Collected(problems=problems, batch=batch, services=services)


def draw_problems(session: Session) -> ProblemDraws:
    """Draw the problems that an iteration begins with; warn if there are too few."""
    num, problems = session.config.problems_per_iteration, ProblemDraws(session)
    problems.draw(num)
    if len(problems.starts) < num:
        _log.warning(
            "iteration %d trains on %d problems instead of %d: the method leaves out %d of the %d "
            "that were drawn",
            session.iteration,
            len(problems.starts),
            num,
            problems.num_left_out,
            problems.num_drawn,
        )
    return problems


def draw_starts(session: RunSession, num: int, seed: int) -> list[DrawnStart]:
    """Draw problems and find their starts: those of the epoch, or those that the stack chooses.

    Advances `num_drawn`.
    """
    first = session.num_drawn
    session.num_drawn += num
    if chooses_problems(session.env):
        return chosen_starts(session.env, num, among=session.problem_ids, seed=seed)
    ids = session.config.drawn(session.problem_ids, first, num)
    return initial_starts(session.env, ids, seed=seed)


def _starts_of(states: Sequence[ReasonState], drawn: Sequence[DrawnStart]) -> list[DrawnStart]:
    """Find the start of each state that a method kept; equal states in the order of their draws."""
    left, found = list(drawn), list[DrawnStart]()
    for state in states:
        start = next((one for one in left if one.state == state), None)
        if start is None:
            found.append(DrawnStart(state=state, memories=()))
        else:
            found.append(start)
            left.remove(start)
    return found


def collect_starts(
    session: RunSession,
    starts: Sequence[Start],
    seeds: np.random.Generator,
    drawn: Sequence[DrawnStart],
    *,
    may_be_stale: bool = False,
) -> RolloutBatch:
    """Collect the episodes of some starts with a seed drawn from `seeds`."""
    seed = int(seeds.integers(2**62))
    return _collect(session, starts, seed, drawn, may_be_stale=may_be_stale)


class _Measuring:
    """`Collect` for a method's `measure`: samples and counts tokens.

    The seed follows from the starts, so that a measurement that was read from a file leaves the
    others as they are.
    """

    def __init__(self, session: Session, drawn: Sequence[DrawnStart]) -> None:
        self.session, self.drawn = session, drawn
        self.sampled_tokens = 0

    def __call__(self, starts: Sequence[Start]) -> Sequence[Group]:
        """Collect the groups of all starts."""
        digest = hashlib.sha256(str(self.session.config.seed_of("preparation", 2)).encode())
        for start in starts:
            digest.update(f"\0{start.state.state_id} {start.num_samples}".encode())
        seed = int.from_bytes(digest.digest()[:8], "big") >> 2
        batch = _collect(self.session, starts, seed, self.drawn)
        self.sampled_tokens += sum(item.num_sampled_tokens for item in batch.trajectories)
        return batch.groups


def _collect(
    session: RunSession,
    starts: Sequence[Start],
    seed: int,
    drawn: Sequence[DrawnStart],
    *,
    may_be_stale: bool = False,
) -> RolloutBatch:
    return collect(
        starts,
        env=session.env,
        policy=session.policy,
        sampling=session.config.sampling,
        seed=seed,
        drawn=drawn,
        may_be_stale=may_be_stale,
        graders=session.graders,
    )


def _is_spent(session: Session, tokens: int) -> bool:
    budget = session.config.max_generated_tokens
    return budget is not None and session.sampled_tokens_total + tokens >= budget
