"""Converts the rows of a table to problems, and refuses or drops those that cannot be used.

Files and hub sets both become a `Table` first, so that all sources have the same checks and
messages. A row that cannot be used stops the load with a message that names it, because training on
a silently shorter or ungradable set is worse than not training.

A table without a solution column is GSM8K if the answers end in a line `#### n`. A table in which
only some answers do is an error.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from reason_env.errors import ConfigError, ProblemError, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.files.cells import (
    NoAnswerError,
    answer_value,
    problem_of,
    question_text,
)
from reason_env.problems.files.chat import messages_of, shared_instruction
from reason_env.problems.files.choices import letters_of, with_wrong
from reason_env.problems.files.columns import (
    choices_column,
    chosen_columns,
    columns_of,
    lettered_columns,
    wrong_columns,
)
from reason_env.problems.files.expressions import Column, column
from reason_env.problems.files.gsm8k import is_gsm8k_answer, parse_gsm8k_answer
from reason_env.problems.files.table import Table, as_list
from reason_env.problems.self_check import why_lenient, why_long, why_ungradable

logger = logging.getLogger(__name__)

RowFormat = Literal["auto", "plain", "gsm8k"]
"""Whether rows are GSM8K: if recognised, never, or always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """How the rows of a table become problems."""

    columns: Mapping[str, str] | None = None
    """Problem field -> column, as an expression (`reason_env.problems.files.expressions`); others
    are found by their names."""
    row_format: RowFormat = "auto"
    """Whether rows are GSM8K."""
    keep_marks: bool = False
    """Keep GSM8K's calculator marks in the steps."""
    allow_ungradable: bool = False
    """Keep rows whose answer does not grade as correct against itself; warn with their count."""
    drop_ungradable: bool = False
    """Drop those rows and rows that hold no answer at all; warn with their count."""

    def __post_init__(self) -> None:
        given: object = self.columns
        if given is not None and not _is_names(given):
            raise ConfigError(
                f"columns must be a mapping from problem fields to columns, got {shown(given)}; "
                "for example columns={'answer': 'final'}"
            )
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


def _is_names(given: object) -> bool:
    if not isinstance(given, Mapping):
        return False
    items = cast("Mapping[object, object]", given).items()
    return all(isinstance(text, str) for item in items for text in item)


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Raise ConfigError if a number of rows is no integer, or below 1."""
    if limit is not None and not hasattr(limit, "__index__"):
        raise ConfigError(
            f"{name} must be an integer, got {shown(limit)}; leave it out for all rows"
        )
    if limit is not None and limit < 1:
        raise ConfigError(f"{name} must be at least 1, got {limit!r}; leave it out for all rows")


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that cannot be used, or not as it is."""

    place: str
    """Its name in messages: "line 3"."""
    reason: str
    """What its value must be, and what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a table as problems, and those that are none."""

    problems: tuple[Problem, ...]
    """Their answers may be ungradable: see `failed_rows`."""
    places: tuple[str, ...]
    """Of each problem."""
    unusable: tuple[RefusedRow, ...]
    """Rows of which a cell holds something else than its field."""
    without_answer: tuple[RefusedRow, ...]
    """Rows that hold no answer, or a proof."""
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
    ungradable = failed_rows(rows.problems, rows.places, why_ungradable)
    for what, why in (("also accept another answer", why_lenient), ("are texts", why_long)):
        failed = failed_rows(rows.problems, rows.places, why)
        if failed:
            _say_once(
                f"{len(failed)} of {len(table.rows)} answers of {table.name} {what}: "
                f"{failed[0].place} {failed[0].reason}; list them with reason-env problems check"
            )
    fatal = rows.unusable + (rows.without_answer if options.allow_ungradable else ())
    if fatal:
        row = in_order(fatal, table.places)[0]
        raise ProblemError(f"{table.name} {row.place}: {row.reason}")
    refused = in_order((*rows.without_answer, *ungradable), table.places)
    if not refused:
        return ProblemSet(set_name, rows.problems)
    count = f"{len(refused)} of {len(table.rows)}"
    listed = _listed(row.place for row in refused)
    first = refused[0]
    if options.drop_ungradable:
        left_out = {row.place for row in refused}
        kept = [
            problem
            for problem, place in zip(rows.problems, rows.places, strict=True)
            if place not in left_out
        ]
        if not kept:
            raise ProblemError(
                f"{table.name} must hold at least one answer that can be graded, got {count} rows "
                f"without; the first is {first.place}: {first.reason}"
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
    keep = (
        "keep them with allow_ungradable=True"
        if first in ungradable
        else "map another column to answer"
    )
    raise ProblemError(
        f"{table.name} {first.place}: {first.reason} ({count} rows do not); drop_ungradable=True "
        f"leaves them out; correct or drop them, or {keep}"
    )


def converted(table: Table, *, set_name: str, split: str, options: RowOptions) -> Rows:
    """Convert every row of a table, and collect those that are no problems.

    Raises:
        ProblemError: The table is empty, or a column is missing.
    """
    if not table.rows:
        raise ProblemError(
            f"{table.name} must hold at least one row, got none; check the file and the split"
        )
    columns = chosen_columns(table, options.columns or {})
    answers = [answer_value(columns["answer"], row) for row in table.rows]
    letters = _letters(answers, table)
    names = columns_of(columns)
    gsm8k = _is_gsm8k(table, answers, names.get("solution", ""), options)
    # verl writes the whole answer of GSM8K there.
    is_verl = names.get("solution", "").lower() == "extra_info.answer"
    questions = [question_text(columns["question"], row) for row in table.rows]
    cut, instruction = _without_instruction(columns["question"], questions, table)
    notes: list[str] = []
    if instruction:
        notes.append(f"without the instruction that all prompts share ({shown(instruction, 80)})")
    if letters is not None and letters != answers:
        answers = letters
        notes.append("answers are letters of the choices")
    wrong = wrong_columns(table) if not {"question", "answer"} & set(options.columns or ()) else []
    if wrong:
        pairs = [
            _with_wrong_answers(question, answer, [row.get(name) for name in wrong])
            for question, answer, row in zip(cut, answers, table.rows, strict=True)
        ]
        notes.append(f"with choices from {columns['answer'].expression}, {', '.join(wrong)}")
        cut, answers = [question for question, _ in pairs], [answer for _, answer in pairs]
    seen: dict[str, str] = {}
    problems: list[Problem] = []
    places: list[str] = []
    unusable: list[RefusedRow] = []
    without_answer: list[RefusedRow] = []
    for index, (row, place) in enumerate(zip(table.rows, table.places, strict=True)):
        values: dict[str, Any] = {field: one.read(row) for field, one in columns.items()}
        values |= {"question": cut[index], "answer": answers[index]}
        values.setdefault("problem_id", f"{set_name}/{split}/{index}")
        values.setdefault("source", table.source)
        if gsm8k:
            values |= _gsm8k_values(values["answer"], keep_marks=options.keep_marks)
        elif is_verl and is_gsm8k_answer(values["solution"]):
            steps = _gsm8k_values(values["solution"], keep_marks=options.keep_marks)
            values["solution"] = steps["solution"]
        try:
            problem = problem_of(values, seen)
        except NoAnswerError as error:
            without_answer.append(RefusedRow(place, str(error)))
            continue
        except ProblemError as error:
            unusable.append(RefusedRow(place, str(error)))
            continue
        seen[problem.problem_id] = place
        problems.append(problem)
        places.append(place)
    return Rows(
        problems=tuple(problems),
        places=tuple(places),
        unusable=tuple(unusable),
        without_answer=tuple(without_answer),
        columns=names,
        notice=_notice(table, columns, options, notes),
    )


def failed_rows(
    problems: Sequence[Problem], places: Sequence[str], why: Callable[[str], str]
) -> tuple[RefusedRow, ...]:
    """Check the answers of problems, each different one once.

    Args:
        problems: The problems.
        places: The place of each.
        why: Says why an answer fails; "" if it passes.
    """
    reasons = {answer: why(answer) for answer in {problem.answer for problem in problems}}
    return tuple(
        RefusedRow(place, reasons[problem.answer])
        for problem, place in zip(problems, places, strict=True)
        if reasons[problem.answer]
    )


def in_order(rows: Iterable[RefusedRow], places: Sequence[str]) -> list[RefusedRow]:
    """Sort rows by their place in a table."""
    order = {place: at for at, place in enumerate(places)}
    return sorted(rows, key=lambda row: order[row.place])


@lru_cache(maxsize=256)
def _say_once(notice: str) -> None:
    """Log a notice, once in this process: a run loads its problems several times."""
    logger.warning("%s", notice)


def _listed(places: Iterable[str], most: int = 50) -> str:
    every = list(places)
    return ", ".join(every[:most]) + (", ..." if len(every) > most else "")


def _without_instruction(
    question: Column, texts: Sequence[object], table: Table
) -> tuple[list[object], str]:
    """Cut the shared instruction off questions that are chats; give it too."""
    is_chat = question.is_chat and messages_of(question.read(table.rows[0])) is not None
    if not is_chat or not all(isinstance(text, str) for text in texts):
        return list(texts), ""
    written = cast("Sequence[str]", texts)
    begin, end = shared_instruction(written)
    if not begin and not end:
        return list(texts), ""
    cut = " ... ".join(text.strip() for text in (begin, end) if text)
    return [text.removeprefix(begin).removesuffix(end).strip() for text in written], cut


def _letters(answers: Sequence[object], table: Table) -> list[str] | None:
    """Map answers that are indices or letters of choices to letters; None if they are neither."""
    choices, lettered = choices_column(table), lettered_columns(table)
    if choices:
        read = column(choices, table, "question").read
        return letters_of(answers, [read(row) for row in table.rows])
    if lettered:
        return letters_of(answers, [[row.get(name) for name in lettered] for row in table.rows])
    return None


def _with_wrong_answers(
    question: object, right: object, wrong: Sequence[object]
) -> tuple[object, object]:
    """Write the right and wrong answers of a row after its question; the answer is a letter."""
    listed = [item for value in wrong for item in (as_list(value) or [value])]
    texts = [str(item).strip() for item in listed if isinstance(item, str | int | float)]
    texts = [text for text in dict.fromkeys(texts) if text]
    if not isinstance(question, str) or not isinstance(right, str | int | float) or not texts:
        return question, right
    return with_wrong(question, str(right).strip(), texts)


def _notice(
    table: Table,
    columns: Mapping[str, Column],
    options: RowOptions,
    notes: Sequence[str],
) -> str:
    """Say how columns were chosen, unless their names are the fields' own."""
    given = options.columns or {}
    chosen = {
        field: one.expression
        for field, one in columns.items()
        if field not in given and one.expression != field
    }
    answer = columns["answer"].expression
    unread = [name for name in ("level", "solution") if name in table.columns]
    unread = [name for name in unread if name not in columns and name not in answer]
    parts = [*notes, *(f"without {name!r}, which holds something else" for name in unread)]
    if not chosen and not parts:
        return ""
    listed = ", ".join(f"{field} from {name!r}" for field, name in chosen.items())
    parts.insert(0, f"reading {table.name}: {listed or 'columns by their names'}")
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
