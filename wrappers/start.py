"""StartWrapper: the base of every wrapper that moves where an episode begins.

A subclass writes one method, `start(state, rng) -> ReasonState`. Its function travels inwards with
the reset's options, and the environment applies all of them, the innermost first, to the problem's
initial state: one reset through the whole stack, whatever its depth, and nothing has changed if a
start is refused.

Laws: `options={"state": s}` wins over every start wrapper; `options={"problem": id}` lets them act;
at probability 0 the stack is the bare environment bit for bit, because a wrapper draws only from a
generator of its own. That generator is seeded by `reset(seed=...)`, one child of the seed a
wrapper, so that two of a kind in one stack do not draw the same.
"""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from reason_env.env import STARTS_OPTION, reason_env_of
from reason_env.errors import ConfigError
from reason_env.snapshot import Commit, KeptGenerator, checked_rng, rng_to_json
from reason_env.state import ReasonState, checked_fraction
from reason_env.tabular import TabularEnv

CHILD = 0x5747
"""Keeps the wrappers' children of a seed apart from everybody else's."""


class WatchingWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A wrapper that sees how each episode ends, and can be written into a snapshot."""

    def __init__(self, env: gym.Env[Any, Any], **saved: Any) -> None:
        """Wraps `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            saved: The subclass's arguments, JSON-able where the stack is to be a spec.
        """
        recorded = {key: _listed(value) for key, value in saved.items()}
        # A policy that is rolled in is not copied.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **recorded)
        gym.Wrapper.__init__(self, env)
        self._look_below(env)

    def _look_below(self, env: gym.Env[Any, Any]) -> None:
        if isinstance(env.unwrapped, TabularEnv):
            raise ConfigError(
                f"{type(self).__name__} must wrap a stack on ReasonEnv, got a TabularEnv, whose "
                "states are numbers: without a text to show, to score or to choose; use "
                "ResetToState or PrefixRollin there"
            )
        self.reason_env = reason_env_of(env)

    def ended(self, state: ReasonState) -> None:
        """Called with the last state of each episode; does nothing here."""

    def memory(self) -> dict[str, Any]:
        """Returns what the wrapper remembers, JSON-able; nothing here."""
        return {}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        del data
        return lambda: None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the stack; at an episode's end its last state is looked at."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self.ended(self.reason_env.state)
        return obs, reward, terminated, truncated, info

    def to_snapshot(self) -> dict[str, Any]:
        """Returns the memory, JSON-able; see `reason_env.snapshot.stack`."""
        return {"memory": self.memory()}

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Checks what `to_snapshot` wrote; returns what makes it this wrapper's state."""
        return self.read_memory(data["memory"])


class DrawingWrapper(WatchingWrapper):
    """A wrapper with a generator of its own, seeded by a child of the reset's seed."""

    _own_rng: Any = KeptGenerator()

    def __init__(self, env: gym.Env[Any, Any], **saved: Any) -> None:
        """Wraps `env`; see `WatchingWrapper`."""
        super().__init__(env, **saved)
        self._place = sum(isinstance(layer, DrawingWrapper) for layer in layers_below(env))

    @property
    def rng(self) -> np.random.Generator:
        """The wrapper's generator; of fresh entropy until a reset is seeded."""
        rng = self._own_rng
        if rng is None:
            rng = self._own_rng = np.random.default_rng()
        return rng

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack; a seed also seeds the wrapper's own generator."""
        self.reseed(seed)
        return self.env.reset(seed=seed, options=options)

    def reseed(self, seed: int | None) -> None:
        """Seeds the generator with this wrapper's child of `seed`, if there is a seed."""
        if seed is not None:
            child = np.random.SeedSequence(seed, spawn_key=(CHILD, self._place))
            self._own_rng = np.random.default_rng(child)

    def to_snapshot(self) -> dict[str, Any]:
        """Returns the generator and the memory, JSON-able; see `reason_env.snapshot.stack`."""
        rng = DrawingWrapper._own_rng.written(self) or rng_to_json(self.rng)
        return {"rng": rng, "memory": self.memory()}

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Checks what `to_snapshot` wrote; returns what makes it this wrapper's state."""
        rng, remember = checked_rng(data["rng"]), self.read_memory(data["memory"])

        def commit() -> None:
            self._own_rng = rng
            remember()

        return commit


class StartWrapper(DrawingWrapper):
    """Moves the start of an episode, with a probability; a subclass says where to."""

    tabular_form: ClassVar[type["StartWrapper"] | None] = None
    """What the class becomes on a `TabularEnv`; None where it is refused."""

    def __new__(
        cls, env: gym.Env[Any, Any] | None = None, *args: Any, **kwargs: Any
    ) -> "StartWrapper":
        """Makes the form that fits the environment below, as `pathlib.Path` does.

        Without an environment, as copy and pickle call it, the class itself.
        """
        on_tabular = env is not None and isinstance(env.unwrapped, TabularEnv)
        form: Any = cls.tabular_form if on_tabular else None
        return super().__new__(form or cls)

    def __init__(self, env: gym.Env[Any, Any], *, probability: float = 1.0, **saved: Any) -> None:
        """Wraps `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            probability: Of acting at a reset, 0..1.
            saved: The subclass's other arguments, for the spec.
        """
        self.probability = checked_fraction(probability, "probability")
        super().__init__(env, probability=self.probability, **saved)
        self.has_acted = False

    def start(self, state: ReasonState, rng: np.random.Generator) -> ReasonState:
        """Returns where to begin instead of `state`; `state` itself to leave it."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack; the start is moved unless the options hold a state."""
        self.has_acted = False
        given = dict(options or {})
        if "state" in given:
            return super().reset(seed=seed, options=options)
        given[STARTS_OPTION] = (self._begin, *given.get(STARTS_OPTION, ()))
        return super().reset(seed=seed, options=given)

    def _begin(self, state: ReasonState) -> ReasonState:
        if self.probability < 1.0 and self.rng.random() >= self.probability:
            return state
        moved = self.start(state, self.rng)
        self.has_acted = moved is not state
        return moved

    def memory(self) -> dict[str, Any]:
        """Returns whether the wrapper moved this episode's start."""
        return {"has_acted": self.has_acted}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        has_acted = bool(data["has_acted"])

        def commit() -> None:
            self.has_acted = has_acted

        return commit


def layers_below(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    """Returns the layers of a stack, from the outside in, the environment included."""
    layers: list[gym.Env[Any, Any]] = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _listed(value: Any) -> Any:
    """Returns the value as JSON reads it back: a tuple is a list."""
    if isinstance(value, (tuple, list)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
