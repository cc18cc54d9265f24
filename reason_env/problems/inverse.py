"""The `inverse` family: the registers' last digits are given; find the ones they began with.

What it isolates: a problem that is hard to solve and easy to explain. Undoing a multiplication
asks for a division in the last digit, which the built-in base model gets wrong at a known rate;
shown the answer, every step can be read off it.
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

DEFAULT_LEVELS = (3, 8)
DEFAULT_SIZE = {"train": 4000, "validation": 500, "test": 500}
MULTIPLIERS = (3, 7, 9)


def make(
    split: str = "train",
    *,
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
) -> ProblemSet:
    r"""Returns problems of the family; arguments as in the chain family, levels 3..8 where None.

    >>> problem = make("test", size=1, levels=(2, 2))[0]
    >>> print(problem.question, *problem.solution, problem.answer, sep="\n")
    A:z*9 B:z-8
    x=8 y=6 z=7
    B:7+8 z=5
    A:5/9 z=5
    865
    """
    return make_set(
        "inverse",
        split,
        draw=draw,
        size=DEFAULT_SIZE.get(split, 500) if size is None else size,
        levels=DEFAULT_LEVELS if levels is None else levels,
        seed=seed,
        checker=first_wrong_step,
    )


def demonstration(problem: Problem, rng: random.Random, error_rates: dict[str, float]) -> Trace:
    """Returns a trace of the problem with errors at these rates (by symbol), and its answer."""
    operations, registers = problem.question.split("\n")
    undone = [operation.undone for operation in reversed(read_operations(operations))]
    return run(read_registers(registers), undone, error_rates=error_rates, rng=rng)


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Returns a random question with `level` operations and its reference trace."""
    start = tuple(rng.randint(0, 9) for _ in range(3))
    operations = draw_operations(level, MULTIPLIERS, rng)
    final = tuple(int(digit) for digit in run(start, operations).answer)
    question = f"{' '.join(map(str, operations))}\n{written_registers(final)}"
    return question, run(final, [operation.undone for operation in reversed(operations)])
