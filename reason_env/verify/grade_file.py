"""Grades a file of responses: one verdict a row, and the table that a person reads first.

Rows are JSON objects, one a line, with a response and a reference answer under names that the
caller gives. Nothing is printed here; the command line does that.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reason_env.errors import ProblemError, did_you_mean, shown
from reason_env.verdict import Outcome, Verdict
from reason_env.verify.grading import grade_many
from reason_env.verify.options import DEFAULT, GradeOptions
from reason_env.verify.workers import shared_pool

OtherGrader = Callable[[str, str], bool | None]
"""Returns whether it accepts a response for an answer; None if it failed."""


def by_math_verify(response: str, answer: str) -> bool | None:
    """Returns whether math-verify, in a worker, accepts a response; None if it ran out or failed.

    >>> by_math_verify("so it is $1/2$", "0.5")
    True
    """
    outcome, _ = shared_pool().compare(response, answer, DEFAULT, "math_verify")
    return None if outcome in _FAILURES else outcome is Outcome.CORRECT


_FAILURES = (Outcome.TIMEOUT, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class GradedRow:
    """One row of a file with its verdict."""

    line: int
    """Line number in the file, from 1."""
    response: str
    answer: str
    verdict: Verdict
    other: bool | None = None
    """What the other grader said; None if none was asked or it failed."""

    @property
    def is_disagreement(self) -> bool:
        """True if another grader decided and this verdict says something else."""
        return self.other is not None and self.other != self.verdict.is_correct


@dataclass(frozen=True, slots=True)
class GradedFile:
    """Every row of a file, in order."""

    rows: tuple[GradedRow, ...]

    @property
    def counts(self) -> dict[Outcome, int]:
        """Rows by outcome, every outcome named."""
        counted = Counter(row.verdict.outcome for row in self.rows)
        return {outcome: counted[outcome] for outcome in Outcome}

    @property
    def disagreements(self) -> tuple[GradedRow, ...]:
        """The rows on which the other grader said something else."""
        return tuple(row for row in self.rows if row.is_disagreement)


def grade_file(
    path: Path,
    *,
    response: str = "response",
    answer: str = "answer",
    options: GradeOptions = DEFAULT,
    against: OtherGrader | None = None,
) -> GradedFile:
    """Returns the verdicts for a JSONL file.

    Args:
        path: The file, one JSON object a line; empty lines are skipped.
        response: Name of the column with the response.
        answer: Name of the column with the reference answer.
        options: How answers are compared.
        against: Another grader, a function of response and answer, asked for every row.

    Raises:
        ProblemError: A line is not a JSON object, or a column is missing or not text.
    """
    lines = [
        (number, line)
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
        if line.strip()
    ]
    rows = [_row(path, number, line) for number, line in lines]
    pairs = [
        (_column(path, number, row, response), _column(path, number, row, answer))
        for (number, _), row in zip(lines, rows, strict=True)
    ]
    verdicts = grade_many(pairs, options)
    others = [None if against is None else against(*pair) for pair in pairs]
    return GradedFile(
        tuple(
            GradedRow(number, *pair, verdict, other)
            for (number, _), pair, verdict, other in zip(
                lines, pairs, verdicts, others, strict=True
            )
        )
    )


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise ProblemError(f"line {number} of {path} must be JSON, got {shown(line)}") from error
    if not isinstance(row, dict):
        raise ProblemError(f"line {number} of {path} must be a JSON object, got {shown(line)}")
    return cast("dict[str, Any]", row)


def _column(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    if name not in row:
        near = did_you_mean(name, [str(key) for key in row])
        raise ProblemError(f"line {number} of {path} must have a column {name!r}{near}")
    value = row[name]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ProblemError(
            f"column {name!r} in line {number} of {path} must be text, got {shown(value)}"
        )
    return str(value)
