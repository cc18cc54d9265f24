r"""The `unlock` family: a hard start and an easy rest.

It isolates exploration. The first quarter of the steps are powers (`^`, last digit), which the
built-in base model gets right one time in five and otherwise nearly always computes as products.
One more power comes later; everything else is easy. A whole chain of the hard split therefore
succeeds once in hundreds of attempts. A chain that starts after the first quarter succeeds one time
in five, and teaches the operation that the first quarter needs.

>>> problem = make("test", size=1, levels=(1, 1))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
x=8 y=9 z=1
M:z^7 N:z+2 O:x^7 P:y-6
M:1^7 z=1
N:1+2 z=3
O:8^7 x=2
P:9-6 y=3
233
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from functools import partial

from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    REGISTERS,
    Operation,
    demonstration,
    draw_labels,
    draw_sum,
    run,
    slips_can_cancel,
    written_registers,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
EXPONENTS = (3, 5, 7, 9)
"""Exponents whose powers map the ten digits to ten different ones, so that errors never vanish."""


def num_steps(level: int) -> int:
    """Count the operations of a level: 4 at level 1, 16 at level 10.

    >>> [num_steps(level) for level in range(1, 11)]
    [4, 5, 7, 8, 9, 11, 12, 13, 15, 16]
    """
    return 4 + round((level - 1) * 4 / 3)


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Generate a random question and its reference trace.

    The powers use the registers in turn. No power equals the product that it can be mistaken for,
    and no such slips cancel. Adds `padding` more sums after the start.
    """
    while True:
        digits = [rng.randint(0, 9) for _ in REGISTERS]
        operations = _draw_operations(level, digits, rng, padding)
        if operations is not None and not slips_can_cancel(digits, operations, "^"):
            question = f"{written_registers(digits)}\n{' '.join(map(str, operations))}"
            return question, run(digits, operations)


def _draw_operations(
    level: int, digits: Sequence[int], rng: random.Random, padding: int
) -> list[Operation] | None:
    quarter = num_steps(level) // 4
    length = num_steps(level) + padding
    powers = {*range(quarter), rng.randrange(quarter + 1, length)}
    turns = itertools.cycle(rng.sample(REGISTERS, len(REGISTERS)))
    values = dict(zip(REGISTERS, digits, strict=True))
    operations: list[Operation] = []
    for index, label in enumerate(draw_labels(length, rng)):
        if index in powers:
            operation = _draw_power(label, next(turns), values, rng)
            if operation is None:
                return None
        else:
            operation = draw_sum(label, rng)
        values[operation.register] = operation.apply(values[operation.register])
        operations.append(operation)
    return operations


def _draw_power(
    label: str, register: str, values: Mapping[str, int], rng: random.Random
) -> Operation | None:
    """Draw a power that differs from its slip; None if there is none, as for 0."""
    powers = [Operation(label, register, "^", exponent) for exponent in EXPONENTS]
    digit = values[register]
    tempting = [power for power in powers if power.slip(digit) != power.apply(digit)]
    return rng.choice(tempting) if tempting else None


make = partial(make_set, "unlock", draw=draw, known=LEVELS)
