r"""The `sealed` family: a start that sampling never gets through, and an easy rest.

It isolates exploration where only guidance pays. Every problem has 16 steps, so that a prefix on a
grid of a sixteenth is a whole number of steps. On level n the first n operations are powers (`^`,
last digit), and so is one later operation; the others are sums and differences. The built-in recipe
computes 0.15 of the powers right and otherwise nearly always writes the product, so a chain of
level 4 succeeds once in 13,000 attempts, and one that begins after the first quarter in 0.15 of
them. What the later power teaches opens the start: it is the same operation.

>>> problem = make("test", size=1, levels=(1, 1))[0]
>>> print(problem.question, *problem.solution[:3], problem.answer, sep="\n")
x=3 y=6 z=3
G^5 H-4 I+8 J+3 K-1 L+3 M-7 N-3 O+2 P-3 Q-5 R-9 S-3 T^7 U-5 V+3
G3^5=3
H6-4=2
I3+8=1
672
"""

import random
from collections.abc import Sequence
from functools import partial

from reason_env.problems.families import turns
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    REGISTERS,
    Operation,
    slips_can_cancel,
)
from reason_env.problems.families.turns import demonstration
from reason_env.problems.families.unlock import EXPONENTS

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(4, 4), hard=(4, 4))
NUM_STEPS = 16


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a question and its reference trace.

    No power equals the product that it can be mistaken for, and no such slips cancel.
    """
    while True:
        digits = [rng.randint(0, 9) for _ in REGISTERS]
        operations = _draw_operations(level, digits, rng)
        if operations is not None:
            return turns.written_program(digits, operations), turns.solved(digits, operations)


def _draw_operations(
    level: int, digits: Sequence[int], rng: random.Random
) -> list[Operation] | None:
    powers = {*range(level), rng.randrange(level, NUM_STEPS)}
    values = dict(zip(REGISTERS, digits, strict=True))
    operations: list[Operation] = []
    for place, (label, register) in enumerate(turns.draw_places(NUM_STEPS, rng)):
        if place in powers:
            found = _tempting_powers(label, register, digits, operations, values[register])
            if not found:
                return None
            operation = rng.choice(found)
        else:
            operation = turns.draw_sum(label, register, rng)
        values[register] = operation.apply(values[register])
        operations.append(operation)
    return operations


def _tempting_powers(
    label: str, register: str, digits: Sequence[int], before: Sequence[Operation], value: int
) -> list[Operation]:
    """List the powers of a digit whose slip is wrong and cancels no slip before it.

    What cancels stays so: each further operation is the same for both digits.
    """
    powers = [Operation(label, register, "^", exponent) for exponent in EXPONENTS]
    return [
        power
        for power in powers
        if power.slip(value) != power.apply(value)
        and not slips_can_cancel(digits, [*before, power], "^")
    ]


make = partial(make_set, "sealed", draw=draw, known=LEVELS)
