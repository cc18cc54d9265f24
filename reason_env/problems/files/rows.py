"""Converts the rows of a table to problems: maps columns, checks every row.

Files and hub sets both become a `Table` first, so that all sources have the same checks and
messages. A row that cannot be used stops the load with a message that names it, because training on
a silently shorter or ungradable set is worse than not training.

Types: a question is text; an answer is text or a number; a solution is a list of texts, or one text
that is split at newlines; a level is a whole number of at least 0, also as "3" or "Level 3" ("?" or
nothing is 0, unknown). Blank steps and white space at the end of steps are dropped.

A table without a solution column is GSM8K if the answers end in a line `#### n`. A table in which
only some answers do is an error.
"""

import difflib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal, cast, get_args

from reason_env.errors import ConfigError, ProblemError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.files.gsm8k import is_gsm8k_answer, parse_gsm8k_answer
from reason_env.verify import is_gradable

logger = logging.getLogger(__name__)

FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Problem))
"""Problem fields to which a column can be mapped."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("problem", "prompt", "query", "input", "instruction"),
    "answer": ("final_answer", "final", "target", "label", "gold", "ground_truth", "reference"),
}
"""Names that data sets use for the two fields every problem needs."""

RowFormat = Literal["auto", "plain", "gsm8k"]
"""Whether rows are GSM8K: if recognised, never, or always."""

_LEVEL = re.compile(r"(?:level\s*)?(?:([0-9]{1,9})|\?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The unchecked rows of a file or a hub set."""

    name: str
    """Name of the file or data set in messages."""
    source: str
    """`Problem.source` by default; without a folder, so that equal files have equal hashes."""
    columns: tuple[str, ...]
    """Every column that at least one row has."""
    rows: tuple[Mapping[str, Any], ...]
    places: tuple[str, ...]
    """Name of each row in messages: "line 3", "row 2"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """How the rows of a table become problems."""

    columns: Mapping[str, str] | None = None
    """Problem field -> column; by default the column of the same name."""
    row_format: RowFormat = "auto"
    """Whether rows are GSM8K."""
    keep_marks: bool = False
    """Keep GSM8K's calculator marks in the steps."""
    allow_ungradable: bool = False
    """Keep rows whose answer does not grade as correct against itself; warn with their count."""

    def __post_init__(self) -> None:
        if self.row_format not in get_args(RowFormat):
            raise ConfigError(
                f"row_format must be one of {', '.join(get_args(RowFormat))}, "
                f"got {shown(self.row_format)}"
            )


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Raise ConfigError if a number of rows is below 1."""
    if limit is not None and limit < 1:
        raise ConfigError(f"{name} must be at least 1, got {limit!r}; leave it out for all rows")


def problems_from_table(
    table: Table, *, set_name: str, split: str, options: RowOptions
) -> ProblemSet:
    """Convert a table to a problem set; a row without an id gets `<set_name>/<split>/<row>`.

    Args:
        table: The rows.
        set_name: Name of the set, and first part of its ids.
        split: Second part of its ids.
        options: Columns, format, and whether ungradable answers are allowed.

    Raises:
        ProblemError: A column is missing, or a row cannot be used; the message names it.
    """
    if not table.rows:
        raise ProblemError(
            f"{table.name} must hold at least one row, got none; check the file and the split"
        )
    columns = _columns(table, options)
    gsm8k = _is_gsm8k(table, columns, options)
    places: dict[str, str] = {}
    problems: list[Problem] = []
    for index, (row, place) in enumerate(zip(table.rows, table.places, strict=True)):
        where = f"{table.name} {place}"
        values: dict[str, Any] = {field: row.get(column) for field, column in columns.items()}
        values.setdefault("problem_id", f"{set_name}/{split}/{index}")
        values.setdefault("source", table.source)
        if gsm8k:
            values |= _gsm8k_values(values["answer"], keep_marks=options.keep_marks)
        problem = _problem(values, where)
        if problem.problem_id in places:
            raise ProblemError(
                f"{where}: problem_id must be unique, got {shown(problem.problem_id)} as in "
                f"{places[problem.problem_id]}; rename one, or map another column to problem_id"
            )
        places[problem.problem_id] = place
        problems.append(problem)
    _check_gradable(problems, table, options)
    return ProblemSet(set_name, tuple(problems))


def _columns(table: Table, options: RowOptions) -> dict[str, str]:
    mapped = dict(options.columns or {})
    listed = ", ".join(table.columns)
    for field, column in mapped.items():
        if field not in FIELDS:
            turned = field in table.columns and column in FIELDS
            hint = f"; write the problem's field first: {{{column!r}: {field!r}}}"
            raise ConfigError(
                f"columns must map problem fields ({', '.join(FIELDS)}) to columns of {table.name} "
                f"({listed}), got field {shown(field)}"
                f"{hint if turned else did_you_mean(field, FIELDS)}"
            )
        if column not in table.columns:
            raise ProblemError(
                f"{table.name} must have the column {shown(column)} that {field!r} is mapped to, "
                f"got columns {listed}{did_you_mean(column, table.columns)}"
            )
    chosen = {field: field for field in FIELDS if field in table.columns} | mapped
    for field in ("question", "answer"):
        if field not in chosen:
            raise ProblemError(
                f"{table.name} must have a column {field!r}, got columns {listed}; "
                f"map one with columns={{{field!r}: {_likely_column(field, table.columns)}}}"
            )
    return chosen


def _likely_column(field: str, columns: Sequence[str]) -> str:
    """Give the column that most likely holds a field, quoted, or NAME.

    >>> _likely_column("question", ["solution", "answer"])
    'NAME'
    >>> _likely_column("question", ["Problem", "answer"]), _likely_column("answer", ["anwser"])
    ("'Problem'", "'anwser'")
    """
    known = [column for column in columns if column.lower() in (field, *OTHER_NAMES[field])]
    near = known or difflib.get_close_matches(field, columns, n=1, cutoff=0.8)
    return repr(near[0]) if near else "NAME"


def _is_gsm8k(table: Table, columns: Mapping[str, str], options: RowOptions) -> bool:
    marked = [is_gsm8k_answer(row.get(columns["answer"])) for row in table.rows]
    wanted = options.row_format == "gsm8k"
    if "solution" in columns and wanted:
        raise ProblemError(
            f"{table.name} must have no solution column to be GSM8K, got "
            f"{columns['solution']!r}; load it with row_format='plain'"
        )
    recognised = options.row_format == "auto" and "solution" not in columns and any(marked)
    if (wanted or recognised) and not all(marked):
        index = marked.index(False)
        got = table.rows[index].get(columns["answer"])
        rule = "" if wanted else " as in other rows"
        raise ProblemError(
            f"{table.name} {table.places[index]}: answer must end in a line '#### n'{rule}, got "
            f"{shown(got)}; correct the row, or load the table with row_format='plain'"
        )
    if options.keep_marks and not (wanted or recognised):
        raise ProblemError(
            f"{table.name} must hold GSM8K rows to keep their marks, got other rows; "
            "leave keep_marks out"
        )
    return wanted or recognised


def _gsm8k_values(text: str, *, keep_marks: bool) -> dict[str, Any]:
    parsed = parse_gsm8k_answer(text, keep_marks=keep_marks)
    assert parsed is not None, "_is_gsm8k has checked every row"
    return {"solution": parsed[0], "answer": parsed[1]}


def _problem(values: Mapping[str, Any], where: str) -> Problem:
    question = values["question"]
    if not isinstance(question, str) or not question.strip():
        raise ProblemError(
            f"{where}: question must hold text, got {shown(question)}; "
            "drop the row, or map another column to question"
        )
    source = values["source"]
    return Problem(
        problem_id=_short_text(values["problem_id"], "problem_id", where),
        question=question,
        answer=_short_text(values["answer"], "answer", where),
        solution=_steps(values.get("solution"), where),
        level=_level(values.get("level"), where),
        source="" if source is None else str(source),
    )


def _short_text(value: object, field: str, where: str) -> str:
    text = ""
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    elif isinstance(value, float | Decimal) and math.isfinite(value):
        # Never in scientific notation, which the grader does not read as an answer: 1e+22.
        text = format(Decimal(str(value)), "f")
    if not text:
        raise ProblemError(
            f"{where}: {field} must be text or a number, got {shown(value)}; "
            f"correct or drop the row, or map another column to {field}"
        )
    return text


def _steps(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    pieces: object = value.split("\n") if isinstance(value, str) else value
    if isinstance(pieces, list | tuple):
        listed = cast("Sequence[object]", pieces)
        steps = [piece.rstrip() for piece in listed if isinstance(piece, str)]
        if len(steps) == len(listed):
            return tuple(step for step in steps if step)
    raise ProblemError(
        f"{where}: solution must be a text or a list of texts, got {shown(value)}; "
        "correct the row, or map another column to solution"
    )


def _level(value: object, where: str) -> int:
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
            f"{where}: level must be a whole number of at least 0, got {shown(value)}; "
            "correct the row, or map another column to level"
        )
    return int(match[1] or 0)


def _check_gradable(problems: list[Problem], table: Table, options: RowOptions) -> None:
    # An answer with the marker of an answer line is a whole solution, not an answer.
    answers = {problem.answer for problem in problems}
    known = {answer: "####" not in answer and is_gradable(answer) for answer in answers}
    bad = [index for index, problem in enumerate(problems) if not known[problem.answer]]
    if not bad:
        return
    where = f"{table.name} {table.places[bad[0]]}"
    if options.allow_ungradable:
        listed = ", ".join(str(table.places[index]) for index in bad[:50])
        logger.warning(
            "keeping %d of %d answers of %s that do not grade as correct against themselves: %s",
            len(bad), len(problems), table.name, listed + (", ..." if len(bad) > 50 else ""),
        )  # fmt: skip
        return
    raise ProblemError(
        f"{where}: answer must grade as correct against itself, got "
        f"{shown(problems[bad[0]].answer)} ({len(bad)} of {len(problems)} rows do not); correct or "
        "drop them, or keep them with allow_ungradable=True"
    )
