"""Preparation: what a method samples before training to measure its problems and choose among them.

Its tokens count as training tokens: a budget without them would favour methods that search.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from reason_env.agents.rollout import Group, RolloutBatch, Start, initial_starts
from reason_env.agents.runs import cut_file
from reason_env.agents.train.collecting import collect_starts
from reason_env.agents.train.session import RunSession
from reason_env.env import ReasonEnv, reason_env_of, recorders
from reason_env.errors import ConfigError
from reason_env.snapshot import restore

STARTS_AT_ONCE = 64
"""Limits are checked after each batch of this many starts."""
OnPrepared = Callable[[int, int, int], None]
"""Called with the starts sampled, the starts planned, and all tokens so far."""


def prepare(
    session: RunSession,
    *,
    on_prepared: OnPrepared = lambda done, planned, tokens: None,
    deadline: float | None = None,
) -> None:
    """Let the method measure its problems and choose those to train on; once per session.

    Args:
        session: Before its first iteration, or just resumed.
        on_prepared: Called after every `STARTS_AT_ONCE` starts.
        deadline: `time.monotonic()` after which sampling stops with an error; None for no limit.

    Raises:
        ConfigError: The budget cannot hold the preparation, or the preparation spent all of it or
            all the time.
    """
    if session.is_prepared:
        return
    config = session.config
    if session.iteration == 0:
        check_budget(session)
    drawn = initial_starts(session.env, session.problem_ids, seed=config.seed_of("preparation", 0))
    seeds = np.random.default_rng(config.seed_of("preparation", 1))
    counted = CountedCollect(
        lambda starts: collect_starts(session, starts, seeds, drawn),
        max_tokens=config.max_generated_tokens if session.iteration == 0 else None,
        max_minutes=config.max_minutes,
        deadline=deadline,
        on_prepared=on_prepared,
    )
    chosen = session.method.prepare([start.state for start in drawn], counted)
    counted.add(session.method.prepared_tokens)
    session.sampled_tokens_total += counted.sampled_tokens
    session.problem_ids = [state.problem.problem_id for state in chosen]
    if session.stack_snapshot is not None:
        # Only now: the method sees the starts that it saw before the first iteration.
        restore(session.env, session.stack_snapshot)
        for own in recorders(session.env):
            cut_file(own.path, own.end)
    session.is_prepared = True


def check_budget(session: RunSession) -> None:
    """Check that the budget can hold the method's preparation and one iteration.

    A response of the preparation is taken to be as long as the shortest reference response, since
    the preparation is lost if the budget ends in it; one of the iteration has one token, since a
    run may end with the iteration that exceeds the budget.

    Raises:
        ConfigError: It cannot.
    """
    config, method = session.config, session.method
    budget = config.max_generated_tokens
    if budget is None:
        return
    inner = reason_env_of(session.env)
    prepared = method.prepared_responses(len(session.problem_ids))
    planned = method.planned_responses * config.problems_per_iteration
    length = _shortest_reference(inner) if prepared else 1
    least = prepared * min(length, inner.rules.max_tokens) + planned
    if budget >= least:
        return
    before = f"{prepared:,} responses before training, " if prepared else ""
    measured = ", or measure with fewer samples or problems (--size)" if prepared else ""
    raise ConfigError(
        f"max_generated_tokens must hold an iteration and what comes before it, got {budget:,} "
        f"tokens; {config.name} samples at least {before}{planned:,} responses in an iteration, "
        f"together {least:,} tokens or more: raise it, take fewer problems_per_iteration{measured}"
    )


def _shortest_reference(inner: ReasonEnv) -> int:
    """Count the tokens of the reference response with the fewest characters."""
    shortest = min(
        inner.problems,
        key=lambda problem: len("".join(problem.solution)) + len(problem.answer),
    )
    return len(inner.reference_ids(shortest))


class CountedCollect:
    """`Collect` for a method's `prepare`: samples in batches, counts tokens, stops at a limit."""

    def __init__(
        self,
        sample: Callable[[Sequence[Start]], RolloutBatch],
        *,
        max_tokens: int | None,
        max_minutes: float | None,
        deadline: float | None,
        on_prepared: OnPrepared,
    ) -> None:
        """Take the run's limits.

        Args:
            sample: Collects the episodes of some starts.
            max_tokens: The run's budget, which the preparation must not use up; None for no limit.
            max_minutes: The limit that `deadline` comes from, for the error message.
            deadline: `time.monotonic()` after which sampling stops; None for no limit.
            on_prepared: Called after each batch of starts.
        """
        self.sample, self.on_prepared = sample, on_prepared
        self.max_tokens, self.max_minutes, self.deadline = max_tokens, max_minutes, deadline
        self.sampled_tokens = 0

    def __call__(self, starts: Sequence[Start]) -> Sequence[Group]:
        """Collect the groups of all starts.

        Raises:
            ConfigError: The whole budget, or all the time, is spent.
        """
        groups: list[Group] = []
        for begin in range(0, len(starts), STARTS_AT_ONCE):
            self._check_time(begin, len(starts))
            batch = self.sample(starts[begin : begin + STARTS_AT_ONCE])
            groups += batch.groups
            self.add(sum(item.num_sampled_tokens for item in batch.trajectories))
            done = min(begin + STARTS_AT_ONCE, len(starts))
            self.on_prepared(done, len(starts), self.sampled_tokens)
        return groups

    def add(self, num_tokens: int) -> None:
        """Count generated tokens, also those of a measurement that was read from a cache.

        Raises:
            ConfigError: The whole budget is spent.
        """
        self.sampled_tokens += num_tokens
        if self.max_tokens is not None and self.sampled_tokens >= self.max_tokens:
            raise ConfigError(
                f"max_generated_tokens must leave tokens to train with, got {self.max_tokens!r} "
                f"and {self.sampled_tokens} in the preparation; raise it, or measure with fewer "
                "samples or problems"
            )

    def _check_time(self, done: int, planned: int) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise ConfigError(
                f"max_minutes must leave time to train, got {self.max_minutes!r} and {done} of "
                f"{planned} starts measured in the preparation; raise it, or measure with fewer "
                "samples or problems (--size)"
            )
