"""`ReasonTree-v0`, `RestartChain-v0` and `CombinationLock-v0`: small MDPs with every number open.

`.P[state][action]` is a list of `(probability, next state, reward, terminated)` and
`.initial_state_distrib` the start distribution, as in Gymnasium's toy_text; `.model` has the same
as arrays. Any state that is not terminal can be a start: `reset(options={"state": 5})`.

The end of an episode is a terminal state; the step budget lives inside, and never makes an episode
both terminated and truncated.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import register  # pyright: ignore[reportUnknownVariableType]

from reason_env.errors import (
    ActionError,
    ConfigError,
    RenderModeError,
    StateError,
    did_you_mean,
    shown,
)
from reason_env.tabular_model import (
    Array,
    TabularModel,
    check_at_least,
    combination_lock,
    reason_tree,
    restart_chain,
)

RESET_OPTIONS = ("state",)


class TabularEnv(gym.Env[np.int64, np.int64]):
    """Samples episodes of a `TabularModel`; any state that is not terminal can be a start."""

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012, Gymnasium's own form

    def __init__(
        self, model: TabularModel, *, max_steps: int = 1000, render_mode: str | None = None
    ) -> None:
        check_at_least("max_steps", max_steps, 1)
        if render_mode not in (None, "ansi"):
            raise RenderModeError(
                f"render_mode must be 'ansi' or None, got {shown(render_mode)}; use 'ansi'"
            )
        self.model = model
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Discrete(model.num_states)
        self.action_space = gym.spaces.Discrete(model.num_actions)
        self.initial_state_distrib = model.start
        self.P = _outcomes(model)
        self._state: int | None = None
        self._num_steps = 0
        self._over = True

    @property
    def state(self) -> int:
        """The current state; a value that `reset(options={"state": ...})` takes back."""
        if self._state is None:
            raise StateError("an environment must be reset before it has a state; call reset()")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Starts an episode in a state drawn from the start distribution, or in the given one.

        Raises:
            ConfigError: An option is not known.
            StateError: The given state is not an open state of this MDP.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        unknown = [key for key in given if key not in RESET_OPTIONS]
        if unknown:
            raise ConfigError(
                f"reset options must be among {', '.join(RESET_OPTIONS)}, got {unknown[0]!r}"
                f"{did_you_mean(str(unknown[0]), RESET_OPTIONS)}"
            )
        if "state" in given:
            self._state = self._open_state(given["state"])
        else:
            self._state = _draw(self.model.start, self.np_random)
        self._num_steps = 0
        self._over = False
        return np.int64(self._state), {"prob": 1.0, "success": False}

    def step(self, action: np.int64 | int) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Takes an action; `info["success"]` says whether the episode ended with a reward.

        Raises:
            ActionError: The action is not one of this MDP.
            StateError: The episode is over, or has not begun.
        """
        state = self.state
        if self._over:
            raise StateError("the episode must be open to step, got one that is over; call reset()")
        if not self.action_space.contains(action):
            raise ActionError(
                f"action must be an integer in 0..{self.model.num_actions - 1}, got {shown(action)}"
            )
        row = self.model.transition[state, action]
        self._state = _draw(row, self.np_random)
        self._num_steps += 1
        reward = float(self.model.reward[state, action])
        terminated = bool(self.model.terminal[self._state])
        truncated = not terminated and self._num_steps >= self.max_steps
        self._over = terminated or truncated
        info = {"prob": float(row[self._state]), "success": terminated and reward > 0}
        return np.int64(self._state), reward, terminated, truncated, info

    def render(self) -> str | None:
        """Returns the state's name (mode "ansi")."""
        return None if self.render_mode is None else self.model.state_names[self.state]

    def _open_state(self, given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, int | np.integer):
            raise StateError(f"options['state'] must be an integer, got {shown(given)}")
        state = int(given)  # pyright: ignore[reportUnknownArgumentType]
        if not 0 <= state < self.model.num_states:
            raise StateError(
                f"options['state'] must be in 0..{self.model.num_states - 1}, got {state}"
            )
        if self.model.terminal[state]:
            raise StateError(
                f"options['state'] must be open, got {state} ({self.model.state_names[state]!r}), "
                "which is terminal; choose a state from which episodes go on"
            )
        return state


def _draw(row: Array, rng: np.random.Generator) -> int:
    support = np.flatnonzero(row)
    edges = row[support].cumsum()
    # Rounding may leave the last edge below the drawn number.
    return int(support[min(edges.searchsorted(rng.random(), side="right"), len(support) - 1)])


def _outcomes(model: TabularModel) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
    return {
        state: {
            action: [
                (
                    float(model.transition[state, action, after]),
                    int(after),
                    float(model.reward[state, action]),
                    bool(model.terminal[after]),
                )
                for after in np.flatnonzero(model.transition[state, action])
            ]
            for action in range(model.num_actions)
        }
        for state in range(model.num_states)
    }


def reason_tree_env(
    *, max_steps: int = 1000, render_mode: str | None = None, **tree: Any
) -> TabularEnv:
    """Returns `ReasonTree-v0`; `tree` holds the arguments of `reason_tree`."""
    return TabularEnv(reason_tree(**tree), max_steps=max_steps, render_mode=render_mode)


def restart_chain_env(
    *, num_states: int = 8, max_steps: int = 200, render_mode: str | None = None
) -> TabularEnv:
    """Returns `RestartChain-v0`: Kakade and Langford's chain, ended by its step budget."""
    model = restart_chain(num_states=num_states)
    return TabularEnv(model, max_steps=max_steps, render_mode=render_mode)


def combination_lock_env(
    *,
    num_steps: int = 6,
    num_actions: int = 3,
    seed: int = 0,
    max_steps: int = 1000,
    render_mode: str | None = None,
) -> TabularEnv:
    """Returns `CombinationLock-v0`."""
    model = combination_lock(num_steps=num_steps, num_actions=num_actions, seed=seed)
    return TabularEnv(model, max_steps=max_steps, render_mode=render_mode)


ENTRY_POINTS = {
    "ReasonTree-v0": "reason_env.tabular:reason_tree_env",
    "RestartChain-v0": "reason_env.tabular:restart_chain_env",
    "CombinationLock-v0": "reason_env.tabular:combination_lock_env",
}


def register_tabular() -> None:
    """Registers the tabular environments with Gymnasium; a second call changes nothing."""
    for env_id, entry_point in ENTRY_POINTS.items():
        if env_id not in gym.registry:
            register(id=env_id, entry_point=entry_point)
