"""Loads problems from a file, or from the files of a split in a directory.

In a directory, or its folder `data`, a split is a file `train.*`, or parts `train-00000-of-00002.*`
as on the Hugging Face hub; else a folder `train` of which every file is read, as of MATH.
`reason_env.problems.files.formats` reads the file, `reason_env.problems.files.rows` checks its
rows. Ids count rows from 0.
"""

import difflib
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from reason_env.errors import ProblemError, did_you_mean
from reason_env.problem import ProblemSet
from reason_env.problems.files.formats import LISTED, SUFFIXES, read_table, stem_of, suffix_of
from reason_env.problems.files.rows import (
    RowFormat,
    RowOptions,
    check_limit,
    problems_from_table,
)
from reason_env.problems.files.table import Table

logger = logging.getLogger(__name__)

SPLIT_NAMES = ("train", "test", "validation", "valid", "val", "dev")
"""File stems that name the split of a file."""
_PART = re.compile(r"-\d+-of-(\d+)$")
"""The end of the stem of one part of a split."""


def has_split_file(path: Path, split: str) -> bool:
    """Decide whether a path is a directory with the file of a split, its parts, or its folder."""
    return bool(_files_of(path, split))


def load_file(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    limit: int | None = None,
    allow_ungradable: bool = False,
    drop_ungradable: bool = False,
    set_name: str | None = None,
    row_format: RowFormat = "auto",
    keep_marks: bool = False,
) -> ProblemSet:
    """Load the problems of a file, in its order.

    Args:
        path: A file that ends in one of `SUFFIXES`, or a directory with one named after the split.
        columns: Problem field -> column of the file, for example `{"answer": "final"}`, or an
            expression (`reason_env.problems.files.expressions`); others are found by their names.
        split: Second part of the default ids, and the stem of the file if `path` is a directory.
        limit: Read only the first `limit` rows.
        allow_ungradable: Keep rows whose answer does not grade as correct against itself.
        drop_ungradable: Drop those rows and rows that hold no answer.
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
        drop_ungradable=drop_ungradable,
    )
    table, name = read_file(Path(path), split, limit)
    return problems_from_table(table, set_name=set_name or name, split=split, options=options)


def read_file(path: Path, split: str, limit: int | None) -> tuple[Table, str]:
    """Read the table of a file, or of the file of a split in a directory, and the set's name.

    Raises:
        ProblemError: The file cannot be read.
    """
    if path.is_dir():
        return _read_directory(path, split, limit), path.resolve().name
    _check_file(path)
    stem = stem_of(path)
    if stem in SPLIT_NAMES and stem != split:
        logger.warning(
            "loading %s as split %r; pass the directory instead to load the file of that split",
            path, split,
        )  # fmt: skip
    return read_table(path, limit), stem


def _read_directory(path: Path, split: str, limit: int | None) -> Table:
    """Read the file of a split, or all of its parts as one table."""
    files = _files_of(path, split)
    if not files:
        names = [stem_of(file) for file in path.iterdir() if suffix_of(file)]
        raise ProblemError(
            f"directory {str(path)!r} must hold {split}.jsonl, {split}.csv, {split}.parquet or "
            f"the like, got {len(names)} problem files{_advice(path, split, names)}"
        )
    if len(files) == 1:
        return read_table(files[0], limit)
    total = _PART.search(stem_of(files[0]))
    if total is not None and int(total[1]) != len(files):
        logger.warning("reading %d of %d parts of %s in %s", len(files), int(total[1]), split, path)
    tables: list[Table] = []
    for file in files:
        read = sum(len(table.rows) for table in tables)
        if limit is not None and read >= limit:
            break
        tables.append(read_table(file, None if limit is None else limit - read))
    return Table(
        name=str(path),
        source=path.resolve().name,
        columns=tuple(dict.fromkeys(name for table in tables for name in table.columns)),
        rows=tuple(row for table in tables for row in table.rows),
        places=tuple(
            f"{Path(table.name).relative_to(path)} {place}"
            for table in tables
            for place in table.places
        ),
    )


def _files_of(path: Path, split: str) -> list[Path]:
    """Find the file of a split in a directory, else its parts, else all files of its folder."""
    for folder in (path, path / "data"):
        named = [folder / f"{split}{suffix}" for suffix in SUFFIXES]
        found = [file for file in named if file.is_file()][:1]
        found = found or [file for file in _below(folder, "*") if _is_part(file, split)]
        if found:
            return found
    return _below(path / split, "**/*")


def _below(folder: Path, pattern: str) -> list[Path]:
    """Give the problem files of a folder, numbers in their names in the order of numbers."""
    found = [file for file in folder.glob(pattern) if file.is_file() and suffix_of(file)]
    return sorted(found, key=lambda file: [_rank(part) for part in file.parts])


def _rank(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _is_part(file: Path, split: str) -> bool:
    stem = stem_of(file)
    return _PART.sub("", stem) == split != stem


def _check_file(path: Path) -> None:
    if not path.is_file():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, names)
        raise ProblemError(
            f"problem file must exist, got {str(path)!r}; check the path"
            f"{near if 'did you mean' in near else ''}"
        )
    if not suffix_of(path):
        raise ProblemError(
            f"problem file must end in {LISTED}, got {str(path)!r}; "
            "convert it to one JSON object per line"
        )


def _advice(path: Path, split: str, names: list[str]) -> str:
    """Say what to name instead of a directory without the file of a split."""
    splits = [name for name in SPLIT_NAMES if _files_of(path, name)]
    if splits:
        return f"; choose one of its splits: {', '.join(splits)}"
    folders = [
        str(folder)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and any(_files_of(folder, name) for name in SPLIT_NAMES)
    ]
    if folders:
        return f"; name one of its folders: {', '.join(folders)}"
    near = difflib.get_close_matches(split, names, n=1, cutoff=0.4)
    files = [str(file) for file in sorted(path.iterdir()) if suffix_of(file)]
    if files:
        own = next((file for file in files if near and stem_of(Path(file)) == near[0]), files[0])
        return f"; name a file, as {own}"
    return f"; files that are read end in {LISTED}"
