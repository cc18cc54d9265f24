"""Loads problems from JSON Lines (`.jsonl`, `.json`) and Parquet (`.parquet`) files.

Messages name a row of JSON Lines by its line number from 1, and a row of Parquet by its index from
0. Ids count rows from 0. Skips blank lines. `reason_env.problems.files.rows` checks the rows.

Not covered: compressed files, JSON arrays over several lines.
"""

import json
import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from reason_env.errors import ProblemError, did_you_mean, shown
from reason_env.problem import ProblemSet
from reason_env.problems.files.rows import (
    RowFormat,
    RowOptions,
    Table,
    check_limit,
    problems_from_table,
)

logger = logging.getLogger(__name__)

SUFFIXES = (".jsonl", ".json", ".parquet")
"""Suffixes of the files that `load_file` reads."""

SPLIT_NAMES = ("train", "test", "validation", "valid", "val", "dev")
"""File stems that name the split of a file."""


def has_split_file(path: Path, split: str) -> bool:
    """Decide whether a path is a directory with the file of a split."""
    return any((path / f"{split}{suffix}").is_file() for suffix in SUFFIXES)


def load_file(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    limit: int | None = None,
    allow_ungradable: bool = False,
    set_name: str | None = None,
    row_format: RowFormat = "auto",
    keep_marks: bool = False,
) -> ProblemSet:
    """Load the problems of a file, in its order.

    Args:
        path: A `.jsonl`, `.json` or `.parquet` file, or a directory with one named after the split.
        columns: Problem field -> column of the file, for example `{"answer": "final"}`.
        split: Second part of the default ids, and the stem of the file if `path` is a directory.
        limit: Read only the first `limit` rows.
        allow_ungradable: Keep rows whose answer does not grade as correct against itself.
        set_name: Name of the set, and first part of the default ids; None is the name of the
            directory if `path` is one, else the stem of the file.
        row_format: `auto` recognises GSM8K, `plain` never does, `gsm8k` requires it.
        keep_marks: Keep GSM8K's calculator marks in the steps.

    Raises:
        ProblemError: The file or one of its rows cannot be used; the message names file and row.
        ConfigError: An argument is out of its range.
    """
    check_limit(limit)
    options = RowOptions(
        columns=columns,
        row_format=row_format,
        keep_marks=keep_marks,
        allow_ungradable=allow_ungradable,
    )
    file = _existing_file(Path(path), split)
    if file.stem in SPLIT_NAMES and file.stem != split:
        logger.warning(
            "loading %s as split %r; pass the directory instead to load the file of that split",
            file, split,
        )  # fmt: skip
    table = _read_parquet(file, limit) if file.suffix == ".parquet" else _read_lines(file, limit)
    stem = file.resolve().parent.name if Path(path).is_dir() else file.stem
    return problems_from_table(table, set_name=set_name or stem, split=split, options=options)


def _existing_file(path: Path, split: str) -> Path:
    if path.is_dir():
        found = [path / f"{split}{suffix}" for suffix in SUFFIXES]
        found = [file for file in found if file.is_file()]
        if not found:
            names = [file.stem for file in path.iterdir() if file.suffix in SUFFIXES]
            raise ProblemError(
                f"directory {str(path)!r} must hold {split}.jsonl or {split}.parquet, got "
                f"{len(names)} problem files{did_you_mean(split, names)}"
            )
        return found[0]
    if not path.is_file():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, names)
        raise ProblemError(
            f"problem file must exist, got {str(path)!r}; check the path"
            f"{near if 'did you mean' in near else ''}"
        )
    if path.suffix not in SUFFIXES:
        raise ProblemError(
            f"problem file must end in {', '.join(SUFFIXES)}, got {str(path)!r}; "
            "convert it to one JSON object per line"
        )
    return path


def _read_lines(file: Path, limit: int | None) -> Table:
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    rows.append(_row(line, f"{file} line {number}"))
                    places.append(f"line {number}")
                if len(rows) == limit:
                    break
    except OSError as error:
        raise ProblemError(
            f"problem file must be readable, got {error}; check its permissions"
        ) from error
    columns = dict.fromkeys(column for row in rows for column in row)
    return _table(file, tuple(columns), rows, places)


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row: object = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            f"{where}: must be one JSON object in UTF-8, got {shown(line)}; {error}"
        ) from error
    if not isinstance(row, dict):
        raise ProblemError(
            f"{where}: must be one JSON object, got {shown(row)}; "
            "write each problem as {...} on a separate line"
        )
    return cast("dict[str, Any]", row)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_parquet(file: Path, limit: int | None) -> Table:
    try:
        # Imported by name as Any, because the library has no types.
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ProblemError(
            f"{file} must have pyarrow to be read, got {error}; "
            "install the extra: pip install 'reason-env[data]'"
        ) from error
    rows: list[dict[str, Any]] = []
    columns: tuple[str, ...]
    try:
        with parquet.ParquetFile(file) as data:
            columns = tuple(data.schema_arrow.names)
            for batch in data.iter_batches():
                rows += batch.to_pylist()
                if limit is not None and len(rows) >= limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemError(
            f"{file} must be a readable Parquet file, got {shown(str(error))}; write it again"
        ) from error
    rows = rows[:limit]
    return _table(file, columns, rows, [f"row {index}" for index in range(len(rows))])


def _table(
    file: Path, columns: tuple[str, ...], rows: list[dict[str, Any]], places: list[str]
) -> Table:
    return Table(
        name=str(file), source=file.name, columns=columns, rows=tuple(rows), places=tuple(places)
    )
