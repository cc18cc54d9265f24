r"""The `inverse` family: given the final digits of the registers, find their first digits.

It isolates problems that are hard to solve and easy to explain. Undoing a product requires a
division in the last digit, which the built-in base model gets wrong at a known rate; with the
answer shown, every step can be read off it.

>>> problem = make("test", size=1, levels=(2, 2))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
D:y*7 E:y-8
x=5 y=3 z=5
E:3+8 y=1
D:1/7 y=3
535
"""

import random
from collections.abc import Mapping
from functools import partial

from reason_env.problem import Problem
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    LABELS,
    draw_operations,
    read_operations,
    read_registers,
    run,
    slips_can_cancel,
    written_registers,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, len(LABELS)), default=(3, 8), hard=(11, 12))
MULTIPLIERS = (3, 7, 9)


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Undo the operations of a question with errors at these rates, as in `registers.run`."""
    operations, registers = problem.question.split("\n")
    undone = [operation.undone for operation in reversed(read_operations(operations))]
    return run(read_registers(registers), undone, error_rates=rates, rng=rng, num_right=num_right)


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Generate a question of `level` operations and `padding` more sums, with its trace.

    No slips in its divisions cancel.
    """
    while True:
        start = tuple(rng.randint(0, 9) for _ in range(3))
        operations = draw_operations(level, MULTIPLIERS, rng, padding)
        final = tuple(int(digit) for digit in run(start, operations).answer)
        undone = [operation.undone for operation in reversed(operations)]
        if not slips_can_cancel(final, undone, "/"):
            question = f"{' '.join(map(str, operations))}\n{written_registers(final)}"
            return question, run(final, undone)


make = partial(make_set, "inverse", draw=draw, known=LEVELS)
