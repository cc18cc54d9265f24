"""to_minari: recorded episodes as a Minari data set."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from reason_env.errors import ConfigError, StateError
from reason_env.wrappers.record_episodes import check_replay, play, read_episodes


def to_minari(
    path: str | Path,
    env: gym.Env[Any, Any],
    dataset_id: str,
    *,
    about: Mapping[str, str] | None = None,
) -> Any:
    """Convert recorded episodes to a `minari.MinariDataset` in Minari's data folder.

    Each episode is replayed on `env` for its observations, which a record does not hold.

    Args:
        path: A file that `RecordEpisodes` wrote.
        env: A stack that replays it, with single ids as actions (granularity "token", format
            "tokens"). The data set holds its spec.
        dataset_id: `[namespace/]name-v0`, as Minari names data sets.
        about: Minari's `algorithm_name`, `author`, `author_email`, `code_permalink`, `description`.

    Raises:
        ConfigError: Minari is not installed, or the actions are not single ids.
        StateError: The file holds no episode, or one does not replay.
    """
    try:
        minari: Any = import_module("minari")
        buffer: Any = import_module("minari.data_collector").EpisodeBuffer
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
        observations, played = play(env, row)
        check_replay(played, row)
        size = len(row["actions"])
        episodes.append(
            buffer(
                id=index,
                observations=observations,
                actions=[np.int64(action) for action in row["actions"]],
                rewards=row["rewards"],
                terminations=[False] * (size - 1) + [row["terminated"]],
                truncations=[False] * (size - 1) + [row["truncated"]],
            )
        )
    metadata: dict[str, Any] = dict(about or {})
    return minari.create_dataset_from_buffers(
        dataset_id, episodes, env=env, eval_env=env, data_format="arrow", **metadata
    )
