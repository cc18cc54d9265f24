"""Groups that begin in one state: what GRPO needs of an environment.

The convention is that of `ReasonEnv`: an environment has the attribute `state`, and
`reset(options={"state": s})` starts in it. `StateOption` gives it to environments that offer
`get_state` and `set_state`; `CopiedState` gives these two to environments whose whole state is
plain attributes, such as those of `gymnasium.envs.classic_control` and `toy_text`.

Random generators are not part of a state: the episodes of a group share their start, not their
noise. Not covered: counters of wrappers (a `TimeLimit` counts from the start that was given).
"""

# Stable-Baselines3 and Gymnasium's spaces are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.vec_env import VecEnv

from reason_env.errors import ConfigError, StateError

RENDERING = ("clock", "isopen", "screen", "surf", "window", "window_surface")
"""Attributes that hold what Gymnasium's environments draw on."""


@runtime_checkable
class Cloneable(Protocol):
    """An environment whose state can be read and set."""

    def get_state(self) -> Any:
        """Read the state: a value that later steps do not change."""
        ...

    def set_state(self, state: Any) -> Any:
        """Continue from a state, of this environment or of an equal one; return its observation."""
        ...


class CopiedState(gym.Wrapper[Any, Any, Any, Any]):
    """`get_state` and `set_state` by copies of the environment's attributes.

    >>> env = CopiedState(gym.make("CartPole-v1"))
    >>> start, _ = env.reset(seed=0)
    >>> saved = env.get_state()
    >>> after = env.step(1)[0]
    >>> env.set_state(saved).tolist() == start.tolist(), env.step(1)[0].tolist() == after.tolist()
    (True, True)
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Wrap an environment.

        Raises:
            ConfigError: An attribute is neither numbers, text, arrays nor containers of them.
        """
        super().__init__(env)
        self._obs: Any = None
        self._attributes()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and remember its observation."""
        self._obs, info = self.env.reset(seed=seed, options=options)
        return self._obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and remember its observation."""
        self._obs, reward, terminated, truncated, info = self.env.step(action)
        return self._obs, reward, terminated, truncated, info

    def get_state(self) -> tuple[dict[str, Any], Any]:
        """Copy the attributes and the last observation.

        Raises:
            StateError: The environment has not been reset.
        """
        if self._obs is None:
            raise StateError("an environment must be reset before it has a state; call reset()")
        return deepcopy((self._attributes(), self._obs))

    def set_state(self, state: tuple[dict[str, Any], Any]) -> Any:
        """Give the environment the attributes of a state; return its observation."""
        attributes, self._obs = deepcopy(state)
        vars(self.unwrapped).update(attributes)
        return deepcopy(self._obs)

    def _attributes(self) -> dict[str, Any]:
        own = {
            name: value
            for name, value in vars(self.unwrapped).items()
            if name not in RENDERING
            and not name.startswith("_np_random")
            and not isinstance(value, (gym.Space, EnvSpec))
        }
        other = [name for name, value in own.items() if not _is_plain(value)]
        if other:
            raise ConfigError(
                f"attributes of {type(self.unwrapped).__name__} must be numbers, text or arrays to "
                f"be copied, got {other[0]!r} of type {type(own[other[0]]).__name__}; give the "
                "environment get_state and set_state"
            )
        return own


class StateOption(gym.Wrapper[Any, Any, Any, Any]):
    """`state`, and starts from one, for an environment with `get_state` and `set_state`.

    >>> env = StateOption(CopiedState(gym.make("CartPole-v1")))
    >>> _ = env.reset(seed=0)
    >>> later = env.step(1)[0]
    >>> env.reset(options={"state": env.state})[0].tolist() == later.tolist()
    True
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Wrap an environment; the layer with `get_state` may lie below wrappers like `TimeLimit`.

        Raises:
            ConfigError: No layer has `get_state` and `set_state`, or a wrapper above it has other
                observations.
        """
        super().__init__(env)
        layer: Any = env
        while not isinstance(layer, Cloneable):
            if isinstance(layer, gym.ObservationWrapper):
                raise ConfigError(
                    "wrappers of the observation must lie outside StateOption, got "
                    f"{type(layer).__name__} inside; exchange them"
                )
            if not isinstance(layer, gym.Wrapper):
                raise ConfigError(
                    "an environment must have get_state and set_state to start from a state, got "
                    f"{type(layer).__name__} without; wrap it in CopiedState"
                )
            layer = layer.env
        self._cloneable: Cloneable = layer

    @property
    def state(self) -> Any:
        """The current state: a value that `reset(options={"state": ...})` accepts."""
        return self._cloneable.get_state()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and continue from the state that the options may hold."""
        given = dict(options or {})
        if "state" not in given:
            return self.env.reset(seed=seed, options=options)
        state = given.pop("state")
        _, info = self.env.reset(seed=seed, options=given or None)
        return self._cloneable.set_state(state), info


def reset_groups(envs: VecEnv, group_size: int) -> Any:
    """Start all episodes, each group of neighbours in one state; return the observations.

    The state is where the first environment of a group starts of itself, so start wrappers, seeds
    and options act there.

    Raises:
        ConfigError: The environments cannot start from a state.
    """
    advice = (
        "wrap each in StateOption(CopiedState(env)), or in StateOption(env) if it has get_state "
        "and set_state"
    )
    inner = envs.unwrapped
    inner.reset()
    if not inner.has_attr("state"):
        raise ConfigError(
            f"environments must have the attribute 'state' to form groups, got none; {advice}"
        )
    states = inner.get_attr("state", indices=range(0, envs.num_envs, group_size))
    envs.set_options([{"state": state} for state in states for _ in range(group_size)])
    observations = envs.reset()
    for first in range(0, envs.num_envs, group_size):
        if not _are_equal(observations, first, group_size):
            raise ConfigError(
                "environments must start in the state of reset(options={'state': ...}), got "
                f"different observations in the group of environments {first} to "
                f"{first + group_size - 1}; {advice}"
            )
    return observations


def _are_equal(observations: Any, first: int, size: int) -> bool:
    parts = observations.values() if isinstance(observations, Mapping) else [observations]
    return all(np.array_equal(part[first : first + size], [part[first]] * size) for part in parts)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(own) for pair in value.items() for own in pair)
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(_is_plain(own) for own in value)
    if isinstance(value, np.ndarray):
        return value.dtype != object
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic))
