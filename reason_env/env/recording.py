"""Files that the wrappers of a stack append to, so that a resumed run can return them to a size."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym

from reason_env.env.start import layers_of


@runtime_checkable
class Recorder(Protocol):
    """A wrapper that appends to a file."""

    path: Path
    begin: int
    """Bytes of the file when the wrapper was made."""
    end: int
    """Bytes of the file after what the wrapper wrote last; a snapshot holds it."""


def recorders(env: gym.Env[Any, Any]) -> list[Recorder]:
    """The layers of a stack that write files."""
    return [layer for layer in layers_of(env) if isinstance(layer, Recorder)]
