"""`reason-env grade FILE.jsonl`: grades a file of responses; compares with another grader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from reason_env.cli import tables
from reason_env.cli.flags import HELP_FLAGS, out, parsed
from reason_env.errors import ConfigError
from reason_env.verify import by_math_verify, grade_file


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Grade the responses of a JSONL file against their reference answers."""

    response: str = "response"
    """Column of the response."""
    answer: str = "answer"
    """Column of the reference answer."""
    grading: str = "strict"
    """What counts as an answer and what is forgiven: strict, gsm8k, math, text, dapo, r1, boxed or
    mcq, or several joined by +, as in dapo+math."""
    against: Literal["math_verify"] | None = None
    """Another grader to compare with; it runs in the isolated worker."""
    show: int = 20
    """Maximum number of disagreements, and of grader failures, to list."""


def run(words: list[str]) -> None:
    """Grade the file that the first word names."""
    if words[:1] in HELP_FLAGS:
        parsed(Grade, words, prog="grade FILE")
    if not words or words[0].startswith("-"):
        raise ConfigError("grade must name a .jsonl file; for example: reason-env grade FILE.jsonl")
    path = Path(words[0])
    if not path.is_file():
        raise ConfigError(f"grade must name a file, got {words[0]!r}; check the path")
    given: Grade = parsed(Grade, words[1:], prog="grade FILE")
    graded = grade_file(
        path,
        response=given.response,
        answer=given.answer,
        options=given.grading,
        against=by_math_verify if given.against else None,
    )
    out.print(tables.outcome_table(graded.counts))
    failed = [row for row in graded.rows if not row.verdict.is_graded]
    for title, rows in (
        (f"disagreements with {given.against}", graded.disagreements),
        ("not graded", failed),
    ):
        if rows:
            out.print(Text(f"{len(rows)} {title}:"))
            for row in rows[: given.show]:
                out.print(Text(tables.graded_line(row.line, row.verdict, row.answer, row.other)))
