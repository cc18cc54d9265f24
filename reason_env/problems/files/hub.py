"""Loads problems with Hugging Face `datasets`, by a name on the hub or from a local directory.

`datasets.load_from_disk` opens a directory that `save_to_disk` wrote. `datasets.load_dataset` loads
every other directory and every hub name; it runs no code of a data set (from version 4; version 3
asks first). Messages name a row by its index from 0. The checks are the same as for files
(`reason_env.problems.files.rows`).

Not covered: streaming. The whole set is read, then cut at `limit`.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from reason_env.errors import ProblemError, did_you_mean, shown
from reason_env.problem import ProblemSet
from reason_env.problems.files.rows import (
    RowFormat,
    RowOptions,
    check_limit,
    problems_from_table,
)
from reason_env.problems.files.table import Table, table_of


def load_hub(
    name: str,
    *,
    config: str | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    revision: str | None = None,
    allow_ungradable: bool = False,
    drop_ungradable: bool = False,
    row_format: RowFormat = "auto",
    keep_marks: bool = False,
) -> ProblemSet:
    """Load the problems of one split of a data set, in its order.

    Args:
        name: A hub name (`openai/gsm8k`) or a local directory. Its last part names the set.
        config: The configuration, for a data set with several.
        split: The split, and the second part of the default ids.
        columns: Problem field -> column.
        limit: Keep only the first `limit` rows.
        revision: Branch, tag or commit on the hub.
        allow_ungradable: Keep rows whose answer does not grade as correct against itself.
        drop_ungradable: Drop those rows and rows that hold no answer.
        row_format: `auto` recognises GSM8K, `plain` never does, `gsm8k` requires it.
        keep_marks: Keep GSM8K's calculator marks in the steps.

    Raises:
        ProblemError: `datasets` is missing, or the set, the split or a row cannot be used.
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
    table, own_name = read_hub(name, config=config, split=split, limit=limit, revision=revision)
    return problems_from_table(table, set_name=own_name, split=split, options=options)


def read_hub(
    name: str,
    *,
    config: str | None = None,
    split: str = "train",
    limit: int | None = None,
    revision: str | None = None,
) -> tuple[Table, str]:
    """Read the table of one split of a data set, and the set's name; arguments as for `load_hub`.

    Raises:
        ProblemError: `datasets` is missing, or the set or the split cannot be loaded.
    """
    data = _dataset(name, config=config, split=split, revision=revision)
    if limit is not None:
        data = data.select(range(min(limit, len(data))))
    rows: list[dict[str, Any]] = list(data)
    path = Path(name)
    source = path.resolve().name if path.is_dir() else name
    table = table_of(
        rows,
        name=name,
        source=source,
        columns=tuple(data.column_names),
        places=[f"row {index}" for index in range(len(rows))],
    )
    return table, Path(source).name


def _dataset(name: str, *, config: str | None, split: str, revision: str | None) -> Any:
    try:
        # Imported by name as Any, because the library's types are incomplete.
        datasets: Any = import_module("datasets")
    except ImportError as error:
        raise ProblemError(
            f"data set {name!r} must have the datasets library to be read, got {error}; "
            "install the extra: pip install 'reason-env[data]'"
        ) from error
    try:
        if is_saved(Path(name)):
            if config is not None or revision is not None:
                raise ProblemError(
                    f"a directory of save_to_disk must be named without config and revision, got "
                    f"config={config!r}, revision={revision!r}; leave them out"
                )
            return _split_of(datasets.load_from_disk(name), name, split)
        return datasets.load_dataset(name, config, split=split, revision=revision)
    except ProblemError:
        raise
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise ProblemError(
            f"data set {name!r} (config {config!r}, split {split!r}) must be loadable, got "
            f"{type(error).__name__}: {shown(str(error))}; check its name, config and split, and "
            "the connection"
        ) from error


def is_saved(path: Path) -> bool:
    """Decide whether a path is a directory that `save_to_disk` wrote."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _split_of(data: Any, name: str, split: str) -> Any:
    """Select a split from saved data: a dict of splits, or one split, which may lack its name."""
    splits: dict[str, Any]
    if isinstance(data, dict):
        splits = {str(key): part for key, part in cast("dict[Any, Any]", data).items()}
    else:
        splits = {split if data.split is None else str(data.split): data}
    if split not in splits:
        raise ProblemError(
            f"data set {name!r} must hold the split asked for, got {split!r}"
            f"{did_you_mean(split, splits)}"
        )
    return splits[split]
