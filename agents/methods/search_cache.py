"""A measurement of the starting policy, kept in a file between runs.

The file's name is a hash of everything that decides the measurement: weights, sampling, environment
and seed (`agents/train/fingerprint.py`), the states, and the method's settings. So an entry holds
what the run would measure, and never goes out of date; entries are only added. It also holds the
tokens that the measurement generated, because a run that reads it counts them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_env.agents.runs import write_shared
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cached measurement."""

    values: dict[str, int]
    """Problem id -> the measured value."""
    sampled_tokens: int
    """Tokens that the measurement generated."""


def cache_path(folder: str, states: Sequence[ReasonState], *parts: str) -> Path:
    """Return the file for the measurement of these states under these settings.

    Args:
        folder: The cache directory.
        states: In the order in which they are measured, which decides the seeds.
        parts: Fingerprint and settings, as text.
    """
    digest = hashlib.sha256()
    for part in (*parts, *(state.state_id for state in states)):
        digest.update(part.encode() + b"\0")
    return Path(folder) / f"search-{digest.hexdigest()[:40]}.json"


def read_measured(path: Path) -> Measured | None:
    """Read an entry; None if the file does not exist.

    Raises:
        ConfigError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry["format"] != FORMAT:
            raise ValueError(f"format {entry['format']!r}")
        values = {str(name): int(value) for name, value in entry["values"].items()}
        return Measured(values=values, sampled_tokens=int(entry["sampled_tokens"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"a cached search must be as it was written, got '{path}' damaged ({error}); remove it"
        ) from error


def write_measured(path: Path, measured: Measured) -> None:
    """Write an entry atomically: a killed run leaves none, and two runs at once leave one."""
    entry = {
        "format": FORMAT,
        "values": measured.values,
        "sampled_tokens": measured.sampled_tokens,
    }
    write_shared(path, json.dumps(entry, indent=1, sort_keys=True))
