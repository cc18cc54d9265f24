"""Checks a whole set of problems before anything is trained on it.

Four questions: can every row be used; does each reference answer grade as correct against itself
and refuse mutated copies of itself; does a constant answer earn more than its share; do the
reference solutions fit into a response. Nothing stops at the first row: every row that
fails is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reason_env.codec import Codec
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ScoredProblem
from reason_env.problems.budget import SolutionBudget, solution_budget
from reason_env.problems.constants import NUM_CONSTANTS, ConstantProbe, probe_constants
from reason_env.problems.files import RefusedRow, failed_rows, in_order
from reason_env.problems.self_check import why_lenient, why_long, why_ungradable
from reason_env.problems.sources import load_problems, read_rows
from reason_env.verify import GradeOptions, read_options


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
        ConfigError: A number is out of its range.
    """
    options = read_options(options)
    for field, value, least in (("num_constants", num_constants, 0), ("max_tokens", max_tokens, 1)):
        if value is not None and value < least:
            raise ConfigError(f"{field} must be at least {least}, got {value!r}")
    read = read_rows(source, split=split, columns=columns, size=size)
    if read is None:
        problems = load_problems(source, split=split, columns=columns, size=size).problems
        every = places = tuple(problem.problem_id for problem in problems)
        refused: tuple[RefusedRow, ...] = ()
        chosen: Mapping[str, str] = {}
    else:
        table, rows = read
        problems, places, every = rows.problems, rows.places, table.places
        refused, chosen = (*rows.unusable, *rows.without_answer), rows.columns
    failed = _failed_answers(problems, places, options)
    return ProblemCheck(
        name=source,
        num_rows=len(every),
        num_problems=len(problems),
        columns=chosen,
        failed=tuple(in_order((*refused, *failed), every)),
        probe=probe_constants(problems, options, count=num_constants)
        if num_constants and problems
        else None,
        budget=None
        if max_tokens is None or codec is None
        else solution_budget(problems, codec, max_tokens),
    )


def _failed_answers(
    problems: Sequence[Problem], places: Sequence[str], options: GradeOptions
) -> tuple[RefusedRow, ...]:
    """Check answers against themselves and their mutated copies, but for those with a scorer."""
    pairs = zip(problems, places, strict=True)
    graded = [(one, place) for one, place in pairs if not isinstance(one, ScoredProblem)]
    return failed_rows(
        [one for one, _ in graded],
        [place for _, place in graded],
        lambda answer: (
            why_ungradable(answer, options)
            or why_long(answer)
            or why_lenient(answer, options, with_workers=True)
        ),
    )
