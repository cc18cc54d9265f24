"""Check the arguments of `ReasonEnv` and build the values that it holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import load_problems
from reason_env.verify import PRESETS, GradeOptions


def longest_problem(problems: ProblemSet) -> Problem:
    """The problem with the longest question, in bytes."""
    return max(problems, key=lambda problem: len(problem.question.encode("utf-8", "replace")))


def build(kind: Any, given: Any) -> Any:
    """Build a `kind` from its fields; return `given` itself if it already is one."""
    if isinstance(given, kind):
        return given
    try:
        return kind(**(given or {}))
    except TypeError as error:
        raise ConfigError(
            f"{kind.__name__} must be given by its fields, got {shown(given)}; {error}"
        ) from error


def load_problem_set(
    problems: str | Path | ProblemSet,
    split: str,
    size: int | None,
    levels: Sequence[int] | None,
    seed: int,
    *,
    columns: Mapping[str, str] | None,
    allow_ungradable: bool,
) -> ProblemSet:
    """Load the problems that a source names; a `ProblemSet` is returned as it is.

    Raises:
        ConfigError: An argument is malformed, or contradicts a given `ProblemSet`.
    """
    if isinstance(problems, ProblemSet):
        if size is not None or levels is not None or seed or columns or allow_ungradable:
            raise ConfigError(
                "size, levels, problem_seed, columns and allow_ungradable must be left out for a "
                f"ProblemSet, got {size!r}, {levels!r}, {seed!r}, {columns!r} and "
                f"{allow_ungradable!r}; choose when the set is made"
            )
        return problems
    pair: tuple[int, int] | None = None
    if levels is not None:
        if not isinstance(cast("object", levels), Sequence) or len(levels) != 2:
            raise ConfigError(f"levels must be (lowest, highest), got {shown(levels)}")
        pair = (int(levels[0]), int(levels[1]))
    return load_problems(
        str(problems),
        split=split,
        size=size,
        levels=pair,
        seed=seed,
        columns=columns,
        allow_ungradable=allow_ungradable,
    )


def load_grade_options(given: str | GradeOptions | Mapping[str, Any]) -> GradeOptions:
    """Build grade options from a preset's name or from fields."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise ConfigError(
                f"grading must be one of {', '.join(PRESETS)}, got {given!r}"
                f"{did_you_mean(given, PRESETS)}"
            )
        return PRESETS[given]()
    return build(GradeOptions, given)
