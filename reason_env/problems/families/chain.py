"""The `chain` family: carry out a list of operations on three registers, step by step.

What it isolates: a long chain in which one kind of step (multiplication) is critical. The built-in
base model chooses a wrong product with a known probability, so success falls with the number of
multiplications and every error is in one step that can be pointed at.
"""

import random
from collections.abc import Mapping

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    LABELS,
    draw_operations,
    read_operations,
    read_registers,
    run,
    written_registers,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, len(LABELS)), default=(4, 12), hard=(14, 16))
MULTIPLIERS = (2, 3, 4, 5, 6, 7, 8, 9)


def make(
    split: str = "train",
    *,
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
) -> ProblemSet:
    r"""Returns problems of the family.

    Args:
        split: "train", "validation", "test" or "hard"; no question is in two of them.
        size: Number of problems; 4000 for training and 500 else where None.
        levels: Lowest and highest number of operations; 4..12 where None, 14..16 of the hard split.
        seed: Chooses the problems.

    >>> problem = make("test", size=1, levels=(2, 2))[0]
    >>> print(problem.question, *problem.solution, problem.answer, sep="\n")
    x=8 y=8 z=2
    B:y*4 C:y-8
    B:8*4 y=2
    C:2-8 y=4
    842
    """
    return make_set(
        "chain",
        split,
        draw=draw,
        size=size,
        levels=levels,
        known=LEVELS,
        seed=seed,
        checker=first_wrong_step,
    )


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Returns a trace of the problem with errors at these rates (by symbol), and its answer."""
    registers, operations = problem.question.split("\n")
    return run(
        read_registers(registers),
        read_operations(operations),
        error_rates=rates,
        rng=rng,
        num_right=num_right,
    )


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Returns a random question with `level` operations and its reference trace.

    `padding` is how many sums there are more.
    """
    digits = tuple(rng.randint(0, 9) for _ in range(3))
    operations = draw_operations(level, MULTIPLIERS, rng, padding)
    question = f"{written_registers(digits)}\n{' '.join(map(str, operations))}"
    return question, run(digits, operations)
