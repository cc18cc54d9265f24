"""What the cells of a row must hold to be the fields of a problem.

A question is text, or a chat whose last user message is the question; an answer is text, a number
or a list of one; a solution is a list of texts, or one text that is split at newlines; a level is a
whole number of at least 0, also as "3" or "Level 3" ("?" or nothing is 0, unknown). Blank steps and
white space at the end of steps are dropped. `9 (apples)` is 9 apples.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from reason_env.errors import ProblemError, shown
from reason_env.problem import Problem
from reason_env.problems.files.chat import messages_of, user_text
from reason_env.problems.files.expressions import Column, all_items
from reason_env.problems.files.table import as_list

NO_ANSWERS = frozenset(("proof", "notfound", "not found", "none", "null", "nan", "n/a"))
"""What data sets write where a problem has no final answer, in lower case."""
_COUNTED = re.compile(r"([-+]?[0-9][0-9.,/]*) ?\(([A-Za-z][A-Za-z .]*)\)")
_LEVEL = re.compile(r"(?:level\s*)?(?:([0-9]{1,9})|\?)?", re.IGNORECASE)


class NoAnswerError(ProblemError):
    """A row whose answer is none."""


def question_text(column: Column, row: Mapping[str, Any]) -> object:
    """Read a question, of a list of messages the user's last one."""
    value = column.read(row)
    messages = messages_of(value) if column.is_chat else None
    return value if messages is None else user_text(messages)


def answer_value(answer: Column, row: Mapping[str, Any]) -> object:
    """Read an answer: the item of a list of one, or all items if the row says that all count."""
    value = single(answer.read(row))
    items = as_list(value)
    is_multiple = row.get("is_multiple_answer") in (True, "true", "True")
    return value if items is None or not is_multiple else all_items(items)


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


def problem_of(values: Mapping[str, Any], seen: Mapping[str, str]) -> Problem:
    """Build a problem from the values of its fields.

    Args:
        values: Field -> value of its cell.
        seen: Ids of the problems before -> their places.

    Raises:
        NoAnswerError: The row holds no answer, or a proof.
        ProblemError: A value is none of its field, or the id is not new.
    """
    question = values["question"]
    if not isinstance(question, str) or not question.strip():
        raise ProblemError(
            f"question must hold text, got {shown(question)}; "
            "drop the row, or map another column to question"
        )
    source = values["source"]
    problem = Problem(
        problem_id=_short_text(values["problem_id"], "problem_id"),
        question=question,
        answer=_answer_text(values["answer"]),
        solution=_steps(values.get("solution")),
        level=_level(values.get("level")),
        source="" if source is None else str(source),
    )
    if problem.problem_id in seen:
        raise ProblemError(
            f"problem_id must be unique, got {shown(problem.problem_id)} as in "
            f"{seen[problem.problem_id]}; rename one, or map another column to problem_id"
        )
    return problem


def _answer_text(value: object) -> str:
    if as_list(value) is not None:
        raise NoAnswerError(
            f"answer must be text or a number, got {shown(value)}: if all items together are the "
            "answer, map it to 'all(COLUMN)'"
        )
    if isinstance(value, str) and value.strip().lower() in NO_ANSWERS:
        raise NoAnswerError(
            f"answer must be a final answer, got {shown(value)}: the row holds "
            f"{'a proof' if value.strip().lower() == 'proof' else 'none'}"
        )
    text = _as_text(value)
    if not text:
        raise NoAnswerError(f"answer must be text or a number, got {shown(value)}")
    counted = _COUNTED.fullmatch(text)
    return f"{counted[1]} {counted[2]}" if counted else text


def _as_text(value: object) -> str:
    """A text, or a number as text; "" for anything else."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float | Decimal) and math.isfinite(value):
        # Never in scientific notation, which the grader does not read as an answer: 1e+22.
        return format(Decimal(str(value)), "f")
    return ""


def _short_text(value: object, field: str) -> str:
    text = _as_text(value)
    if not text:
        raise ProblemError(
            f"{field} must be text or a number, got {shown(value)}; "
            f"correct or drop the row, or map another column to {field}"
        )
    return text


def _steps(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    pieces: object = value.split("\n") if isinstance(value, str) else value
    if isinstance(pieces, list | tuple):
        listed = cast("Sequence[object]", pieces)
        steps = [piece.rstrip() for piece in listed if isinstance(piece, str)]
        if len(steps) == len(listed):
            return tuple(step for step in steps if step)
    raise ProblemError(
        f"solution must be a text or a list of texts, got {shown(value)}; "
        "correct the row, or map another column to solution"
    )


def _level(value: object) -> int:
    whole = value
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        whole = int(value)
    if whole is None:
        return 0
    if isinstance(whole, int) and not isinstance(whole, bool) and whole >= 0:
        return whole
    match = _LEVEL.fullmatch(whole.strip()) if isinstance(whole, str) else None
    if match is None:
        raise ProblemError(
            f"level must be a whole number of at least 0, got {shown(value)}; "
            "correct the row, or map another column to level"
        )
    return int(match[1] or 0)
