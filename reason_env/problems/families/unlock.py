"""The `unlock` family: a hard start, and an easy rest once it is behind.

What it isolates: exploration. The first quarter of the steps are powers (`^`, last digit), which
the built-in base model gets right one time in five and otherwise nearly always takes for products;
one more power comes later, everything else is easy. A whole chain of the hard split therefore
succeeds once in hundreds of tries, while a chain that begins behind the first quarter succeeds one
time in five, and what is learned there is the operation that the start needs.
"""

import itertools
import random
from collections.abc import Mapping, Sequence

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import (
    REGISTERS,
    Operation,
    draw_labels,
    draw_sum,
    read_operations,
    read_registers,
    run,
    slips_can_cancel,
    written_registers,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
EXPONENTS = (3, 5, 7, 9)
"""Those that send the ten last digits to ten different ones: an error is never lost in a power."""


def make(
    split: str = "train",
    *,
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
) -> ProblemSet:
    r"""Returns problems of the family; levels 1..10 where None, 8..10 of the hard split.

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
    return make_set(
        "unlock",
        split,
        draw=draw,
        size=size,
        levels=levels,
        known=LEVELS,
        seed=seed,
        checker=first_wrong_step,
    )


def num_steps(level: int) -> int:
    """Returns the number of operations: 4 at level 1, 16 at level 10.

    >>> [num_steps(level) for level in range(1, 11)]
    [4, 5, 7, 8, 9, 11, 12, 13, 15, 16]
    """
    return 4 + round((level - 1) * 4 / 3)


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Returns a trace with errors at these rates, by symbol as `registers.run` takes them."""
    registers, operations = problem.question.split("\n")
    return run(
        read_registers(registers),
        read_operations(operations),
        error_rates=rates,
        rng=rng,
        num_right=num_right,
    )


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Returns a random question and its reference trace.

    Powers take turns on the registers, no power's digit is also that of the product that it can be
    taken for, and no such slips cancel. `padding` is how many sums there are more, after the
    start.
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
    """Returns a random power whose slip shows; None where there is none, as for 0."""
    powers = [Operation(label, register, "^", exponent) for exponent in EXPONENTS]
    digit = values[register]
    tempting = [power for power in powers if power.slip(digit) != power.apply(digit)]
    return rng.choice(tempting) if tempting else None
