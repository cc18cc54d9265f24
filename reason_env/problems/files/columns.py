r"""Chooses the columns of a table that hold the fields of problems, by name or by request.

Names are found in any case, without spaces and underscores. Text before a question (`body`,
`context`) and the choices after it (`choices`, `options`, columns A, B, C, ...) are joined to it.
A request is an expression (`reason_env.problems.files.expressions`).
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from reason_env.errors import ConfigError, ProblemError, did_you_mean, shown
from reason_env.problem import Problem
from reason_env.problems.files.expressions import LETTERS, Column, choices_of, column
from reason_env.problems.files.gsm8k import is_gsm8k_answer
from reason_env.problems.files.table import Table

FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Problem))
"""Problem fields to which a column can be mapped."""
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
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("input", "instruction", "text"),
    "answer": ("final", "target", "label", "gold", "reference", "correct", "correct_answer"),
}
"""Names that data sets use for the two fields every problem needs, and for other things too."""
BEFORE = ("body", "context")
"""Columns with text that belongs before the question."""
CHOICES = ("choices", "options")
_ANSWER = re.compile(r"(?!.*(?:boxed|[a-z]{3,} [a-z]{2,} [a-z]{2,}))[^\n]{1,64}", re.IGNORECASE)
"""A short text without three words in a row: an answer in a column `solution`."""


def chosen_columns(table: Table, mapped: Mapping[str, str]) -> dict[str, Column]:
    """Choose the column of each field: those that are asked for, and others by their names.

    Raises:
        ProblemError: A column does not exist, or there is none for the question or the answer.
        ConfigError: A field does not exist.
    """
    for field, expression in mapped.items():
        if field not in FIELDS:
            turned = field in table.paths and expression in FIELDS
            hint = f"; write the problem's field first: {{{expression!r}: {field!r}}}"
            raise ConfigError(
                f"columns must map problem fields ({', '.join(FIELDS)}) to columns of {table.name} "
                f"({table.listed}), got field {shown(field)}"
                f"{hint if turned else did_you_mean(field, FIELDS)}"
            )
    chosen = found_columns(table)
    chosen |= {field: column(name, table, field) for field, name in mapped.items()}
    used = chosen["answer"].expression if "answer" in chosen else ""
    if "solution" not in mapped and used == "solution" == columns_of(chosen).get("solution"):
        chosen.pop("solution")
    for field in ("question", "answer"):
        if field not in chosen:
            raise ProblemError(
                f"{table.name} must have a column {field!r}, got columns {table.listed}; "
                + _advice(field, table)
            )
    return chosen


def columns_of(columns: Mapping[str, Column]) -> dict[str, str]:
    """Give the expression of each field's column."""
    return {field: one.expression for field, one in columns.items()}


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


def _advice(field: str, table: Table) -> str:
    """Say how to name the column of a field."""
    solution = next((name for name in table.columns if name.lower() == "solution"), None)
    if field == "answer" and solution is not None:
        rows = [str(row.get(solution)) for row in table.rows]
        if any("\\boxed" in text for text in rows):
            expression = f"boxed({solution})"
            return f"take it out of the solutions with columns={{'answer': {expression!r}}}"
    is_cells = table.source.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    header = "the first line of a CSV file must name its columns; " if is_cells else ""
    return f"{header}map one with columns={{{field!r}: {_likely_column(field, table.paths)}}}"


def _likely_column(field: str, columns: Sequence[str]) -> str:
    """Give the column that most likely holds a field, quoted, or NAME.

    >>> _likely_column("question", ["solution", "answer"])
    'NAME'
    >>> _likely_column("question", ["Input", "answer"]), _likely_column("answer", ["anwser"])
    ("'Input'", "'anwser'")
    """
    known = [column for column in columns if column.lower() in (field, *OTHER_NAMES[field])]
    near = known or difflib.get_close_matches(field, columns, n=1, cutoff=0.8)
    return repr(near[0]) if near else "NAME"


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
