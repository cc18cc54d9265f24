"""What `ReasonEnv` is made from: its arguments, checked, and turned into the values it holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import load_problems
from reason_env.verify import PRESETS, GradeOptions, extract_answer

COMMITMENTS = GradeOptions(markers=("####",))
COMMITMENT_SIGNS = ("####", "\\boxed", "\\fbox")
"""A response without any of these commits to nothing."""
_SIGN_BEGINNINGS = tuple(sign[:size] for sign in COMMITMENT_SIGNS for size in range(1, len(sign)))


def commits(response: str) -> bool:
    r"""Returns whether a response so far states its answer by a box or a `####` line.

    Phrases such as "the final answer is" count when a whole response is graded, but they do not
    end an episode: prose says them on the way.

    >>> commits("so it is 36\n"), commits("#### 36\n"), commits("the final answer is 36.\n")
    (False, True, False)
    """
    return extract_answer(response, COMMITMENTS) is not None


def may_commit(response: str) -> bool:
    r"""Returns whether what stands here already can become part of a committed answer.

    Where it does not, whatever comes later commits by a sign of its own.

    >>> may_commit("so it is 36\n"), may_commit("#### \n"), may_commit("12 \\"), may_commit("2 x\n")
    (False, True, True, False)
    """
    return any(sign in response for sign in COMMITMENT_SIGNS) or response.endswith(_SIGN_BEGINNINGS)


def longest(problems: ProblemSet) -> Problem:
    """Returns the problem with the longest question, in bytes."""
    return max(problems, key=lambda problem: len(problem.question.encode("utf-8", "replace")))


def built(kind: Any, given: Any) -> Any:
    """Returns `given` if it is a `kind` already, else one made of its fields."""
    if isinstance(given, kind):
        return given
    try:
        return kind(**(given or {}))
    except TypeError as error:
        raise ConfigError(
            f"{kind.__name__} must be given by its fields, got {shown(given)}; {error}"
        ) from error


def problem_set(
    problems: str | Path | ProblemSet,
    split: str,
    size: int | None,
    levels: Sequence[int] | None,
    seed: int,
    *,
    columns: Mapping[str, str] | None,
    allow_ungradable: bool,
) -> ProblemSet:
    """Returns the set itself, or the one that its source and the other arguments name.

    Raises:
        ConfigError: An argument is given that a `ProblemSet` has settled already, or is malformed.
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


def grade_options(given: str | GradeOptions | Mapping[str, Any]) -> GradeOptions:
    """Returns the preset of that name, the options themselves, or those with these fields."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise ConfigError(
                f"grading must be one of {', '.join(PRESETS)}, got {given!r}"
                f"{did_you_mean(given, PRESETS)}"
            )
        return PRESETS[given]()
    return built(GradeOptions, given)
