"""PrefixRollin: begin part-way along a chain that somebody else wrote.

Token-exact: the prefix is cut at a step's token boundary, each token marked with who wrote it, and
nothing is ever written out and read again. With a policy as source this is classical
roll-in/roll-out. With conditioning "prompt" the prefix is shown as guidance, so that the policy may
restate, skip or backtrack; the response then starts empty.

Not covered: choosing prefixes by a language model's success before training (POPE's own search);
the schedules do it in the episodes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
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

    tabular_form = "TabularPrefixRollin"

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
        """Wraps `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            source: Who wrote the prefix: the "reference" solution, a remembered "trajectory" (the
                stack's own successes and what `add` is given), or a policy that is rolled in.
            fraction: Lowest and highest share of the chain's steps, or one share; drawn uniformly.
                (0, 1) where neither this nor `steps` is given.
            steps: The same as a number of steps.
            conditioning: "response": the prefix is the beginning of the response. "prompt": it is
                shown beside the question.
            probability: Of acting at a reset, 0..1.
            schedule: Decides where in the range, instead of chance.
            capacity: Trajectories remembered (source "trajectory" only).
        """
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
        """Remembers a chain to take prefixes of; see `Archive.add`.

        Raises:
            StateError: It is no chain of this environment, or the source is another one.
        """
        if self.source != "trajectory":
            raise StateError(
                f"source must be 'trajectory' for add(), got {shown(self.source)}; make "
                "PrefixRollin(env, source='trajectory')"
            )
        self.archive.add(trajectory)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack; the schedule counts an episode only if the wrapper was asked for it."""
        self._was_scheduled = False
        return super().reset(seed=seed, options=options)

    def start(self, state: ReasonState, rng: np.random.Generator) -> ReasonState:
        """Returns the state after a prefix."""
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
        # A prefix begins with what the response has already, and says more.
        if len(prefix) <= known or prefix[:known] != state.response:
            return state
        if self.conditioning == "prompt":
            return state.with_guidance(Guidance("partial_solution", chain.steps[:num_steps]))
        return with_response_of(state, chain, num_steps)

    def ended(self, state: ReasonState) -> None:
        """Tells the schedule, and remembers the stack's own success."""
        if state.verdict is not None and not state.verdict.is_graded:
            return
        is_success = state.verdict is not None and state.verdict.is_correct
        if self.schedule is not None and self._was_scheduled:
            self._schedule_memory = self.schedule.noted(
                self._schedule_memory, state.problem.problem_id, is_success=is_success
            )
        if self.source == "trajectory" and is_success:
            self.archive.add(state)

    def memory(self) -> dict[str, Any]:
        """Returns the schedule's memory and the archive."""
        return super().memory() | {
            "schedule": self._schedule_memory,
            "was_scheduled": self._was_scheduled,
            "archive": self.archive.to_json(),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        remember, archive = super().read_memory(data), self.archive.read(data["archive"])
        schedule, was_scheduled = dict(data["schedule"]), bool(data["was_scheduled"])

        def commit() -> None:
            remember()
            self.archive = archive
            self._schedule_memory, self._was_scheduled = schedule, was_scheduled

        return commit

    def _share(self, state: ReasonState) -> float:
        assert self.schedule is not None, "asked for only where there is one"
        return self.schedule.share(self._schedule_memory, state.problem.problem_id)

    def _after_reference(self, state: ReasonState, share: float) -> ReasonState:
        num_steps = self._count(share, len(state.problem.solution))
        if self.conditioning == "response":
            return with_reference_prefix(state, num_steps)
        delimiter = state.codec.step_delimiter
        guidance = solution_guidance(state.problem, num_steps, delimiter=delimiter)
        return state if guidance is None else state.with_guidance(guidance)

    def _count(self, share: float, num_steps: int) -> int:
        """Returns the number of steps at `share` of the range, of a chain of `num_steps`."""
        if self.is_share:
            return steps_of_fraction(self.low + share * (self.high - self.low), num_steps)
        width = int(self.high - self.low)
        # Drawn, each whole number is as likely as any other; scheduled, the ends are reached.
        place = int(share * (width + 1)) if self.schedule is None else round(share * width)
        return min(int(self.low) + place, num_steps)

    def _chain(self, state: ReasonState, rng: np.random.Generator) -> ReasonState | None:
        if self.source == "trajectory":
            chains = self.archive.of_problem(state.problem.problem_id)
            return chains[int(rng.integers(len(chains)))].state if chains else None
        policy = cast("RollinPolicy", self.source)
        tokens = list(policy(state, rng))
        eos = state.codec.eos_id
        return state.extend(tokens[: tokens.index(eos)] if eos in tokens else tokens, "reset")


def _range(fraction: Range | None, steps: int | Sequence[int] | None) -> tuple[float, float, bool]:
    """Returns lowest, highest and whether they are shares of the chain."""
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
    pair = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
    if len(pair) != 2:
        raise ConfigError(f"{name} must be one number or (low, high), got {shown(given)}")
    return pair[0], pair[1]
