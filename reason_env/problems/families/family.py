"""What every built-in family shares: traces, splits that never overlap, and the making of a set.

A family is a module with `make`, `draw(level, rng) -> (question, reference trace)` and
`demonstration(problem, rng, rates) -> Trace`: a written-out attempt that is wrong on purpose at
known rates, which the base model is pretrained on.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, ProblemSet, StepChecker

SPLITS = ("train", "validation", "test", "hard")
DEFAULT_SIZE = {"train": 4000, "validation": 500, "test": 500, "hard": 500}
COMMENT = "~"
"""A line that begins with it is an aside: neither right nor wrong."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A written-out run: its steps without delimiters, and the answer it arrives at."""

    steps: tuple[str, ...]
    answer: str


Draw = Callable[[int, random.Random], tuple[str, Trace]]


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of a family, each pair with both ends included."""

    every: tuple[int, int]
    """Levels that `make` knows."""
    default: tuple[int, int]
    """Levels of train, validation and test where none are given."""
    hard: tuple[int, int]
    """Levels of the hard split where none are given: those on which the base model fails most."""


class Family(Protocol):
    """A built-in family, as its module is seen from outside."""

    LEVELS: Levels

    def make(
        self,
        split: str = "train",
        *,
        size: int | None = None,
        levels: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> ProblemSet:
        """Returns problems of one split."""
        ...

    def draw(self, level: int, rng: random.Random) -> tuple[str, Trace]:
        """Returns a random question of one level and its reference trace."""
        ...

    def demonstration(
        self,
        problem: Problem,
        rng: random.Random,
        rates: Mapping[str, float],
        *,
        num_right: int = 0,
    ) -> Trace:
        """Returns an attempt that is wrong at these rates, but for its first `num_right` steps."""
        ...

    def is_right(self, problem: Problem, answer: str) -> bool:
        """Returns whether an answer as the family writes it is right."""
        ...

    def first_wrong_step(self, problem: Problem, steps: Sequence[str]) -> int | None:
        """Returns the 1-based index of the first wrong step, or None."""
        ...


def is_right(problem: Problem, answer: str) -> bool:
    """Returns whether an answer is the reference's, for families with one right text."""
    return answer == problem.answer


def split_of(question: str) -> str:
    """Returns the one split that a question may be in: disjoint whatever the seeds.

    Seven tenths of all questions are for training, a tenth each for hard, validation and test.
    """
    bucket = hashlib.sha256(question.encode("utf-8")).digest()[0] % 10
    return {9: "test", 8: "validation", 7: "hard"}.get(bucket, "train")


def make_set(
    family: str,
    split: str,
    *,
    draw: Draw,
    size: int | None,
    levels: tuple[int, int] | None,
    known: Levels,
    seed: int,
    checker: StepChecker,
    scored: Callable[[Problem], Problem] | None = None,
) -> ProblemSet:
    """Returns different problems of one split, levels taking turns.

    Args:
        family: Its name.
        split: "train", "validation", "test" or "hard".
        draw: (level, rng) -> (question, reference trace).
        size: Number of problems; the split's default where None.
        levels: Lowest and highest level, both included; the split's default where None.
        known: The family's levels.
        seed: The only source of chance; the same in every process.
        checker: The family's step checker.
        scored: Gives each problem its scorer, where several answers are right.

    Raises:
        ConfigError: An unknown split, an impossible level or size.
        ProblemError: The levels do not hold that many different problems.
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


def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
    """Returns the 1-based index of the first step that is not the reference's, or None.

    For families whose reference trace is the only right one: comparing texts is exact. The last
    expected step is the answer line. Asides are passed over.
    """
    expected = iter((*problem.solution, f"#### {problem.answer}"))
    for index, step in enumerate(steps, start=1):
        line = step.strip()
        if line.startswith(COMMENT):
            continue
        if line != next(expected, None):
            return index
    return None
