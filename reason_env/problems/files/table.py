"""Table: the unchecked rows of a file or a hub set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast


def as_list(value: object) -> list[object] | None:
    """Give a value that is a list; None for any other."""
    return cast("list[object]", value) if isinstance(value, list) else None


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
        return ", ".join(path for path in self.paths if path not in nested)


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
