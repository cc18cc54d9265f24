"""Converts the rows of a table to problems: reads its columns, checks every row.

Files and hub sets both become a `Table` first, so that all sources have the same checks and
messages. A row that cannot be used stops the load with a message that names it, because training on
a silently shorter or ungradable set is worse than not training.

Types: a question is text, or a chat whose last user message is the question; an answer is text, a
number or a list of one; a solution is a list of texts, or one text that is split at newlines; a
level is a whole number of at least 0, also as "3" or "Level 3" ("?" or nothing is 0, unknown).
Blank steps and white space at the end of steps are dropped. `9 (apples)` is 9 apples.

A table without a solution column is GSM8K if the answers end in a line `#### n`. A table in which
only some answers do is an error.
"""

import difflib
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from reason_env.errors import ConfigError, ProblemError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.files.chat import shared_instruction
from reason_env.problems.files.columns import (
    Column,
    all_items,
    answer_letters,
    column,
    found_columns,
    question_text,
    single,
)
from reason_env.problems.files.gsm8k import is_gsm8k_answer, parse_gsm8k_answer
from reason_env.problems.files.table import Table, as_list
from reason_env.problems.self_check import accepted_mutant, too_lenient
from reason_env.verify import is_gradable

logger = logging.getLogger(__name__)

FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Problem))
"""Problem fields to which a column can be mapped."""

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("input", "instruction", "text"),
    "answer": ("final", "target", "label", "gold", "reference", "correct", "correct_answer"),
}
"""Names that data sets use for the two fields every problem needs, and for other things too."""

NO_ANSWERS = frozenset(("proof", "notfound", "not found", "none", "null", "nan", "n/a"))
"""What data sets write where a problem has no final answer, in lower case."""

RowFormat = Literal["auto", "plain", "gsm8k"]
"""Whether rows are GSM8K: if recognised, never, or always."""

_COUNTED = re.compile(r"([-+]?[0-9][0-9.,/]*) ?\(([A-Za-z][A-Za-z .]*)\)")
_LEVEL = re.compile(r"(?:level\s*)?(?:([0-9]{1,9})|\?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """How the rows of a table become problems."""

    columns: Mapping[str, str] | None = None
    """Problem field -> column, as an expression (`reason_env.problems.files.columns`); by default
    columns are found by their names."""
    row_format: RowFormat = "auto"
    """Whether rows are GSM8K."""
    keep_marks: bool = False
    """Keep GSM8K's calculator marks in the steps."""
    allow_ungradable: bool = False
    """Keep rows whose answer does not grade as correct against itself; warn with their count."""
    drop_ungradable: bool = False
    """Drop those rows and rows that hold no answer at all; warn with their count."""

    def __post_init__(self) -> None:
        if self.row_format not in get_args(RowFormat):
            raise ConfigError(
                f"row_format must be one of {', '.join(get_args(RowFormat))}, "
                f"got {shown(self.row_format)}"
            )
        if self.allow_ungradable and self.drop_ungradable:
            raise ConfigError(
                "ungradable rows must be either kept or dropped, got allow_ungradable and "
                "drop_ungradable; choose one"
            )


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Raise ConfigError if a number of rows is below 1."""
    if limit is not None and limit < 1:
        raise ConfigError(f"{name} must be at least 1, got {limit!r}; leave it out for all rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that cannot be used, or not as it is."""

    place: str
    """Its name in messages: "line 3"."""
    reason: str
    """What its value must be, and what it is."""
    is_kept: bool = False
    """Whether it can be a problem all the same: its answer does not grade against itself."""
    is_dropped: bool = False
    """Whether `drop_ungradable` drops it: it holds no answer, or one that cannot be graded."""


class _NoAnswerError(ProblemError):
    """A row whose answer is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a table as problems, and those that cannot be used."""

    problems: tuple[Problem, ...]
    places: tuple[str, ...]
    """Of each problem."""
    refused: tuple[RefusedRow, ...]
    """In the order of the rows."""
    lenient: tuple[RefusedRow, ...]
    """Rows of problems whose answer accepts a changed copy of itself."""
    columns: Mapping[str, str]
    """Problem field -> column expression."""
    notice: str
    """How the columns were chosen; empty if the table names them as this project does."""


def problems_from_table(
    table: Table, *, set_name: str, split: str, options: RowOptions
) -> ProblemSet:
    """Convert a table to a problem set; a row without an id gets `<set_name>/<split>/<row>`.

    Args:
        table: The rows.
        set_name: Name of the set, and first part of its ids.
        split: Second part of its ids.
        options: Columns, format, and what happens to ungradable answers.

    Raises:
        ProblemError: A column is missing, or a row cannot be used; the message names it.
    """
    rows = converted(table, set_name=set_name, split=split, options=options)
    if rows.notice:
        _say_once(rows.notice)
    if rows.lenient:
        logger.warning(
            "%d of %d answers of %s also accept another answer: %s %s; list them with "
            "reason-env problems check",
            len(rows.lenient), len(table.rows), table.name, rows.lenient[0].place,
            rows.lenient[0].reason,
        )  # fmt: skip
    for row in rows.refused:
        if not row.is_dropped or (not row.is_kept and options.allow_ungradable):
            raise ProblemError(f"{table.name} {row.place}: {row.reason}")
    if not rows.refused:
        return ProblemSet(set_name, rows.problems)
    count = f"{len(rows.refused)} of {len(table.rows)}"
    listed = _listed(row.place for row in rows.refused)
    if options.drop_ungradable:
        left_out = {row.place for row in rows.refused}
        kept = [
            problem
            for problem, place in zip(rows.problems, rows.places, strict=True)
            if place not in left_out
        ]
        if not kept:
            raise ProblemError(
                f"{table.name} must hold at least one answer that can be graded, got {count} rows "
                f"without; the first is {rows.refused[0].place}: {rows.refused[0].reason}"
            )
        logger.warning("dropping %s rows of %s without a gradable answer: %s", count, table.name,
                       listed)  # fmt: skip
        return ProblemSet(set_name, tuple(kept))
    if options.allow_ungradable:
        logger.warning(
            "keeping %s answers of %s that do not grade as correct against themselves: %s",
            count, table.name, listed,
        )  # fmt: skip
        return ProblemSet(set_name, rows.problems)
    first = rows.refused[0]
    keep = (
        "keep them with allow_ungradable=True" if first.is_kept else "map another column to answer"
    )
    raise ProblemError(
        f"{table.name} {first.place}: {first.reason} ({count} rows do not); drop_ungradable=True "
        f"leaves them out; correct or drop them, or {keep}"
    )


def converted(table: Table, *, set_name: str, split: str, options: RowOptions) -> Rows:
    """Convert every row of a table, and collect those that cannot be used.

    Raises:
        ProblemError: The table is empty, or a column is missing.
    """
    if not table.rows:
        raise ProblemError(
            f"{table.name} must hold at least one row, got none; check the file and the split"
        )
    columns = _columns(table, options)
    answers = [_answer(columns["answer"], row) for row in table.rows]
    letters = answer_letters(table, columns["answer"])
    names = columns_of(columns)
    gsm8k = _is_gsm8k(table, answers, names.get("solution", ""), options)
    # verl writes the whole answer of GSM8K there.
    is_verl = names.get("solution", "").lower() == "extra_info.answer"
    questions = [question_text(columns["question"], row) for row in table.rows]
    cut, begin, end = _without_instruction(columns["question"], questions, table)
    seen: dict[str, str] = {}
    problems: list[Problem] = []
    places: list[str] = []
    refused: dict[str, RefusedRow] = {}
    for index, (row, place) in enumerate(zip(table.rows, table.places, strict=True)):
        values: dict[str, Any] = {field: one.read(row) for field, one in columns.items()}
        values |= {"question": cut[index], "answer": answers[index]}
        values.setdefault("problem_id", f"{set_name}/{split}/{index}")
        values.setdefault("source", table.source)
        if letters is not None:
            values["answer"] = letters[cast("int", answers[index])]
        if gsm8k:
            values |= _gsm8k_values(values["answer"], keep_marks=options.keep_marks)
        elif is_verl and is_gsm8k_answer(values["solution"]):
            steps = _gsm8k_values(values["solution"], keep_marks=options.keep_marks)
            values["solution"] = steps["solution"]
        try:
            problem = _problem(values, seen)
        except ProblemError as error:
            refused[place] = RefusedRow(
                place=place, reason=str(error), is_dropped=isinstance(error, _NoAnswerError)
            )
            continue
        seen[problem.problem_id] = place
        problems.append(problem)
        places.append(place)
    refused |= _ungradable(problems, places)
    return Rows(
        problems=tuple(problems),
        places=tuple(places),
        refused=tuple(refused[place] for place in table.places if place in refused),
        lenient=_lenient(problems, places),
        columns=names,
        notice=_notice(table, columns, options, (begin, end), has_letters=letters is not None),
    )


def columns_of(columns: Mapping[str, Column]) -> dict[str, str]:
    """Give the expression of each field's column."""
    return {field: one.expression for field, one in columns.items()}


@lru_cache(maxsize=256)
def _say_once(notice: str) -> None:
    """Log a notice, once in this process: a run loads its problems several times."""
    logger.warning("%s", notice)


def _listed(places: Iterable[str], most: int = 50) -> str:
    every = list(places)
    return ", ".join(every[:most]) + (", ..." if len(every) > most else "")


def _columns(table: Table, options: RowOptions) -> dict[str, Column]:
    mapped = dict(options.columns or {})
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


def _answer(answer: Column, row: Mapping[str, Any]) -> object:
    """Read an answer: the item of a list of one, or all items if the row says that all count."""
    value = single(answer.read(row))
    items = as_list(value)
    is_multiple = row.get("is_multiple_answer") in (True, "true", "True")
    return value if items is None or not is_multiple else all_items(items)


def _without_instruction(
    question: Column, texts: Sequence[object], table: Table
) -> tuple[list[object], str, str]:
    """Cut the shared instruction off questions that are chats; give it too."""
    is_chat = any(not isinstance(question.read(row), str) for row in table.rows[:1])
    if not is_chat or not all(isinstance(text, str) for text in texts):
        return list(texts), "", ""
    written = cast("Sequence[str]", texts)
    begin, end = shared_instruction(written)
    if not begin and not end:
        return list(texts), "", ""
    return [text.removeprefix(begin).removesuffix(end).strip() for text in written], begin, end


def _notice(
    table: Table,
    columns: Mapping[str, Column],
    options: RowOptions,
    instruction: tuple[str, str],
    *,
    has_letters: bool,
) -> str:
    """Say how columns were chosen, unless their names are the fields' own."""
    given = options.columns or {}
    chosen = {
        field: one.expression
        for field, one in columns.items()
        if field not in given and one.expression != field
    }
    cut = " ... ".join(text.strip() for text in instruction if text)
    if not chosen and not cut and not has_letters:
        return ""
    listed = ", ".join(f"{field} from {name!r}" for field, name in chosen.items())
    parts = [f"reading {table.name}: {listed or 'columns by their names'}"]
    if cut:
        parts.append(f"without the instruction that all prompts share ({shown(cut, 80)})")
    if has_letters:
        parts.append("answers are letters of the choices (0 is A)")
    return "; ".join(parts) + "; name other columns with columns={field: column}"


def _is_gsm8k(table: Table, answers: Sequence[object], solution: str, options: RowOptions) -> bool:
    marked = [is_gsm8k_answer(answer) for answer in answers]
    wanted = options.row_format == "gsm8k"
    if solution and wanted:
        raise ProblemError(
            f"{table.name} must have no solution column to be GSM8K, got {solution!r}; load it "
            "with row_format='plain'"
        )
    recognised = options.row_format == "auto" and not solution and any(marked)
    if (wanted or recognised) and not all(marked):
        index = marked.index(False)
        rule = "" if wanted else " as in other rows"
        raise ProblemError(
            f"{table.name} {table.places[index]}: answer must end in a line '#### n'{rule}, got "
            f"{shown(answers[index])}; correct the row, or load the table with row_format='plain'"
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


def _problem(values: Mapping[str, Any], seen: Mapping[str, str]) -> Problem:
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
        raise _NoAnswerError(
            f"answer must be text or a number, got {shown(value)}: if all items together are the "
            "answer, map it to 'all(COLUMN)'"
        )
    if isinstance(value, str) and value.strip().lower() in NO_ANSWERS:
        raise _NoAnswerError(
            f"answer must be a final answer, got {shown(value)}: the row holds "
            f"{'a proof' if value.strip().lower() == 'proof' else 'none'}"
        )
    text = _as_text(value)
    if not text:
        raise _NoAnswerError(f"answer must be text or a number, got {shown(value)}")
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


def _ungradable(problems: Sequence[Problem], places: Sequence[str]) -> dict[str, RefusedRow]:
    """Find the problems whose answer does not grade as correct against itself."""
    # An answer with the marker of an answer line is a whole solution, not an answer.
    answers = {problem.answer for problem in problems}
    known = {answer: "####" not in answer and is_gradable(answer) for answer in answers}
    return {
        place: RefusedRow(
            place=place,
            reason=f"answer must grade as correct against itself, got {shown(problem.answer)}",
            is_kept=True,
            is_dropped=True,
        )
        for problem, place in zip(problems, places, strict=True)
        if not known[problem.answer]
    }


def _lenient(problems: Sequence[Problem], places: Sequence[str]) -> tuple[RefusedRow, ...]:
    """Find the problems whose answer grades a changed copy of itself as correct."""
    answers = {problem.answer for problem in problems}
    accepted = {answer: accepted_mutant(answer) for answer in answers}
    return tuple(
        RefusedRow(place=place, reason=too_lenient(problem.answer, mutant), is_kept=True)
        for problem, place in zip(problems, places, strict=True)
        if (mutant := accepted[problem.answer]) is not None
    )
