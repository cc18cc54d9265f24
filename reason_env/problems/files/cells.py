"""What the cells of a row must hold to be the fields of a problem.

A question is text, or a chat whose last user message is the question; an answer is text, a number
or a list of one; a solution is a list of texts, or one text that is split at newlines; a level is a
whole number of at least 0, also as "3" or "Level 3" ("?" or nothing is 0, unknown). Blank steps and
white space at the end of steps are dropped. `9 (apples)` is 9 apples, `<answer>9</answer>` is 9.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from reason_env.errors import ProblemError, shown
from reason_env.problem import Problem
from reason_env.problems.files.chat import messages_of, user_text
from reason_env.problems.files.expressions import Column, all_items
from reason_env.problems.files.table import as_list, single
from reason_env.verify import decide

NO_ANSWERS = frozenset(("proof", "notfound", "not found", "none", "null", "nan", "n/a"))
"""What data sets write where a problem has no final answer, in lower case."""
_COUNTED = re.compile(r"([-+]?[0-9](?:[0-9.,/:]*[0-9])?) ?\(([^\W\d_][^()0-9;]*)\)")
_TAGGED = re.compile(r"(?:<think>.*</think>)?\s*<answer>(.+?)</answer>", re.DOTALL | re.IGNORECASE)
_UNREAD_CHAT = re.compile(r"\[\s*\{\s*['\"](?:role|from|content|value)['\"]\s*:")
_NUMBER_PLACE = re.compile(r"\bN_(\d{2})\b")
_LEVEL = re.compile(r"(?:level\s*)?(?:([0-9]{1,9})|\?)?", re.IGNORECASE)


class NoAnswerError(ProblemError):
    """A row whose answer is none."""


def question_text(column: Column, row: Mapping[str, Any]) -> object:
    """Read a question, of a list of messages the user's last one.

    MAWPS writes the numbers of a question to a column of their own.

    >>> question_text(Column("Question", lambda row: row["Question"]),
    ...               {"Question": "N_00 and N_01?", "Numbers": "7.0 5.5"})
    '7 and 5.5?'
    """
    value = column.read(row)
    messages = messages_of(value) if column.is_chat else None
    if messages is not None:
        return user_text(messages)
    numbers = row.get("Numbers")
    if not isinstance(value, str) or not isinstance(numbers, str):
        return value
    texts = [number.removesuffix(".0") for number in numbers.split()]
    return _NUMBER_PLACE.sub(lambda at: (*texts, at[0])[min(int(at[1]), len(texts))], value)


def answer_value(answer: Column, row: Mapping[str, Any]) -> object:
    """Read an answer: the item of a list of one, or all items if the row says that all count."""
    value = single(answer.read(row))
    items = as_list(value)
    is_multiple = row.get("is_multiple_answer") in (True, "true", "True")
    return value if items is None or not is_multiple else all_items(items)


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
    if _UNREAD_CHAT.match(question):
        raise ProblemError(
            f"question must hold text or messages as JSON, got {shown(question)}; "
            "write the rows as JSON Lines or Parquet, or map another column to question"
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
    tagged = _TAGGED.fullmatch(text)
    return _without_brackets(tagged[1].strip() if tagged else text)


def _without_brackets(text: str) -> str:
    r"""Write `9 (apples)` as 9 apples; as 9 if a response could not omit the noun then.

    >>> _without_brackets("9 (apples)"), _without_brackets("2.5 (m)")
    ('9 apples', '2.5 \\text{ m}')
    >>> _without_brackets("3 (cats); 4 (dogs)"), _without_brackets("f(x)")
    ('3 cats, 4 dogs', 'f(x)')
    """
    counted = [_COUNTED.fullmatch(part.strip()) for part in _PARTS.split(text)]
    if None in counted:
        return text
    numbers = ", ".join(found[1] for found in counted if found)
    for form in ("{1} {2}", "{1} \\text{{ {2}}}"):
        named = ", ".join(form.format(*found.group(0, 1, 2)) for found in counted if found)
        verdict = decide(numbers, named)
        if verdict is not None and verdict.is_correct:
            return named
    return numbers


_PARTS = re.compile(r";|,(?=\s)|(?<=\)) and ")


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


def is_level(value: object) -> bool:
    """Whether a value is a level."""
    return _whole_level(value) is not None


def is_solution(value: object) -> bool:
    """Whether a value is a text or a list of texts, or nothing."""
    items: object = [value] if isinstance(value, str) else [] if value is None else value
    listed = cast("Sequence[object]", items) if isinstance(items, list | tuple) else [None]
    return all(isinstance(piece, str) for piece in listed)


def _steps(value: object) -> tuple[str, ...]:
    if not is_solution(value):
        raise ProblemError(
            f"solution must be a text or a list of texts, got {shown(value)}; "
            "correct the row, or map another column to solution"
        )
    pieces = value.split("\n") if isinstance(value, str) else cast("Sequence[str]", value or ())
    return tuple(piece.rstrip() for piece in pieces if piece.strip())


def _level(value: object) -> int:
    level = _whole_level(value)
    if level is None:
        raise ProblemError(
            f"level must be a whole number of at least 0, got {shown(value)}; "
            "correct the row, or map another column to level"
        )
    return level


def _whole_level(value: object) -> int | None:
    if value is None:
        return 0
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    match = _LEVEL.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1] or 0) if match else None
