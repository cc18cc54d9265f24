"""The evaluation before training, kept in a file: the arms of a comparison begin alike.

Every arm of a seed is evaluated before its first iteration with the same weights, problems and
seed. The file's name is a hash of all that decides the outcome (`fingerprint.py`), so an entry is
what a run would measure itself. Evaluation is in no budget, so nothing is owed for taking one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from reason_env.agents.metrics import Number
from reason_env.agents.runs import write_shared
from reason_env.errors import ConfigError


def entry_path(folder: str, fingerprint: str) -> Path:
    """Returns where the evaluation with this fingerprint (`fingerprint.py`) is kept."""
    return Path(folder) / f"evaluation-{fingerprint[:40]}.json"


def read_entry(path: Path) -> dict[str, Number] | None:
    """Returns the metrics of an entry; None where there is none.

    Raises:
        ConfigError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(entry, dict) and all(name.startswith("eval/") for name in entry)):
            raise ValueError("not the metrics of an evaluation")
    except ValueError as error:
        raise ConfigError(
            f"a kept evaluation must be as it was written, got '{path}' damaged ({error}); "
            "remove it"
        ) from error
    return entry


def write_entry(path: Path, metrics: Mapping[str, Number]) -> None:
    """Writes the entry whole: a killed run leaves none, and two runs at once leave one."""
    write_shared(path, json.dumps(dict(metrics)))
