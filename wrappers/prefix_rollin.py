"""PrefixRollin: starts part-way along a reference solution, a recorded chain or a policy's chain.

Prefixes are exact: they are cut at a step's token boundary, each token is marked with who wrote it,
and nothing is decoded and encoded again. A policy as source gives classical roll-in/roll-out. With
conditioning "prompt" the prefix is guidance, so that the policy may restate, skip or backtrack; the
response then starts empty.

Not covered: choosing prefixes by a language model's success before training (POPE's search); the
schedules search during the episodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import Any, Literal, cast, get_args

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, StateError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import (
    Guidance,
    ReasonState,
    checked_fraction,
    last_cut,
    solution_guidance,
    steps_of_fraction,
    with_reference_prefix,
    with_response_of,
)
from reason_env.wrappers.archive import Archive
from reason_env.wrappers.schedules import Memory, Schedule, schedule_of
from reason_env.wrappers.start import StartWrapper

SourceName = Literal["reference", "trajectory"]
RollinPolicy = Callable[[ReasonState, np.random.Generator], Sequence[int]]
"""(state, generator) -> the ids of a whole continuation; an end token ends it."""
Conditioning = Literal["response", "prompt"]
Range = tuple[float, float] | Sequence[float] | float


class PrefixRollin(StartWrapper):
    r"""Starts some episodes after a prefix.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 2))
    >>> env = PrefixRollin(env, fraction=(0.5, 0.5))
    >>> obs, info = env.reset(options={"problem": "chain/test/0"})
    >>> env.unwrapped.state.text, set(env.unwrapped.state.sources)
    ('B:8*4 y=2\n', {'reference'})
    """

    tabular_advice = "use TabularPrefixRollin there"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        source: SourceName | RollinPolicy = "reference",
        *,
        fraction: Range | None = None,
        steps: int | Sequence[int] | None = None,
        conditioning: Conditioning = "response",
        probability: float = 1.0,
        schedule: Schedule | str | dict[str, Any] | None = None,
        capacity: int = 1024,
    ) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            source: Where prefixes come from: the "reference" solution; a stored "trajectory" (the
                stack's own successes, and those passed to `add`); or a policy that rolls in.
            fraction: Lowest and highest share of the chain's steps, or one share; drawn uniformly.
                (0, 1) if neither this nor `steps` is given.
            steps: The same as a number of steps.
            conditioning: "response": the prefix begins the response. "prompt": the prompt shows it.
            probability: Probability that the wrapper acts at a reset, 0..1.
            schedule: Chooses the place in the range, instead of a uniform draw.
            capacity: Largest number of stored trajectories (source "trajectory" only).
        """
        self._refuse_tabular(env)
        self.low, self.high, self.is_share = _range(fraction, steps)
        for name, value, kinds in (
            ("source", source, SourceName),
            ("conditioning", conditioning, Conditioning),
        ):
            if value not in get_args(kinds) and not (name == "source" and callable(value)):
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(kinds))}"
                    f"{' or a policy' if name == 'source' else ''}, got {shown(value)}"
                    f"{did_you_mean(str(value), get_args(kinds))}"
                )
        self.schedule = None if schedule is None else schedule_of(schedule)
        super().__init__(
            env,
            source=source,
            fraction=fraction,
            steps=steps,
            conditioning=conditioning,
            probability=probability,
            schedule=None if self.schedule is None else asdict(self.schedule),
            capacity=capacity,
        )
        self.source, self.conditioning = source, conditioning
        self.archive = Archive(self.reason_env, capacity)
        self._schedule_memory: Memory = {}
        self._was_scheduled = False

    def add(self, trajectory: ReasonState | Mapping[str, Any] | str) -> None:
        """Store a chain to take prefixes from; see `Archive.add`.

        Raises:
            StateError: It is no chain of this environment, or `source` is not "trajectory".
        """
        if self.source != "trajectory":
            raise StateError(
                f"source must be 'trajectory' for add(), got {shown(self.source)}; use "
                "PrefixRollin(env, source='trajectory')"
            )
        self.archive.add(trajectory)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack; the schedule counts the episode only if `start` made its start."""
        self._was_scheduled = False
        return super().reset(seed=seed, options=options)

    def start(self, state: ReasonState, rng: np.random.Generator) -> ReasonState:
        """Start after a prefix."""
        self._was_scheduled = self.schedule is not None
        share = float(rng.random()) if self.schedule is None else self._share(state)
        if self.source == "reference":
            return self._after_reference(state, share)
        chain = self._chain(state, rng)
        if chain is None:
            return state
        num_steps = min(self._count(share, chain.num_steps), last_cut(chain))
        prefix = chain.cut(num_steps).response
        known = len(state.response)
        # The prefix must extend the response.
        if len(prefix) <= known or prefix[:known] != state.response:
            return state
        if self.conditioning == "prompt":
            return state.with_guidance(Guidance("partial_solution", chain.steps[:num_steps]))
        return with_response_of(state, chain, num_steps)

    def ended(self, state: ReasonState) -> None:
        """Update the schedule, and store the trajectory if it succeeded."""
        if state.verdict is not None and not state.verdict.is_graded:
            return
        is_success = state.verdict is not None and state.verdict.is_correct
        if self.schedule is not None and self._was_scheduled:
            self._schedule_memory = self.schedule.updated(
                self._schedule_memory, state.problem.problem_id, is_success=is_success
            )
        if self.source == "trajectory" and is_success:
            self.archive.add(state)

    def start_memory(self) -> dict[str, Any]:
        """Whether the wrapper moved this episode's start, and whether the schedule chose it."""
        return super().start_memory() | {"was_scheduled": self._was_scheduled}

    def read_start_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `start_memory` wrote; return the function that adopts it."""
        commit_base, was_scheduled = super().read_start_memory(data), bool(data["was_scheduled"])

        def commit() -> None:
            commit_base()
            self._was_scheduled = was_scheduled

        return commit

    def memory(self) -> dict[str, Any]:
        """The schedule's memory and the archive, besides what is known of the start."""
        return super().memory() | {
            "schedule": self._schedule_memory,
            "archive": self.archive.to_json(),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        commit_base = super().read_memory(data)
        archive = self.archive.from_json(data["archive"])
        schedule = dict(data["schedule"])

        def commit() -> None:
            commit_base()
            self.archive, self._schedule_memory = archive, schedule

        return commit

    def _share(self, state: ReasonState) -> float:
        assert self.schedule is not None, "called only with a schedule"
        return self.schedule.share(self._schedule_memory, state.problem.problem_id)

    def _after_reference(self, state: ReasonState, share: float) -> ReasonState:
        num_steps = self._count(share, len(state.problem.solution))
        if self.conditioning == "response":
            return with_reference_prefix(state, num_steps)
        delimiter = state.codec.step_delimiter
        guidance = solution_guidance(state.problem, num_steps, delimiter=delimiter)
        return state if guidance is None else state.with_guidance(guidance)

    def _count(self, share: float, num_steps: int) -> int:
        """The number of steps at `share` of the range, for a chain of `num_steps`."""
        if self.is_share:
            return steps_of_fraction(self.low + share * (self.high - self.low), num_steps)
        width = int(self.high - self.low)
        # A draw makes each number equally likely; a schedule must reach both ends of the range.
        offset = int(share * (width + 1)) if self.schedule is None else round(share * width)
        return min(int(self.low) + offset, num_steps)

    def _chain(self, state: ReasonState, rng: np.random.Generator) -> ReasonState | None:
        if self.source == "trajectory":
            chains = self.archive.of_problem(state.problem.problem_id)
            return chains[int(rng.integers(len(chains)))].state if chains else None
        policy = cast("RollinPolicy", self.source)
        tokens = list(policy(state, rng))
        ends = state.codec.end_ids
        return state.extend(tuple(takewhile(lambda token: token not in ends, tokens)), "reset")


def _range(fraction: Range | None, steps: int | Sequence[int] | None) -> tuple[float, float, bool]:
    """Lowest, highest, and whether they are shares of the chain."""
    if fraction is not None and steps is not None:
        raise ConfigError(
            f"fraction and steps must not both be given, got {shown(fraction)} and {shown(steps)}; "
            "choose one"
        )
    if steps is not None:
        whole = _pair(steps, "steps")
        if not all(type(item) is int for item in whole) or not 0 <= whole[0] <= whole[1]:
            raise ConfigError(f"steps must be whole numbers 0 <= low <= high, got {shown(steps)}")
        return whole[0], whole[1], False
    low, high = (
        checked_fraction(item, "fraction")
        for item in _pair((0.0, 1.0) if fraction is None else fraction, "fraction")
    )
    if low > high:
        raise ConfigError(
            f"fraction must be (low, high) with low <= high, got {shown(fraction)}; exchange them"
        )
    return low, high, True


def _pair(given: Any, name: str) -> tuple[Any, Any]:
    is_pair = isinstance(given, (tuple, list))
    pair: tuple[Any, ...] = tuple(cast("Sequence[Any]", given)) if is_pair else (given, given)
    if len(pair) != 2:
        raise ConfigError(f"{name} must be one number or (low, high), got {shown(given)}")
    return pair[0], pair[1]
