r"""Finds the columns of a table that hold the fields of problems, by name or by request.

A column is written as an expression: its name, the path of a nested value
(`reward_model.ground_truth`, `messages.1.value`), several joined by `+` (`Body+Question`), and
`boxed(solution)`, the last box of a solution, or `all(final_answer)`, all items of a list as one
answer. A column whose name looks like an expression is that column.

Names are found in any case, without spaces and underscores. Text before a question (`body`,
`context`) and the choices after it (`choices`, `options`, columns A, B, C, ...) are joined to it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reason_env.errors import ProblemError, did_you_mean, shown
from reason_env.problems.files.chat import messages_of, user_text
from reason_env.problems.files.gsm8k import is_gsm8k_answer
from reason_env.problems.files.table import Table, as_list
from reason_env.verify import PRESETS, extract_answer

FOUND_NAMES: Mapping[str, tuple[str, ...]] = {
    "question": (
        "question", "extra_info.question", "problem", "extra_info.problem", "prompt", "query",
        "sQuestion", "messages", "conversations",
    ),
    "answer": (
        "answer", "final_answer", "reward_model.ground_truth", "ground_truth", "expected_answer",
        "answerKey", "lSolutions", "messages.1.ground_truth.value", "solution",
    ),
    "solution": ("solution", "extra_info.solution", "extra_info.answer"),
    "level": ("level",),
    "source": ("source",),
    "problem_id": ("problem_id",),
}  # fmt: skip
"""Field -> names of its column that are found without being asked for, the first that exists."""

BEFORE = ("body", "context")
"""Columns with text that belongs before the question."""
CHOICES = ("choices", "options")
LETTERS = "ABCDEFGHIJ"

_FUNCTION = re.compile(r"(boxed|all)\((.+)\)")
_ANSWER = re.compile(r"(?!.*(?:boxed|[a-z]{3,} [a-z]{2,} [a-z]{2,}))[^\n]{1,64}", re.IGNORECASE)
"""A short text without three words in a row: an answer in a column `solution`."""
_LETTERED = re.compile(r"\(?[A-J][).:]\s*\S")


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
            make = _boxed if function[1] == "boxed" else _all
            return Column(expression, make(inner))
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


def _boxed(inner: Column) -> Callable[[Mapping[str, Any]], object]:
    options = PRESETS["boxed"]()

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
    choices = choices_of(value)
    if choices is not None:
        return "".join(f"\n{choice}" for choice in choices)
    if not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    return f"\n{name}) {text}" if len(name) == 1 and name in LETTERS else text


def choices_of(value: object) -> list[str] | None:
    """Read the choices of a question, each with its letter; None if a value is something else.

    More choices than there are letters are none: a question without some of them is another one.

    >>> choices_of(["7", "A) 8"]), choices_of({"text": ["7", "8"], "label": ["1", "2"]})
    (['A) 7', 'B) A) 8'], ['1) 7', '2) 8'])
    >>> choices_of(["A)7", "B)8"])
    ['A)7', 'B)8']
    """
    labels: Sequence[object] = LETTERS
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        if not isinstance(held.get("text"), list) or not isinstance(held.get("label"), list):
            return None
        labels = cast("list[object]", held["label"])
        value = held["text"]
    if not isinstance(value, list) or not value:
        return None
    texts = [str(item).strip() for item in cast("list[object]", value)]
    if all(map(_LETTERED.match, texts)):
        return texts
    if len(texts) > len(labels):
        return None
    return [f"{label}) {text}" for label, text in zip(labels, texts, strict=False)]


def found_columns(table: Table) -> dict[str, Column]:
    """Find the columns of all fields by their names; a field without one is left out."""
    names = {_plain(path): path for path in reversed(table.paths)}
    found: dict[str, str] = {}
    for field, known in FOUND_NAMES.items():
        if field in table.columns:
            found[field] = field
            continue
        for name in known:
            path = names.get(_plain(name))
            if path and not _is_taken(field, path, found, table):
                found[field] = path
                break
    if "question" in found:
        found["question"] = _with_context(found["question"], table, names)
    return {field: column(expression, table, field) for field, expression in found.items()}


def _plain(name: str) -> str:
    """A name without case, spaces and underscores.

    >>> _plain("Final Answer"), _plain("reward_model.Ground_Truth")
    ('finalanswer', 'rewardmodel.groundtruth')
    """
    return re.sub(r"[\s_-]", "", name.lower())


def _is_taken(field: str, path: str, found: Mapping[str, str], table: Table) -> bool:
    """Whether a column of a fitting name holds something else after all."""
    if field == "solution":
        # MATH's solution is a solution; that of DAPO's processed set is the answer.
        return path == found.get("answer") or (
            path.lower() == "extra_info.answer" and not _has_solutions(path, table)
        )
    return field == "answer" and _plain(path) == "solution" and not _has_answers(path, table)


def _has_solutions(path: str, table: Table) -> bool:
    read = column(path, table, "solution").read
    return all(is_gsm8k_answer(read(row)) for row in table.rows)


def _has_answers(path: str, table: Table) -> bool:
    """Whether every value is short enough for an answer."""
    read = column(path, table, "answer").read
    values = [read(row) for row in table.rows]
    return all(
        isinstance(value, int | float)
        or (isinstance(value, str) and _ANSWER.fullmatch(value.strip()) is not None)
        for value in values
    )


def _with_context(question: str, table: Table, names: Mapping[str, str]) -> str:
    """Join what belongs before the question, and its choices."""
    before = [names[name] for name in BEFORE if name in names and names[name] != question]
    after = [names[name] for name in CHOICES if name in names][:1]
    lettered = [letter for letter in LETTERS if letter in table.columns]
    if not after and len(lettered) >= 2 and lettered == list(LETTERS[: len(lettered)]):
        after = lettered
    return "+".join((*before, question, *after))


def answer_letters(table: Table, answer: Column) -> dict[int, str] | None:
    """Map answers that are indices of choices, from 0, to letters; None if they are none.

    Only whole numbers of JSON and Parquet are indices, if each is one of its row's choices.
    """
    names = {_plain(path): path for path in table.columns}
    path = next((names[name] for name in CHOICES if name in names), None)
    if path is None:
        return None
    for row in table.rows:
        index, choices = answer.read(row), choices_of(row.get(path))
        if type(index) is not int or choices is None or not 0 <= index < len(choices):
            return None
    return dict(enumerate(LETTERS))


def question_text(column: Column, row: Mapping[str, Any]) -> object:
    """Read a question, of a list of messages the user's last one."""
    value = column.read(row)
    messages = messages_of(value) if column.is_chat else None
    return value if messages is None else user_text(messages)


def single(value: object) -> object:
    """Take the only item of a list, also if it is written as JSON; other values are unchanged.

    >>> single(["5"]), single([["5"]]), single('["5"]'), single("[5]"), single([1, 2])
    ('5', '5', '5', '[5]', [1, 2])
    """
    items = as_list(value)
    if isinstance(value, str) and value.startswith('["'):
        try:
            items = as_list(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return single(items[0]) if items is not None and len(items) == 1 else value
