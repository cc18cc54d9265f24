"""StartStack: start wrappers whose episodes are played in a vector environment.

One stack serves all episodes, so its archives and schedules see every episode, and a failure of one
can be the start of another. The stack makes each start; what its wrappers remember of it is kept
until the episode ends, and given back to them before they learn how it ended.

Not covered: wrappers that act at steps, such as `RewardShaping`; the stack is never stepped.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeGuard, runtime_checkable

import gymnasium as gym

from reason_env.env import ReasonEnv, layers_of
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

Wrap = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
"""Puts start wrappers around an environment."""


@runtime_checkable
class StartLayer(Protocol):
    """A wrapper that may choose starts or problems, and sees how an episode ends."""

    @property
    def chooses_problems(self) -> bool:
        """Whether it chooses the problem of a reset."""
        ...

    def ended(self, state: ReasonState) -> None:
        """Learn the last state of an episode."""
        ...


@runtime_checkable
class StartMaker(Protocol):
    """A wrapper that moves the start, and remembers how until the episode ends."""

    def start_memory(self) -> dict[str, Any]:
        """What it remembers of this episode's start."""
        ...

    def read_start_memory(self, data: dict[str, Any]) -> Callable[[], None]:
        """Check what `start_memory` wrote; return the function that adopts it."""
        ...


class StartStack:
    """The start wrappers of episodes with numbers, which are played elsewhere."""

    def __init__(self, env: ReasonEnv, wrap: Wrap) -> None:
        """Wrap an environment, which only the stack may use from now on.

        Raises:
            ConfigError: `wrap` adds other wrappers, or returns another environment.
        """
        self.stack = wrap(env)
        self._env = env
        *outer, inner = layers_of(self.stack)
        if inner is not env:
            raise ConfigError(
                "wrap must return its argument within start wrappers, got another environment; "
                "return PrefixRollin(env, ...)"
            )
        self._layers = [layer for layer in outer if _chooses(layer)]
        self._makers = [layer for layer in outer if isinstance(layer, StartMaker)]
        other = [type(layer).__name__ for layer in outer if not _chooses(layer)]
        if other:
            raise ConfigError(
                f"wrap must add wrappers that choose starts or problems, got {other[0]}, which "
                "would not see the steps; use DummyVecEnv of wrapped environments"
            )
        self._memories: dict[int, list[dict[str, Any]]] = {}

    def begin(self, index: int, *, seed: int | None, options: Mapping[str, Any]) -> ReasonState:
        """Make the start of an episode.

        Args:
            index: The episode's number; what was known of an earlier one is dropped.
            seed: As for `reset` of the stack.
            options: As for `reset` of the stack.
        """
        self.stack.reset(seed=seed, options=dict(options))
        self._memories[index] = [layer.start_memory() for layer in self._makers]
        return self._env.state

    def end(self, index: int, state: ReasonState) -> None:
        """Tell the wrappers the last state of an episode, as if it had begun just now."""
        for layer, memory in zip(self._makers, self._memories.pop(index), strict=True):
            layer.read_start_memory(memory)()
        for layer in self._layers:
            layer.ended(state)


def _chooses(layer: Any) -> TypeGuard[StartLayer]:
    is_start = isinstance(layer, StartMaker)
    return isinstance(layer, StartLayer) and (is_start or layer.chooses_problems)
