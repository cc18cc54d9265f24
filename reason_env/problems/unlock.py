"""The `unlock` family: a hard start, and an easy rest once it is behind.

What it isolates: exploration. The first quarter of the steps are powers (`^`, last digit), which
the built-in base model gets right one time in five and otherwise nearly always takes for products;
one more power comes later, everything else is easy. A whole chain of the hard split therefore
succeeds once in hundreds of tries, while a chain that begins behind the first quarter succeeds one
time in five, and what is learned there is the operation that the start needs.
"""

import itertools
import random
from collections.abc import Mapping

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.generated import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.registers import (
    REGISTERS,
    Operation,
    draw_labels,
    draw_sum,
    read_operations,
    read_registers,
    run,
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
    x=3 y=4 z=5
    G:x^7 H:x-5 I:y^5 J:y+9
    G:3^7 x=7
    H:7-5 x=2
    I:4^5 y=4
    J:4+9 y=3
    235
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


def demonstration(problem: Problem, rng: random.Random, rates: Mapping[str, float]) -> Trace:
    """Returns a trace with errors at these rates, by symbol as `registers.run` takes them."""
    registers, operations = problem.question.split("\n")
    return run(read_registers(registers), read_operations(operations), error_rates=rates, rng=rng)


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Returns a random question and its reference trace.

    Powers take turns on the registers, and no power's digit is also that of the product that it can
    be taken for.
    """
    length = num_steps(level)
    powers = {*range(length // 4), rng.randrange(length // 4 + 1, length)}
    turns = itertools.cycle(rng.sample(REGISTERS, len(REGISTERS)))
    digits = [rng.randint(0, 9) for _ in REGISTERS]
    values = dict(zip(REGISTERS, digits, strict=True))
    operations: list[Operation] = []
    for index, label in enumerate(draw_labels(length, rng)):
        if index in powers:
            operation = _draw_power(label, next(turns), values, rng)
            if operation is None:
                return draw(level, rng)
        else:
            operation = draw_sum(label, rng)
        values[operation.register] = operation.apply(values[operation.register])
        operations.append(operation)
    question = f"{written_registers(digits)}\n{' '.join(map(str, operations))}"
    return question, run(digits, operations)


def _draw_power(
    label: str, register: str, values: Mapping[str, int], rng: random.Random
) -> Operation | None:
    """Returns a random power whose slip shows; None where there is none, as for 0."""
    powers = [Operation(label, register, "^", exponent) for exponent in EXPONENTS]
    digit = values[register]
    tempting = [power for power in powers if power.slip(digit) != power.apply(digit)]
    return rng.choice(tempting) if tempting else None
