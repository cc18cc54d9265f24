"""RecordEpisodes: each finished episode as one line of JSON, which replays.

A line holds the start state, the actions as they were given, the rewards, the flags and the last
state; `replay(env, line)` plays it again on a stack and compares. Lines are appended in one write
each, so several workers may share a file. The start state says everything that start wrappers did.

`to_minari` makes a Minari data set of a file.

Not covered: episodes that were left before their end (they are not written).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from reason_env.env import reason_env_of
from reason_env.errors import ConfigError, StateError, shown
from reason_env.snapshot import Commit, pack_state
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
        self._start: list[Any] | None = None
        self._actions: list[str] = []
        self._rewards: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the stack and begins a record."""
        obs, info = super().reset(seed=seed, options=options)
        self._start = pack_state(self.reason_env.state)
        self._actions, self._rewards = [], []
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the stack; a finished episode is written."""
        obs, reward, terminated, truncated, info = super().step(action)
        self._actions.append(_action_text(action))
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
        if not (start is None or type(start) is list) or not set(map(type, actions)) <= {str}:
            raise TypeError("a start that is a list, and actions that are texts")

        def commit() -> None:
            self._num_ended, self._start = num_ended, start
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
    _, played = _played(env, row)
    _check_replay(played, row)


def _played(env: gym.Env[Any, Any], row: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Returns the observations of an episode played again, and how it went."""
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


def _check_replay(seen: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    for name, value in seen.items():
        if value != row[name]:
            raise StateError(
                f"a replayed episode must have the recorded {name} {shown(row[name])}, got "
                f"{shown(value)}; replay it on the stack that recorded it"
            )


def to_minari(
    path: str | Path,
    env: gym.Env[Any, Any],
    dataset_id: str,
    *,
    about: Mapping[str, str] | None = None,
) -> Any:
    """Returns the recorded episodes as a `minari.MinariDataset`, kept where Minari keeps its own.

    Each episode is played again on `env`, for the observations that a record does not hold.

    Args:
        path: A file that `RecordEpisodes` wrote.
        env: A stack that replays it, with single ids as actions (granularity "token", format
            "tokens"); its spec is written into the data set.
        dataset_id: `[namespace/]name-v0`, as Minari names data sets.
        about: Minari's `algorithm_name`, `author`, `author_email`, `code_permalink`, `description`.

    Raises:
        ConfigError: Minari is not installed, or the actions are not single ids.
        StateError: An episode does not replay, or there is none.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Minari must be installed, got no module {error.name!r}; "
            "pip install 'reason-env[minari]'"
        ) from error
    if not isinstance(env.action_space, spaces.Discrete):
        raise ConfigError(
            f"actions must be single ids for Minari, got {type(env.action_space).__name__}; "
            "record with granularity='token', format='tokens'"
        )
    rows = read_episodes(path)
    if not rows:
        raise StateError(f"{str(path)!r} must hold at least one episode, got none")
    episodes: list[Any] = []
    for index, row in enumerate(rows):
        observations, played = _played(env, row)
        _check_replay(played, row)
        size = len(row["actions"])
        episodes.append(
            EpisodeBuffer(
                id=index,
                observations=observations,
                actions=[np.int64(action) for action in row["actions"]],
                rewards=row["rewards"],
                terminations=[False] * (size - 1) + [row["terminated"]],
                truncations=[False] * (size - 1) + [row["truncated"]],
            )
        )
    told: dict[str, Any] = dict(about or {})
    return minari.create_dataset_from_buffers(
        dataset_id, episodes, env=env, eval_env=env, data_format="arrow", **told
    )


_to_json = json.JSONEncoder(separators=(",", ":")).encode


def _action_text(action: Any) -> str:
    """Returns a text, one id or a list of ids as JSON; a snapshot need not read each id again."""
    return _to_json(action if isinstance(action, str) else np.asarray(action).tolist())
