"""Name, write and remove the files of a run so that a kill never leaves half a file.

A file that is being written or removed has the prefix `.partial_`, which readers ignore. What the
system refuses (a full disk, a folder that is gone) is an OSError that names the file, and leaves
the files as they were before.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError

from reason_env.errors import CheckpointError, shown

PARTIAL = ".partial_"
_log = logging.getLogger(__name__)
_NAME = re.compile(r"iteration_([0-9]+)(\.jsonl)?")
_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")


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


@contextmanager
def naming(path: Path) -> Generator[None, None, None]:
    """Give what the system refuses in the block this path, unless it names one.

    Raises:
        OSError: Also in place of safetensors' error, if the system caused it.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        code = int(found[1])
        raise OSError(code, os.strerror(code), str(path)) from error


@contextmanager
def writing(path: Path, partial: Path) -> Generator[None, None, None]:
    """Write `partial` in the block, to become `path`: removed if the system refuses to write.

    Half a file would keep a full disk full.
    """
    try:
        with naming(path):
            yield
    except OSError:
        # The folder may be gone too, and the first error is the one to show.
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: a reader, or a kill, finds the old file or the new one.

    A lone surrogate, which no UTF-8 file can hold, is written as its escape.
    """
    partial = path.with_name(PARTIAL + path.name)
    with writing(path, partial):
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    sync_directory(path.parent)


def write_shared(path: Path, text: str) -> None:
    """Write a file that several processes may write at once with equal text; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}_{path.name}")
    with writing(path, partial):
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def append(path: Path, data: bytes) -> None:
    """Append to a file, created if absent, and sync it; an error takes back what it wrote."""
    with naming(path), path.open("ab", buffering=0) as file:
        end = file.tell()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            # Half a line would become one with the line that is written when there is room.
            file.truncate(end)
            raise


def append_line(path: Path, line: str) -> None:
    """Append one line of ASCII and sync it to disk."""
    append(path, line.encode("ascii") + b"\n")


def cut_file(path: Path, size: int) -> None:
    """Return a file that others may have appended to to an earlier size.

    What is cut moves to a file beside it, because another run may have written it.
    """
    if not path.is_file() or path.stat().st_size <= size:
        return
    lost = path.with_name(f"{path.name}.lost")
    with path.open("rb+") as file:
        file.seek(size)
        rest = file.read()
        append(lost, rest)
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
