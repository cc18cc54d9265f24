"""`ReasonTree-v0`, `RestartChain-v0` and `CombinationLock-v0`: small MDPs with known dynamics.

`.P[state][action]` is a list of `(probability, next state, reward, terminated)` and
`.initial_state_distrib` the start distribution, as in Gymnasium's toy_text; `.model` holds the same
as arrays. Any state that is not terminal can be a start: `reset(options={"state": 5})`.

An episode terminates in a terminal state. The step budget belongs to the environment, and an
episode is never both terminated and truncated.
"""

import hashlib
import operator
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

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
from reason_env.snapshot import Commit, LazyGenerator, Settings, checked_rng, rng_to_json
from reason_env.tabular.model import (
    TabularModel,
    check_at_least,
    combination_lock,
    draw,
    reason_tree,
    restart_chain,
)

RESET_OPTIONS = ("state",)
STARTS_OPTION = "starts"


class TabularEnv(gym.Env[np.int64, np.int64]):
    """Samples episodes of a `TabularModel`; any state that is not terminal can be a start."""

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012, Gymnasium's own form
    _np_random: Any = LazyGenerator()

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
        self.P = _transition_lists(model)
        self._state: int | None = None
        self._num_steps = 0
        self._is_over = True

    @property
    def state(self) -> int:
        """The current state; a value that `reset(options={"state": ...})` accepts."""
        if self._state is None:
            raise StateError("an environment must be reset before it has a state; call reset()")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Start an episode in a state drawn from the start distribution, or in the given one.

        {"starts": functions}: the first maps the drawn state to another start, each further one
        the result before it; this is how start wrappers act.

        Raises:
            ConfigError: An option is unknown.
            StateError: The given state is not an open state of this MDP.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        unknown = [key for key in given if key not in (*RESET_OPTIONS, STARTS_OPTION)]
        if unknown:
            raise ConfigError(
                f"reset options must be among {', '.join(RESET_OPTIONS)}, got {unknown[0]!r}"
                f"{did_you_mean(str(unknown[0]), RESET_OPTIONS)}"
            )
        if "state" in given:
            if STARTS_OPTION in given:
                raise ConfigError(
                    "reset options must be a state or starts, got both; a state is the start"
                )
            state = self.open_state(given["state"])
        else:
            state = draw(self.model.start, self.np_random)
            for start in given.get(STARTS_OPTION, ()):
                state = self.open_state(start(state))
        self._state = state
        self._num_steps = 0
        self._is_over = False
        return np.int64(self._state), {"prob": 1.0, "success": False}

    def step(self, action: np.int64 | int) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Take an action; `info["success"]` is True if the episode terminated with a reward.

        Raises:
            ActionError: The action is not one of this MDP.
            StateError: The episode is over, or has not begun.
        """
        state = self.state
        if self._is_over:
            raise StateError("the episode must be open to step, got one that is over; call reset()")
        if not self.action_space.contains(action):
            raise ActionError(
                f"action must be an integer in 0..{self.model.num_actions - 1}, got {shown(action)}"
            )
        row = self.model.transition[state, action]
        self._state = draw(row, self.np_random)
        self._num_steps += 1
        reward = float(self.model.reward[state, action])
        terminated = bool(self.model.terminal[self._state])
        truncated = not terminated and self._num_steps >= self.max_steps
        self._is_over = terminated or truncated
        info = {"prob": float(row[self._state]), "success": terminated and reward > 0}
        return np.int64(self._state), reward, terminated, truncated, info

    def render(self) -> str | None:
        """The state's name (mode "ansi")."""
        return None if self.render_mode is None else self.model.state_names[self.state]

    def to_snapshot(self) -> dict[str, Any]:
        """The settings, the state and the generator, JSON-able; see `reason_env.snapshot`."""
        rng = TabularEnv._np_random.as_text(self) or rng_to_json(self.np_random)
        return {
            "settings": self._settings.text,
            "state": self._state,
            "num_steps": self._num_steps,
            "over": self._is_over,
            "rng": rng,
            "seed": self._np_random_seed,
        }

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Check what `to_snapshot` wrote; return the function that adopts it.

        Raises:
            StateError: The snapshot is of another MDP or another budget.
        """
        self._settings.check(data["settings"])
        rng, seed = checked_rng(data["rng"]), operator.index(data["seed"])
        state, num_steps, over = data["state"], int(data["num_steps"]), bool(data["over"])
        if state is not None and state not in self.observation_space:
            raise ValueError(f"a state in 0..{self.model.num_states - 1}, got {state!r}")

        def commit() -> None:
            self._np_random, self._np_random_seed = rng, seed
            self._state, self._num_steps, self._is_over = state, num_steps, over

        return commit

    @cached_property
    def _settings(self) -> Settings:
        """Everything that decides what follows a state; two equal texts mean equal behaviour."""
        model, digest = self.model, hashlib.sha256()
        for array in (model.transition, model.reward, model.start, model.terminal):
            digest.update(repr(array.shape).encode("ascii") + array.tobytes())
        return Settings(model=digest.hexdigest()[:16], max_steps=self.max_steps)

    def open_state(self, given: Any) -> int:
        """Check that a state is not terminal and return it as an int.

        Raises:
            StateError: The state is no integer, not of this MDP, or terminal.
        """
        if not isinstance(given, (int, np.integer)) or isinstance(given, bool):
            raise StateError(f"options['state'] must be an integer, got {shown(given)}")
        state = operator.index(cast("int", given))
        if not 0 <= state < self.model.num_states:
            raise StateError(
                f"options['state'] must be in 0..{self.model.num_states - 1}, got {state}"
            )
        if self.model.terminal[state]:
            raise StateError(
                f"options['state'] must be open, got {state} ({self.model.state_names[state]!r}), "
                "which is terminal; choose one that is not"
            )
        return state


def _transition_lists(
    model: TabularModel,
) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
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
    """Make `ReasonTree-v0`; `tree` holds the arguments of `reason_tree`."""
    return TabularEnv(reason_tree(**tree), max_steps=max_steps, render_mode=render_mode)


def restart_chain_env(
    *, num_states: int = 8, max_steps: int = 200, render_mode: str | None = None
) -> TabularEnv:
    """Make `RestartChain-v0`: Kakade and Langford's chain, which its step budget ends."""
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
    """Make `CombinationLock-v0`."""
    model = combination_lock(num_steps=num_steps, num_actions=num_actions, seed=seed)
    return TabularEnv(model, max_steps=max_steps, render_mode=render_mode)


ENTRY_POINTS = {
    "ReasonTree-v0": "reason_env.tabular:reason_tree_env",
    "RestartChain-v0": "reason_env.tabular:restart_chain_env",
    "CombinationLock-v0": "reason_env.tabular:combination_lock_env",
}


def register_tabular() -> None:
    """Register the tabular environments with Gymnasium; a second call changes nothing."""
    for env_id, entry_point in ENTRY_POINTS.items():
        if env_id not in gym.registry:
            register(id=env_id, entry_point=entry_point)
