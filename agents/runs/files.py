"""Name, write and remove the files of a run so that a kill never leaves half a file.

A file that is being written or removed has the prefix `.partial_`, which readers ignore.
"""

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any, cast

from reason_env.errors import CheckpointError, shown

PARTIAL = ".partial_"
_log = logging.getLogger(__name__)
_NAME = re.compile(r"iteration_([0-9]+)(\.jsonl)?")


def iteration_name(iteration: int) -> str:
    """Format the name that the files of an iteration share.

    >>> iteration_name(10)
    'iteration_000010'
    """
    return f"iteration_{iteration:06d}"


def iteration_of(path: Path) -> int | None:
    """Parse the iteration from the name of a file or directory; None if it has another name.

    >>> iteration_of(Path("episodes/iteration_000010.jsonl"))
    10
    """
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def iteration_paths(folder: Path) -> dict[int, Path]:
    """List the files or directories of a folder by iteration, in order; {} if it is absent."""
    found = folder.iterdir() if folder.is_dir() else ()
    named = {number: path for path in found if (number := iteration_of(path)) is not None}
    return dict(sorted(named.items()))


def check_free(path: Path) -> None:
    """Raise if a run cannot begin at a path; call it before work that takes long.

    Raises:
        CheckpointError: The path holds a run, is or is below a file, or cannot be written.
    """
    place = path.absolute()
    while not place.exists():
        place = place.parent
    if place != path.absolute() and not place.is_dir():
        raise CheckpointError(
            f"a run directory must not be below a file, got '{path}', in which '{place}' is one; "
            "give another --out"
        )
    if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        raise CheckpointError(
            f"a run directory must be one that can be written, got '{path}': no permission in "
            f"'{place}'; give another --out, or change its permissions"
        )
    if path.exists() and not path.is_dir():
        raise CheckpointError(
            f"a run directory must be a directory, got the file '{path}'; give another --out"
        )
    run_files = ("config.json", "metrics.jsonl", "episodes", "checkpoints")
    if any((path / name).exists() for name in run_files):
        raise CheckpointError(
            f"a run directory must not hold a run already, got '{path}'; continue it with "
            "--resume, or give another --out"
        )


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: a reader, or a kill, finds the old file or the new one."""
    partial = path.with_name(PARTIAL + path.name)
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def write_shared(path: Path, text: str) -> None:
    """Write a file that several processes may write at once with equal text; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}_{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def append_line(path: Path, line: str) -> None:
    """Append one line of ASCII and sync it to disk."""
    with path.open("ab") as file:
        file.write(line.encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def cut_file(path: Path, size: int) -> None:
    """Return a file that others may have appended to to an earlier size.

    What is cut moves to a file beside it, because another run may have written it.
    """
    if not path.is_file() or path.stat().st_size <= size:
        return
    lost = path.with_name(f"{path.name}.lost")
    with path.open("rb+") as file, lost.open("ab") as other:
        file.seek(size)
        rest = file.read()
        other.write(rest)
        other.flush()
        os.fsync(other.fileno())
        file.truncate(size)
    _log.warning(
        "what was recorded after the checkpoint is recorded again: %d lines of '%s' are in '%s'",
        rest.count(b"\n"),
        path,
        lost,
    )


def read_text(path: Path) -> str:
    """Read a file of text.

    Raises:
        CheckpointError: It is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"'{path}' must be text in UTF-8, got {error.reason} at byte {error.start}; the file "
            "is damaged, restore it"
        ) from error


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read each line with its JSON object; [] if the file is absent.

    A last line without a line end is ignored: the writer was killed, or is still writing.

    Raises:
        CheckpointError: Another line is no JSON object.
    """
    *lines, _partial = read_text(path).split("\n") if path.exists() else [""]
    rows: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"line {number} of '{path}' must be JSON, got {shown(line)}; the file is damaged, "
                "remove the line"
            ) from error
        if not isinstance(row, dict):
            raise CheckpointError(
                f"line {number} of '{path}' must be a JSON object, got {shown(row)}; the file is "
                "damaged, remove the line"
            )
        rows.append((line + "\n", cast("dict[str, Any]", row)))
    return rows


def remove(path: Path) -> None:
    """Remove a file or directory; if killed meanwhile, nothing incomplete keeps the name."""
    partial = path.with_name(PARTIAL + path.name)
    path.rename(partial)
    _delete(partial)


def remove_partial(folder: Path) -> None:
    """Remove the partial files that killed writers left in a folder."""
    for path in folder.glob(f"{PARTIAL}*"):
        _delete(path)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power failure, on POSIX systems."""
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
