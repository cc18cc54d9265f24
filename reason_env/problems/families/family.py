"""What the built-in families share: traces, disjoint splits, and the generation of a set.

A family is a module that fits `Family`: `draw` generates a question with its reference trace,
`make` a set of problems, and `demonstration` an attempt with deliberate errors at given rates, on
which the base model is pretrained.
"""

import hashlib
import operator
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, ProblemSet, StepChecker

SPLITS = ("train", "validation", "test", "hard")
DEFAULT_SIZE = {"train": 4000, "validation": 500, "test": 500, "hard": 500}
COMMENT = "~"
"""Begins a comment: a line that is neither right nor wrong."""


@dataclass(frozen=True, slots=True)
class Trace:
    """An attempt at a problem: its steps without delimiters, and its answer."""

    steps: tuple[str, ...]
    answer: str


Draw = Callable[[int, random.Random], tuple[str, Trace]]


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of a family as (lowest, highest), both included."""

    every: tuple[int, int]
    """Levels that `draw` can generate."""
    default: tuple[int, int]
    """Default levels of the train, validation and test splits."""
    hard: tuple[int, int]
    """Default levels of the hard split: those on which the base model fails most."""


class Family(Protocol):
    """The functions and levels that the module of a family defines."""

    LEVELS: Levels

    def make(
        self,
        split: str = "train",
        *,
        size: int | None = None,
        levels: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> ProblemSet:
        """Generate problems of one split: `make_set` with the family's own arguments."""
        ...

    def draw(self, level: int, rng: random.Random) -> tuple[str, Trace]:
        """Generate a random question of one level and its reference trace."""
        ...

    def demonstration(
        self,
        problem: Problem,
        rng: random.Random,
        rates: Mapping[str, float],
        *,
        num_right: int = 0,
    ) -> Trace:
        """Generate an attempt with errors at these rates after its first `num_right` steps."""
        ...

    def is_right(self, problem: Problem, answer: str) -> bool:
        """Decide whether an answer in the family's own notation is right."""
        ...

    def first_wrong_step(self, problem: Problem, steps: Sequence[str]) -> int | None:
        """Find the 1-based index of the first wrong step; None if there is none."""
        ...


def is_right(problem: Problem, answer: str) -> bool:
    """Decide whether an answer is the reference answer, for families with one right text."""
    return answer == problem.answer


def split_of(question: str) -> str:
    """Assign a question to the one split that may contain it, so that splits are disjoint.

    Seven tenths of all questions belong to train, and one tenth each to hard, validation and test.
    """
    bucket = hashlib.sha256(question.encode("utf-8")).digest()[0] % 10
    return {9: "test", 8: "validation", 7: "hard"}.get(bucket, "train")


def first_wrong_step(
    problem: Problem,
    steps: Sequence[str],
    is_same: Callable[[str, str], bool] = operator.eq,
) -> int | None:
    """Find the 1-based index of the first step that differs from the reference; None if none does.

    For families with one right trace, where comparing texts is exact. The step after the reference
    steps is the answer line. Skips comments.

    Args:
        problem: A problem of the family.
        steps: The chain, with or without its delimiters.
        is_same: (step, reference step) -> whether they say the same.
    """
    expected = iter((*problem.solution, f"#### {problem.answer}"))
    for index, step in enumerate(steps, start=1):
        line = step.strip()
        if line.startswith(COMMENT):
            continue
        reference = next(expected, None)
        if reference is None or not is_same(line, reference):
            return index
    return None


def make_set(
    family: str,
    split: str = "train",
    *,
    draw: Draw,
    known: Levels,
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
    checker: StepChecker = first_wrong_step,
    scored: Callable[[Problem], Problem] | None = None,
) -> ProblemSet:
    """Generate different problems of one split; the levels take turns.

    Args:
        family: Name of the family.
        split: "train", "validation", "test" or "hard"; no question is in two of them.
        draw: (level, rng) -> (question, reference trace).
        known: The family's levels.
        size: Number of problems; None is the split's entry in `DEFAULT_SIZE`.
        levels: Lowest and highest level, both included; None is the family's default.
        seed: Determines the problems, equally in every process.
        checker: The family's step checker.
        scored: Adds the scorer to a problem, for families with several right answers.

    Raises:
        ConfigError: The split is unknown, or a level or the size is out of range.
        ProblemError: The levels hold fewer different problems.
    """
    if split not in SPLITS:
        raise ConfigError(f"split of {family!r} must be one of {', '.join(SPLITS)}, got {split!r}")
    low, high = levels or (known.hard if split == "hard" else known.default)
    if not known.every[0] <= low <= high <= known.every[1]:
        raise ConfigError(
            f"levels of {family!r} must be low..high within {known.every[0]}..{known.every[1]}, "
            f"got {levels!r}"
        )
    count = DEFAULT_SIZE[split] if size is None else size
    if count < 1:
        raise ConfigError(f"size of {family!r} must be at least 1, got {size!r}")
    digest = hashlib.sha256(f"{family}/{split}/{low}-{high}/{seed}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    problems: dict[str, Problem] = {}
    for _ in range(100 * count + 1000):
        level = low + len(problems) % (high - low + 1)
        question, trace = draw(level, rng)
        if split_of(question) != split or question in problems:
            continue
        problem = Problem(
            problem_id=f"{family}/{split}/{len(problems)}",
            question=question,
            answer=trace.answer,
            solution=trace.steps,
            level=level,
            source=f"reason-env family {family!r}, seed {seed}",
        )
        problems[question] = problem if scored is None else scored(problem)
        if len(problems) == count:
            return ProblemSet(family, tuple(problems.values()), checker)
    raise ProblemError(
        f"levels {(low, high)!r} of {family!r} must hold {count} different problems, found "
        f"{len(problems)}; ask for fewer or for higher levels"
    )
