"""Loads problems from a file, or from the file of a split in a directory.

`reason_env.problems.files.formats` reads the file, `reason_env.problems.files.rows` checks its
rows. Ids count rows from 0.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from reason_env.errors import ProblemError, did_you_mean
from reason_env.problem import ProblemSet
from reason_env.problems.files.formats import SUFFIXES, read_table, stem_of, suffix_of
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
_PART = re.compile(r"-\d+-of-\d+$")
"""The end of the stem of one part of a split, which only `hub:` puts together."""


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
    file = _existing_file(path, split)
    stem = stem_of(file)
    if stem in SPLIT_NAMES and stem != split:
        logger.warning(
            "loading %s as split %r; pass the directory instead to load the file of that split",
            file, split,
        )  # fmt: skip
    return read_table(file, limit), file.resolve().parent.name if path.is_dir() else stem


def _existing_file(path: Path, split: str) -> Path:
    if path.is_dir():
        found = [path / f"{split}{suffix}" for suffix in SUFFIXES]
        found = [file for file in found if file.is_file()]
        if not found:
            names = [stem_of(file) for file in path.iterdir() if suffix_of(file)]
            raise ProblemError(
                f"directory {str(path)!r} must hold {split}.jsonl, {split}.csv, {split}.parquet or "
                f"the like, got {len(names)} problem files{_advice(path, split, names)}"
            )
        return found[0]
    if not path.is_file():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, names)
        raise ProblemError(
            f"problem file must exist, got {str(path)!r}; check the path"
            f"{near if 'did you mean' in near else ''}"
        )
    if not suffix_of(path):
        raise ProblemError(
            f"problem file must end in {', '.join(SUFFIXES)}, got {str(path)!r}; "
            "convert it to one JSON object per line"
        )
    return path


def _advice(path: Path, split: str, names: list[str]) -> str:
    """Say what to name instead of a directory without the file of a split."""
    if any(map(_PART.search, names)) or any(map(suffix_of, path.glob("*/*"))):
        return f"; a data set in parts or folders is hub:{path}"
    return did_you_mean(split, names) or f"; files that are read end in {', '.join(SUFFIXES)}"
