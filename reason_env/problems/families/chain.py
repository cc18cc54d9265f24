r"""The `chain` family: carry out a list of operations on three registers, step by step.

It isolates long chains in which one kind of step, multiplication, is critical. The built-in base
model writes a wrong product with a known probability, so that success falls with the number of
multiplications, and each error can be located in one step.

>>> problem = make("test", size=1, levels=(2, 2))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
x=8 y=8 z=2
B:y*4 C:y-8
B:8*4 y=2
C:2-8 y=4
842
"""

import random
from functools import partial

from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    LABELS,
    demonstration,
    draw_operations,
    run,
    written_registers,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, len(LABELS)), default=(4, 12), hard=(14, 16))
MULTIPLIERS = (2, 3, 4, 5, 6, 7, 8, 9)


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Generate a question of `level` operations and `padding` more sums, with its trace."""
    digits = tuple(rng.randint(0, 9) for _ in range(3))
    operations = draw_operations(level, MULTIPLIERS, rng, padding)
    question = f"{written_registers(digits)}\n{' '.join(map(str, operations))}"
    return question, run(digits, operations)


make = partial(make_set, "chain", draw=draw, known=LEVELS)
