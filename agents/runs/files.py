"""How files of a run are named, written and removed, so that a kill never leaves half a file.

What is being written or removed carries the prefix `.partial_`; no reader looks at such names.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from reason_env.errors import CheckpointError, shown

PARTIAL = ".partial_"
_NAME = re.compile(r"iteration_([0-9]+)(\.jsonl)?")


def iteration_name(iteration: int) -> str:
    """Returns the name that files of an iteration share.

    >>> iteration_name(10)
    'iteration_000010'
    """
    return f"iteration_{iteration:06d}"


def iteration_of(path: Path) -> int | None:
    """Returns the iteration that a file or directory is named for; None if it is another's.

    >>> iteration_of(Path("episodes/iteration_000010.jsonl"))
    10
    """
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def iteration_paths(folder: Path) -> dict[int, Path]:
    """Returns iteration -> file or directory, in order; {} if the folder is absent."""
    found = folder.iterdir() if folder.is_dir() else ()
    named = {number: path for path in found if (number := iteration_of(path)) is not None}
    return dict(sorted(named.items()))


def check_free(path: Path) -> None:
    """Raises if a run cannot begin there: ask before what takes long.

    Raises:
        CheckpointError: The path holds a run or is a file.
    """
    if path.exists() and not path.is_dir():
        raise CheckpointError(
            f"a run directory must be a directory, got the file '{path}'; give another --out"
        )
    run_files = ("config.json", "metrics.jsonl", "episodes", "checkpoints")
    if any((path / name).exists() for name in run_files):
        raise CheckpointError(
            f"a run directory must not hold a run already, got '{path}'; go on with it by "
            "--resume, or give another --out"
        )


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, finds the old one or the new one, never a part."""
    partial = path.with_name(PARTIAL + path.name)
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def write_shared(path: Path, text: str) -> None:
    """Writes a file that several processes may write at once with equal texts; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}_{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def append_line(path: Path, line: str) -> None:
    """Appends one line of ASCII and brings it to the disk."""
    with path.open("ab") as file:
        file.write(line.encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns each line with the JSON object in it; [] if the file is absent.

    A last line without its end is left out: its writer was killed, or is writing it now.

    Raises:
        CheckpointError: Another line is no JSON.
    """
    *lines, _torn = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    rows: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append((line + "\n", json.loads(line)))
        except json.JSONDecodeError as error:
            raise CheckpointError(
                f"line {number} of '{path}' must be JSON, got {shown(line)}; the file is damaged, "
                "remove the line"
            ) from error
    return rows


def remove(path: Path) -> None:
    """Removes a file or a directory so that, killed in between, no part keeps the name."""
    partial = path.with_name(PARTIAL + path.name)
    path.rename(partial)
    _delete(partial)


def remove_partial(folder: Path) -> None:
    """Removes what a killed writer, or a killed remover, left in a folder."""
    for path in folder.glob(f"{PARTIAL}*"):
        _delete(path)


def sync_directory(path: Path) -> None:
    """Makes renames in a directory survive a power failure, where the system can do that."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
