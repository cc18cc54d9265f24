"""RecordEpisodes: each finished episode as one line of JSON, which replays.

A line holds the start state, the actions as they were given, the rewards, the flags and the last
state; `replay(env, line)` plays it again on a stack and compares. Lines are appended in one write
each, so several workers may share a file. The start state says everything that start wrappers did.

Not covered: Minari's format, and episodes that were left before their end (they are not written).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.errors import ConfigError, StateError, shown
from reason_env.snapshot import Commit
from reason_env.wrappers.start import WatchingWrapper

RECORD_FORMAT = 1


class RecordEpisodes(WatchingWrapper):
    """Writes episodes to a file."""

    def __init__(self, env: gym.Env[Any, Any], path: str | Path, *, every: int = 1) -> None:
        """Wraps `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            path: The .jsonl file; made with its folder where absent, appended to where present.
            every: Writes each `every`-th finished episode, the first included.
        """
        if every < 1:
            raise ConfigError(f"every must be at least 1, got {every!r}")
        super().__init__(env, path=str(path), every=every)
        self.path, self.every = Path(path), every
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as error:
            raise ConfigError(
                f"path must be a file that can be written, got {shown(str(path))}; {error.strerror}"
            ) from error
        self._num_ended = 0
        self._start: dict[str, Any] | None = None
        self._actions: list[Any] = []
        self._rewards: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack and begins a record."""
        obs, info = super().reset(seed=seed, options=options)
        self._start = self.reason_env.state.to_dict()
        self._actions, self._rewards = [], []
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the stack; a finished episode is written."""
        obs, reward, terminated, truncated, info = super().step(action)
        self._actions.append(_plain_action(action))
        self._rewards.append(float(reward))
        if terminated or truncated:
            if self._num_ended % self.every == 0:
                self._write(terminated=terminated, truncated=truncated)
            self._num_ended += 1
        return obs, reward, terminated, truncated, info

    def memory(self) -> dict[str, Any]:
        """Returns the record so far, and how many episodes have ended."""
        return {
            "num_ended": self._num_ended,
            "start": self._start,
            "actions": list(self._actions),
            "rewards": list(self._rewards),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Checks what `memory` wrote; returns what makes it the wrapper's own."""
        num_ended, start = int(data["num_ended"]), data["start"]
        actions, rewards = list(data["actions"]), [float(item) for item in data["rewards"]]

        def commit() -> None:
            self._num_ended, self._start = num_ended, start
            self._actions, self._rewards = actions, rewards

        return commit

    def _write(self, *, terminated: bool, truncated: bool) -> None:
        row = {
            "format": RECORD_FORMAT,
            "start": self._start,
            "actions": self._actions,
            "rewards": self._rewards,
            "terminated": terminated,
            "truncated": truncated,
            "final_state": self.reason_env.state.to_dict(),
        }
        # Sorted, so that a record that a snapshot has been through is written alike.
        line = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode("ascii"))
        finally:
            os.close(handle)


def read_episodes(path: str | Path) -> list[dict[str, Any]]:
    """Returns the episodes of a file, in the order in which they ended."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def replay(env: gym.Env[Any, Any], row: Mapping[str, Any]) -> None:
    """Plays a recorded episode again.

    Raises:
        StateError: Rewards, flags or the last state differ from the record.
    """
    env.reset(options={"state": row["start"]})
    rewards: list[float] = []
    terminated = truncated = False
    for action in row["actions"]:
        _, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
    seen: dict[str, Any] = {
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "final_state": env.unwrapped.state.to_dict(),  # pyright: ignore[reportAttributeAccessIssue]
    }
    for name, value in seen.items():
        if value != row[name]:
            raise StateError(
                f"a replayed episode must have the recorded {name} {shown(row[name])}, got "
                f"{shown(value)}; replay it on the stack that recorded it"
            )


def _plain_action(action: Any) -> Any:
    """Returns the action as JSON holds it: a text, one id, or a list of ids."""
    if isinstance(action, str):
        return action
    return np.asarray(action).tolist()
