"""Cache files for the evaluation before training, which the arms of a comparison share.

Every arm of a seed is evaluated before its first iteration with the same weights, problems and
seed. A file is named by a hash of everything that decides the outcome (`fingerprint.py`), so an
entry equals what the run would measure itself. Evaluation counts against no budget, so reusing an
entry gives no arm an advantage.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from reason_env.agents.metrics import Number
from reason_env.agents.runs import write_shared
from reason_env.errors import ConfigError


def entry_path(folder: str, fingerprint: str) -> Path:
    """Name the file of the evaluation with this fingerprint."""
    return Path(folder) / f"evaluation-{fingerprint[:40]}.json"


def read_entry(path: Path) -> dict[str, Number] | None:
    """Read the metrics of an entry; None if there is none.

    Raises:
        ConfigError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        no_entry: dict[str, Number] = {"": None}
        entry = cast("dict[str, Number]", found) if isinstance(found, dict) else no_entry
        if not all(name.startswith("eval/") for name in entry):
            raise ValueError("not the metrics of an evaluation")
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"a cached evaluation must be unchanged since it was written, got '{path}' damaged "
            f"({error}); remove it"
        ) from error
    return entry


def write_entry(path: Path, metrics: Mapping[str, Number]) -> None:
    """Write an entry atomically: a killed run leaves none, two concurrent runs leave one."""
    write_shared(path, json.dumps(dict(metrics)))
