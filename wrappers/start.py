"""StartWrapper: the base of every wrapper that moves where an episode begins.

A subclass writes one method, `start(state, rng) -> state`. Its function travels inwards with the
reset's options, and the environment applies all of them, the innermost first, to the problem's
initial state. One reset therefore goes through the whole stack, whatever its depth, and a refused
start changes nothing.

Laws: `options={"state": s}` wins over every start wrapper; `options={"problem": id}` lets them act;
`options={"state": s, "start_memories": m}` begins another episode at a start that the stack made,
and counts for each wrapper as one that it had just made (`reason_env.env.start_memories`); at
probability 0 the stack equals the bare environment bit for bit, because each wrapper draws only
from its own generator. `reset(seed=...)` seeds it with a child of the seed, one per wrapper, so
that two wrappers of one class in a stack draw different numbers.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from reason_env.env import START_MEMORIES_OPTION, STARTS_OPTION, layers_of, reason_env_of
from reason_env.errors import ConfigError, shown
from reason_env.snapshot import Commit, LazyGenerator, checked_rng, rng_to_json
from reason_env.state import ReasonState, checked_fraction
from reason_env.tabular import TabularEnv

SPAWN_KEY = 0x5747
"""Separates the wrappers' children of a seed from all others."""


class WatchingWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A wrapper that sees how each episode ends and can be saved in a snapshot."""

    tabular_advice: ClassVar[str] = "leave it out there"
    """What to do on a `TabularEnv`: the end of the message that refuses one."""

    def __init__(self, env: gym.Env[Any, Any], **saved: Any) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            saved: The subclass's arguments; JSON-able if the stack must have a spec.
        """
        recorded = {key: _as_json(value) for key, value in saved.items()}
        # A policy among the arguments must not be copied.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **recorded)
        gym.Wrapper.__init__(self, env)
        self._find_inner_env()

    def _find_inner_env(self) -> None:
        self._refuse_tabular(self.env)
        self.reason_env = reason_env_of(self.env)

    @classmethod
    def _refuse_tabular(cls, env: gym.Env[Any, Any]) -> None:
        """Refuse a `TabularEnv`; called before other arguments, which may suit only that one."""
        if isinstance(getattr(env, "unwrapped", None), TabularEnv):
            raise ConfigError(
                f"{cls.__name__} must wrap a stack on ReasonEnv, got a TabularEnv, whose states "
                f"are numbers without text; {cls.tabular_advice}"
            )

    @property
    def chooses_problems(self) -> bool:
        """Whether the wrapper chooses the problem of a reset that names none; False by default.

        Training lets a stack choose its problems only if a wrapper of it says so here.
        """
        return False

    def ended(self, state: ReasonState) -> None:
        """Called with the last state of each episode; does nothing by default."""

    def memory(self) -> dict[str, Any]:
        """What the wrapper remembers, JSON-able; nothing by default."""
        return {}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        del data
        return lambda: None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the stack; at the end of an episode, call `ended` with its last state."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self.ended(self.reason_env.state)
        return obs, reward, terminated, truncated, info

    def to_snapshot(self) -> dict[str, Any]:
        """The memory, JSON-able; see `reason_env.snapshot`."""
        return {"memory": self.memory()}

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Check what `to_snapshot` wrote; return the function that adopts it."""
        return self.read_memory(data["memory"])


class DrawingWrapper(WatchingWrapper):
    """A wrapper with its own random generator, seeded by a child of the reset's seed."""

    _own_rng: Any = LazyGenerator()

    def __init__(self, env: gym.Env[Any, Any], **saved: Any) -> None:
        """Wrap `env`; see `WatchingWrapper`."""
        super().__init__(env, **saved)
        self._depth = sum(isinstance(layer, DrawingWrapper) for layer in layers_of(env))

    @property
    def rng(self) -> np.random.Generator:
        """The wrapper's generator; seeded from fresh entropy until a reset gives a seed."""
        rng = self._own_rng
        if rng is None:
            rng = self._own_rng = np.random.default_rng()
        return rng

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack; a seed also seeds the wrapper's generator."""
        self.reseed(seed)
        return self.env.reset(seed=seed, options=options)

    def reseed(self, seed: int | None) -> None:
        """Seed the generator with this wrapper's child of `seed`; None leaves it as it is."""
        if seed is not None:
            child = np.random.SeedSequence(seed, spawn_key=(SPAWN_KEY, self._depth))
            self._own_rng = np.random.default_rng(child)

    def to_snapshot(self) -> dict[str, Any]:
        """The generator and the memory, JSON-able; see `reason_env.snapshot`."""
        rng = DrawingWrapper._own_rng.as_text(self) or rng_to_json(self.rng)
        return {"rng": rng, "memory": self.memory()}

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Check what `to_snapshot` wrote; return the function that adopts it."""
        rng, commit_memory = checked_rng(data["rng"]), self.read_memory(data["memory"])

        def commit() -> None:
            self._own_rng = rng
            commit_memory()

        return commit


class StartWrapper(DrawingWrapper):
    """Moves the start of an episode with some probability; a subclass says where to."""

    def __init__(self, env: gym.Env[Any, Any], *, probability: float = 1.0, **saved: Any) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            probability: Probability that the wrapper acts at a reset, 0..1.
            saved: The subclass's other arguments, for the spec.
        """
        self.probability = checked_fraction(probability, "probability")
        super().__init__(env, probability=self.probability, **saved)
        self._num_starts = sum(isinstance(layer, StartWrapper) for layer in layers_of(self))
        self.has_acted = False

    def start(self, state: Any, rng: np.random.Generator) -> Any:
        """Choose the state to start from.

        Args:
            state: Where the episode would start: a `ReasonState`, or a number on a `TabularEnv`.
            rng: The wrapper's generator.

        Returns:
            Another state of the same kind, or `state` itself to leave the start as it is.
        """
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack and move its start, unless the options hold a state.

        Raises:
            ConfigError: `start_memories` without a state, or not of this stack.
        """
        self.has_acted = False
        given = dict(options or {})
        if START_MEMORIES_OPTION in given:
            return self._reset_to_own_start(given, seed)
        if "state" in given:
            return super().reset(seed=seed, options=options)
        given[STARTS_OPTION] = (self._moved, *given.get(STARTS_OPTION, ()))
        return super().reset(seed=seed, options=given)

    def _moved(self, state: Any) -> Any:
        if self.probability < 1.0 and self.rng.random() >= self.probability:
            return state
        moved = self.start(state, self.rng)
        self.has_acted = moved is not state
        return moved

    def _reset_to_own_start(
        self, given: dict[str, Any], seed: int | None
    ) -> tuple[Any, dict[str, Any]]:
        memories = given.pop(START_MEMORIES_OPTION)
        try:
            own, *inner = memories
            if "state" not in given or len(memories) != self._num_starts:
                raise ValueError("not of one start of this stack")
            commit = self.read_start_memory(own)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                "start_memories must come with a state and be those of the stack's "
                f"{self._num_starts} start wrappers, got {shown(memories)}; take both after the "
                "reset that made the start"
            ) from error
        if inner:
            given[START_MEMORIES_OPTION] = inner
        found = super().reset(seed=seed, options=given)
        commit()
        return found

    def start_memory(self) -> dict[str, Any]:
        """What the wrapper remembers of this episode's start, JSON-able: whether it moved it.

        A subclass whose `ended` needs more of it adds that here and in `read_start_memory`. In
        training several episodes begin at one start, after other starts were made.
        """
        return {"has_acted": self.has_acted}

    def memory(self) -> dict[str, Any]:
        """What the wrapper remembers of this episode's start; a subclass adds what else it does."""
        return self.start_memory()

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        return self.read_start_memory(data)

    def read_start_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `start_memory` wrote; return the function that adopts it."""
        has_acted = bool(data["has_acted"])

        def commit() -> None:
            self.has_acted = has_acted

        return commit


def _as_json(value: Any) -> Any:
    """The value as JSON reads it back: a tuple becomes a list."""
    if isinstance(value, (tuple, list)):
        return [_as_json(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in cast("dict[str, Any]", value).items()}
    return value
