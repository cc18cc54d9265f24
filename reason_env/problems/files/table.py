"""Table: the unchecked rows of a file or a hub set."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

from reason_env.problem import Problem


def as_list(value: object) -> list[object] | None:
    """Give a value that is a list; None for any other."""
    return cast("list[object]", value) if isinstance(value, list) else None


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Give a value that is an object; None for any other."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def as_written(value: object) -> object:
    """Read an object, or a list of objects, that a cell holds as text: JSON, or Python's form.

    Other values are unchanged.

    >>> as_written('{"ground_truth": "7"}'), as_written("[{'role': 'user'}]"), as_written("[7]")
    ({'ground_truth': '7'}, [{'role': 'user'}], '[7]')
    """
    if not isinstance(value, str) or not _OBJECT.match(value):
        return value
    read: object = None
    for parse in (json.loads, ast.literal_eval):
        try:
            read = parse(value)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    items = as_list(read) or [read]
    return value if any(as_mapping(item) is None for item in items) else read


def single(value: object) -> object:
    """Take the only item of a list, also if it is written as JSON; other values are unchanged.

    A list of several texts that is written as JSON becomes that list.

    >>> single(["5"]), single([["5"]]), single('["5"]'), single("['5']"), single("[5]")
    ('5', '5', '5', '5', '[5]')
    >>> single([1, 2]), single('["1", "2"]')
    ([1, 2], ['1', '2'])
    """
    items = as_list(value)
    if isinstance(value, str) and value.lstrip().startswith(('["', "['")):
        one = _ONE_QUOTED.fullmatch(value.strip())
        try:
            items = [one[1]] if one else as_list(json.loads(value))
        except (ValueError, RecursionError):
            return value
        return value if items is None else single(items)
    return single(items[0]) if items is not None and len(items) == 1 else value


_ONE_QUOTED = re.compile(r"\['([^'\\]*)'\]")
_OBJECT = re.compile(r"\s*(?:\[\s*)?\{\s*['\"]")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows as they were read; files and hub sets both become one, for the same checks."""

    name: str
    """Name of the file or data set in messages."""
    source: str
    """`Problem.source` by default; without a folder, so that equal files have equal hashes."""
    columns: tuple[str, ...]
    """Every column that at least one row has."""
    rows: tuple[Mapping[str, Any], ...]
    places: tuple[str, ...]
    """Name of each row in messages: "line 3", "row 2"."""

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The columns, and of nested ones also what they hold, as `reward_model.ground_truth`."""
        found = dict.fromkeys(self.columns)
        for row in self.rows:
            for column, value in row.items():
                if isinstance(value, dict | list):
                    found.update(dict.fromkeys(_paths(column, cast("object", value))))
        return tuple(found)

    @property
    def listed(self) -> str:
        """The columns in a message: the nested ones by what they hold."""
        nested = {path.partition(".")[0] for path in self.paths if path not in self.columns}
        names = [path for path in self.paths if path not in nested]
        # A name may hold a line end, which would break a message of one line.
        return ", ".join(name if name.isprintable() else repr(name) for name in names)


def _paths(path: str, value: object, depth: int = 3) -> Iterator[str]:
    """Yield the paths of texts and numbers inside a value; a list of messages has none of its own.

    >>> list(_paths("a", {"b": 1, "c": {"d": "x"}})), list(_paths("a", [{"f": 1}, {"g": {"h": 2}}]))
    (['a.b', 'a.c.d'], ['a.0.f', 'a.1.g.h'])
    """
    parts: list[tuple[object, object]] = []
    if isinstance(value, dict):
        parts = list(cast("dict[object, object]", value).items())
    elif isinstance(value, list):
        items = cast("list[object]", value)
        parts = list(enumerate(items)) if any(isinstance(item, dict) for item in items) else []
    for key, part in parts:
        inner = f"{path}.{key}"
        if isinstance(part, dict | list) and depth:
            yield from _paths(inner, cast("object", part), depth - 1)
        if not isinstance(part, dict):
            yield inner


def table_of(
    rows: Sequence[Mapping[str, Any]],
    *,
    name: str,
    source: str,
    columns: tuple[str, ...],
    places: Sequence[str],
) -> Table:
    """Make a table, and read objects that cells hold as text.

    Columns of the problem's own fields are left as they are.
    """
    read = tuple(
        {
            column: _text(value) if column in _FIELDS else as_written(_text(value))
            for column, value in row.items()
        }
        for row in rows
    )
    return Table(name=name, source=source, columns=columns, rows=read, places=tuple(places))


def _text(value: object) -> object:
    """Read bytes that are text, as Parquet files without a type of text have them."""
    if not isinstance(value, bytes):
        return value
    return value.decode() if _is_utf8(value) else value


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


_FIELDS = frozenset(field.name for field in fields(Problem))
