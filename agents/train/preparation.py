"""What a method samples to measure its problems before training: counted, and within the limits.

The tokens of it are counted as training tokens: a budget that left them out would flatter the
methods that search.
"""

import time
from collections.abc import Callable, Sequence

from reason_env.agents.rollout import Group, RolloutBatch, Start
from reason_env.errors import ConfigError

STARTS_AT_ONCE = 64
"""A limit that is overrun is noticed before all of it is spent."""
OnPrepared = Callable[[int, int, int], None]
"""Is told how many starts of how many were sampled, and all tokens so far."""


class CountedCollect:
    """`Collect` for a method's `prepare`: samples in pieces, counts, and ends at a limit."""

    def __init__(
        self,
        sample: Callable[[Sequence[Start]], RolloutBatch],
        *,
        max_tokens: int | None,
        max_minutes: float | None,
        deadline: float | None,
        on_prepared: OnPrepared,
    ) -> None:
        """Takes the run's limits.

        Args:
            sample: Collects the episodes of some starts.
            max_tokens: The run's budget, of which something must be left; None for none.
            max_minutes: What the deadline was made of, for the error's text.
            deadline: `time.monotonic()` after which nothing more is sampled; None for none.
            on_prepared: Told after every `STARTS_AT_ONCE` starts of a round.
        """
        self.sample, self.on_prepared = sample, on_prepared
        self.max_tokens, self.max_minutes, self.deadline = max_tokens, max_minutes, deadline
        self.sampled_tokens = 0

    def __call__(self, starts: Sequence[Start]) -> Sequence[Group]:
        """Returns the groups of all starts.

        Raises:
            ConfigError: The whole budget is spent, or all the time.
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
        """Counts tokens, those of a measurement that was taken from a file included.

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
