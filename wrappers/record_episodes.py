"""RecordEpisodes: writes each finished episode as one line of JSON, which can be replayed.

A line holds the start state, the actions as given, the rewards, the flags and the last state;
`replay(env, line)` plays the episode again on a stack and compares. Each line is appended by one
write, so that several workers may share a file. The start state includes all that start wrappers
did. `minari.py` converts a file to a Minari data set. A run that is killed and resumed returns the
file to what it was at the checkpoint, so that it holds each episode once.

Not covered: episodes that are reset before their end are not written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.env import reason_env_of
from reason_env.errors import ConfigError, StateError, shown
from reason_env.snapshot import Commit, pack_state
from reason_env.wrappers.start import WatchingWrapper

RECORD_FORMAT = 1


class RecordEpisodes(WatchingWrapper):
    """Writes episodes to a file."""

    def __init__(self, env: gym.Env[Any, Any], path: str | Path, *, every: int = 1) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            path: The .jsonl file; created with its folder if absent, else appended to.
            every: Write each `every`-th finished episode, the first included.
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
        self.begin = self.end = self.path.stat().st_size
        self._num_ended = 0
        self._start: list[Any] | None = None
        self._actions: list[str] = []
        self._rewards: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack and begin a record."""
        obs, info = super().reset(seed=seed, options=options)
        self._start = pack_state(self.reason_env.state)
        self._actions, self._rewards = [], []
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the stack; write the episode if it is finished."""
        obs, reward, terminated, truncated, info = super().step(action)
        self._actions.append(_action_text(action))
        self._rewards.append(float(reward))
        if terminated or truncated:
            if self._num_ended % self.every == 0:
                self._write(terminated=terminated, truncated=truncated)
            self._num_ended += 1
        return obs, reward, terminated, truncated, info

    def memory(self) -> dict[str, Any]:
        """The record so far, the number of finished episodes, and the size of the file."""
        return {
            "end": self.end,
            "num_ended": self._num_ended,
            "start": self._start,
            "actions": list(self._actions),
            "rewards": list(self._rewards),
        }

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        num_ended, start = int(data["num_ended"]), data["start"]
        # Absent in snapshots of earlier versions.
        end = int(data.get("end", self.end))
        actions, rewards = list(data["actions"]), [float(item) for item in data["rewards"]]
        if not (start is None or type(start) is list) or not set(map(type, actions)) <= {str}:
            raise TypeError("a start that is a list, and actions that are texts")

        def commit() -> None:
            self.end, self._num_ended, self._start = end, num_ended, start
            self._actions, self._rewards = actions, rewards

        return commit

    def _write(self, *, terminated: bool, truncated: bool) -> None:
        row = {
            "format": RECORD_FORMAT,
            "start": self.reason_env.unpack_state(self._start).to_dict(),
            "actions": [json.loads(action) for action in self._actions],
            "rewards": self._rewards,
            "terminated": terminated,
            "truncated": truncated,
            "final_state": self.reason_env.state.to_dict(),
        }
        # Sorted, so that a record that passed through a snapshot gives the same line.
        line = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode("ascii"))
            self.end = file.tell()


def read_episodes(path: str | Path) -> list[dict[str, Any]]:
    """Read the episodes of a file, in the order in which they ended."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def replay(env: gym.Env[Any, Any], row: Mapping[str, Any]) -> None:
    """Play a recorded episode again and compare.

    Raises:
        StateError: Rewards, flags or the last state differ from the record.
    """
    _, played = play(env, row)
    check_replay(played, row)


def play(env: gym.Env[Any, Any], row: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Play a recorded episode; return its observations, and what `check_replay` compares."""
    first, _ = env.reset(options={"state": row["start"]})
    observations, rewards = [first], list[float]()
    terminated = truncated = False
    for action in row["actions"]:
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(float(reward))
    return observations, {
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "final_state": reason_env_of(env).state.to_dict(),
    }


def check_replay(seen: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Raise StateError unless the replayed episode equals the record."""
    for name, value in seen.items():
        if value != row[name]:
            raise StateError(
                f"a replayed episode must have the recorded {name} {shown(row[name])}, got "
                f"{shown(value)}; replay it on the stack that recorded it"
            )


_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _action_text(action: Any) -> str:
    """A text, one id or a list of ids as JSON, which a snapshot need not read id by id."""
    return _to_json(action if isinstance(action, str) else np.asarray(action).tolist())
