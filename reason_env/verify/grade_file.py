"""Grades a JSON Lines file of responses, and counts the outcomes.

Each row has a response and a reference answer, in columns that the caller names.
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
"""(response, answer) -> whether the grader accepts the response; None if it failed."""


def by_math_verify(response: str, answer: str) -> bool | None:
    """Grade a response with math-verify in a worker; None if it ran out of time or failed.

    >>> by_math_verify("so it is $1/2$", "0.5")
    True
    """
    outcome, _ = shared_pool().compare(response, answer, "math_verify")
    return None if outcome in (Outcome.TIMEOUT, Outcome.ERROR) else outcome is Outcome.CORRECT


@dataclass(frozen=True, slots=True)
class GradedRow:
    """A row of a file, with its verdict."""

    line: int
    """Line number in the file, from 1."""
    response: str
    answer: str
    verdict: Verdict
    other: bool | None = None
    """Whether the other grader accepts the response; None without one, or if it failed."""

    @property
    def is_disagreement(self) -> bool:
        """True if another grader decided differently."""
        return self.other is not None and self.other != self.verdict.is_correct


@dataclass(frozen=True, slots=True)
class GradedFile:
    """Every row of a file, in order."""

    rows: tuple[GradedRow, ...]

    @property
    def counts(self) -> dict[Outcome, int]:
        """Number of rows of each outcome, zeros included."""
        counted = Counter(row.verdict.outcome for row in self.rows)
        return {outcome: counted[outcome] for outcome in Outcome}

    @property
    def disagreements(self) -> tuple[GradedRow, ...]:
        """The rows on which the other grader decided differently."""
        return tuple(row for row in self.rows if row.is_disagreement)


def grade_file(
    path: Path,
    *,
    response: str = "response",
    answer: str = "answer",
    options: GradeOptions | str = DEFAULT,
    against: OtherGrader | None = None,
) -> GradedFile:
    """Grade the responses of a JSON Lines file.

    Args:
        path: The file, with one JSON object per line; empty lines are skipped.
        response: Name of the column with the response.
        answer: Name of the column with the reference answer.
        options: How to extract and compare answers.
        against: Another grader, which grades every row too.

    Raises:
        ProblemError: A line is not a JSON object, or a column is missing or not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(
            f"{path} must be JSON lines in UTF-8, got {error.reason} at byte {error.start}; check "
            "the path"
        ) from error
    lines = [
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
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
    except (json.JSONDecodeError, RecursionError) as error:
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
