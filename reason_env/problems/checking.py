"""Checks a whole set of problems before anything is trained on it.

Four questions: can every row be used; does each reference answer grade as correct against itself
and refuse mutated copies of itself; does a constant answer earn more than its share; do the
reference solutions fit into a response. Nothing stops at the first row: every row that
fails is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reason_env.codec import Codec
from reason_env.errors import shown
from reason_env.problem import Problem, ScoredProblem
from reason_env.problems.budget import SolutionBudget, solution_budget
from reason_env.problems.constants import NUM_CONSTANTS, ConstantProbe, probe_constants
from reason_env.problems.files import RefusedRow, rows_of_file
from reason_env.problems.self_check import accepted_mutant, too_lenient
from reason_env.problems.sources import load_problems
from reason_env.verify import GradeOptions, is_gradable, read_options

FILES = ("file", "gsm8k")
"""Sources whose rows are named; of others, problems are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCheck:
    """What a check found."""

    name: str
    """The file, or the source."""
    num_rows: int
    num_problems: int
    columns: Mapping[str, str]
    """Problem field -> column expression; empty for generated problems."""
    failed: tuple[RefusedRow, ...]
    """Rows that cannot be used, or whose answer fails the self-check."""
    probe: ConstantProbe | None
    """None if no constants were tried."""
    budget: SolutionBudget | None
    """None if no limit was given."""

    @property
    def passed(self) -> bool:
        """Whether every row can be used and no constant earns more than its share."""
        return not self.failed and not (self.probe and self.probe.above)


def check_problems(
    source: str,
    *,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    options: GradeOptions | str = "strict",
    num_constants: int = NUM_CONSTANTS,
    size: int | None = None,
    codec: Codec | None = None,
    max_tokens: int | None = None,
) -> ProblemCheck:
    """Check every problem of a source.

    Args:
        source: As for `load_problems`.
        split: The split.
        columns: Problem field -> column, for files and hub sets.
        options: How answers are compared.
        num_constants: Constant answers that are tried; 0 for none.
        size: Problems of a generated source, or first rows of a file; None for all.
        codec: The model's tokens, for the budget.
        max_tokens: Tokens of a response, for the budget; None to leave it out.

    Raises:
        ProblemError: The file cannot be read, or has no question or answer column.
    """
    options = read_options(options)
    problems, places, failed, num_rows, chosen = _rows(source, split, columns, size)
    failed = {row.place: row for row in failed}
    failed |= _failed_answers(problems, places, options, failed)
    order = {place: at for at, place in enumerate(places)}
    return ProblemCheck(
        name=source,
        num_rows=num_rows,
        num_problems=len(problems),
        columns=chosen,
        failed=tuple(sorted(failed.values(), key=lambda row: order.get(row.place, -1))),
        probe=probe_constants(problems, options, count=num_constants)
        if num_constants and problems
        else None,
        budget=None
        if max_tokens is None or codec is None
        else solution_budget(problems, codec, max_tokens),
    )


def _rows(
    source: str, split: str, columns: Mapping[str, str] | None, size: int | None
) -> tuple[Sequence[Problem], Sequence[str], Sequence[RefusedRow], int, Mapping[str, str]]:
    """Read problems, their places, the rows that are none, the number of rows, and the columns."""
    head, colon, argument = source.partition(":")
    path = argument if colon and head in FILES else source
    if Path(path).exists():
        table, rows = rows_of_file(path, columns=columns, split=split, limit=size)
        # Those with a problem are checked again, under the options of this check.
        unusable = [row for row in rows.refused if not row.is_kept]
        return rows.problems, rows.places, unusable, len(table.rows), rows.columns
    problems = load_problems(source, split=split, columns=columns, size=size)
    return problems, [problem.problem_id for problem in problems], (), len(problems), {}


def _failed_answers(
    problems: Sequence[Problem],
    places: Sequence[str],
    options: GradeOptions,
    failed: Mapping[str, RefusedRow],
) -> dict[str, RefusedRow]:
    """Check each different answer against itself and its mutated copies."""
    reasons: dict[str, str] = {}
    found: dict[str, RefusedRow] = {}
    for problem, place in zip(problems, places, strict=True):
        if isinstance(problem, ScoredProblem) or place in failed:
            continue
        if problem.answer not in reasons:
            reasons[problem.answer] = _reason(problem.answer, options)
        if reasons[problem.answer]:
            found[place] = RefusedRow(place=place, reason=reasons[problem.answer], is_kept=True)
    return found


def _reason(answer: str, options: GradeOptions) -> str:
    """Why an answer fails the self-check; empty if it passes."""
    if "####" in answer or not is_gradable(answer, options):
        return f"answer must grade as correct against itself, got {shown(answer)}"
    mutant = accepted_mutant(answer, options, with_workers=True)
    return "" if mutant is None else too_lenient(answer, mutant)
