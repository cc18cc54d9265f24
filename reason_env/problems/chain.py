"""The `chain` family: carry out a list of operations on three registers, step by step.

What it isolates: a long chain in which one kind of step (multiplication) is critical. The built-in
base model chooses a wrong product with a known probability, so success falls with the number of
multiplications and every error is in one step that can be pointed at.
"""

import random

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.registers import (
    Trace,
    draw_operations,
    first_wrong_step,
    make_set,
    read_operations,
    read_registers,
    run,
    written_registers,
)

DEFAULT_LEVELS = (4, 12)
DEFAULT_SIZE = {"train": 4000, "validation": 500, "test": 500}
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
        split: "train", "validation" or "test"; no question is in two of them.
        size: Number of problems; 4000 for training and 500 else where None.
        levels: Lowest and highest number of operations; 4..12 where None.
        seed: Chooses the problems.

    >>> problem = make("test", size=1, levels=(2, 2))[0]
    >>> print(problem.question, *problem.solution, problem.answer, sep="\n")
    x=5 y=1 z=9
    A:y-8 B:z+5
    A:1-8 y=3
    B:9+5 z=4
    534
    """
    return make_set(
        "chain",
        split,
        draw=draw,
        size=DEFAULT_SIZE.get(split, 500) if size is None else size,
        levels=DEFAULT_LEVELS if levels is None else levels,
        seed=seed,
        checker=first_wrong_step,
    )


def demonstration(problem: Problem, rng: random.Random, error_rates: dict[str, float]) -> Trace:
    """Returns a trace of the problem with errors at these rates (by symbol), and its answer."""
    registers, operations = problem.question.split("\n")
    return run(
        read_registers(registers), read_operations(operations), error_rates=error_rates, rng=rng
    )


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Returns a random question with `level` operations and its reference trace."""
    digits = tuple(rng.randint(0, 9) for _ in range(3))
    operations = draw_operations(level, MULTIPLIERS, rng)
    question = f"{written_registers(digits)}\n{' '.join(map(str, operations))}"
    return question, run(digits, operations)
