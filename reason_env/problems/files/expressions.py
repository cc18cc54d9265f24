r"""Expressions that name columns, and the functions that read them from a row.

A column is written as an expression: its name, the path of a nested value
(`reward_model.ground_truth`, `messages.1.value`), several joined by `+` (`Body+Question`), and
`boxed(solution)`, the last box of a solution, `stated(response)`, the answer that a text states in
any form, or `all(final_answer)`, all items of a list as one answer. A column whose name looks like
an expression is that column.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reason_env.errors import ProblemError, did_you_mean, shown
from reason_env.problems.files.choices import choices_of
from reason_env.problems.files.table import Table
from reason_env.verify import PRESETS, extract_answer

_FUNCTION = re.compile(r"(boxed|stated|all)\((.+)\)")
CHOICES = ("choices", "options", "question.choices")
"""Columns with choices, which are written one a line."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field comes from, and how to read it."""

    expression: str
    read: Callable[[Mapping[str, Any]], object]

    @property
    def is_chat(self) -> bool:
        """Whether an expression is one name or path, so that it may hold a list of messages."""
        return "+" not in self.expression


def column(expression: str, table: Table, field: str) -> Column:
    """Parse an expression.

    Raises:
        ProblemError: A column that it names does not exist.
    """
    if expression not in table.paths:
        function = _FUNCTION.fullmatch(expression)
        if function:
            inner = column(function[2], table, field)
            if function[1] == "all":
                return Column(expression, _all(inner))
            return Column(expression, _extracted(inner, _PRESETS[function[1]]))
        if "+" in expression:
            parts = [column(part.strip(), table, field) for part in expression.split("+")]
            return Column(expression, lambda row: _joined(parts, row))
        if not any(path.startswith(f"{expression}.") for path in table.paths):
            raise ProblemError(
                f"{table.name} must have the column {shown(expression)} that {field!r} is mapped "
                f"to, got columns {table.listed}{did_you_mean(expression, table.paths)}"
            )
    if expression in table.columns:
        return Column(expression, lambda row: row.get(expression))
    return Column(expression, lambda row: _at(row, expression.split(".")))


def _at(value: Any, keys: Sequence[str]) -> object:
    """Follow a path through objects and lists; None where it ends early."""
    for key in keys:
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value).get(key)
        elif isinstance(value, list) and key.isdecimal():
            items = cast("list[object]", value)
            value = items[int(key)] if int(key) < len(items) else None
        else:
            return None
    return value


_PRESETS = {"boxed": "boxed", "stated": "text"}
"""Function -> the preset that says where the answer stands."""


def _extracted(inner: Column, preset: str) -> Callable[[Mapping[str, Any]], object]:
    options = PRESETS[preset]()

    def read(row: Mapping[str, Any]) -> object:
        value = inner.read(row)
        if isinstance(value, list):
            value = "\n".join(str(item) for item in cast("list[object]", value))
        if not isinstance(value, str):
            return None
        return extract_answer(value, options, is_reference=True)

    return read


def _all(inner: Column) -> Callable[[Mapping[str, Any]], object]:
    def read(row: Mapping[str, Any]) -> object:
        value = inner.read(row)
        return all_items(cast("list[object]", value)) if isinstance(value, list) else value

    return read


def all_items(values: Sequence[object]) -> object:
    """Join the items of a list as one answer; the list itself if one of them is no answer.

    >>> all_items(["2", 3]), all_items([["2"], None])
    ('2, 3', [['2'], None])
    """
    if not all(isinstance(value, str | int | float) for value in values):
        return values
    return ", ".join(str(value).strip() for value in values)


def _joined(parts: Sequence[Column], row: Mapping[str, Any]) -> object:
    text = ""
    for part in parts:
        value = part.read(row)
        piece = _piece(part.expression, value)
        if piece is None:
            return None
        if piece:
            text += ("" if not text or piece.startswith("\n") else " ") + piece
    return text


def _piece(name: str, value: object) -> str | None:
    """The text of one part of a joined column; choices are lines that begin with a letter."""
    if value is None or value == []:
        return ""
    is_text = isinstance(value, str) and name.lower() not in CHOICES
    choices = None if is_text else choices_of(value)
    if choices is not None:
        return "".join(f"\n{choice}" for choice in choices)
    if not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    letter = choice_letter(name)
    return f"\n{letter}) {text}" if letter else text


def choice_letter(name: str) -> str:
    """Give the letter of the choice that a column of this name holds; "" if it holds none.

    >>> choice_letter("A"), choice_letter("Option B"), choice_letter("opc"), choice_letter("a")
    ('A', 'B', 'C', '')
    """
    found = _CHOICE_NAME.fullmatch(name)
    return "" if found is None else (found[1] or found[2]).upper()


_CHOICE_NAME = re.compile(r"([A-J])|(?i:op|option|choice)[ _]?([A-Ja-j])")
