r"""Programs whose operations take the registers x, y, z in turn, shared by `late` and `sealed`.

Steps are short, because the register follows from the step's place and need not be written. A
question and its first step, with label, digit before, operation and digit after:

    x=3 y=7 z=1
    a+4 b*3 c-8 d^7
    a3+4=7

Labels are consecutive letters of a..zA..Z from a random one, so that up to 52 operations have
different labels, and a label does not reveal a position.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import cycle
from string import ascii_letters

from reason_env.problem import Problem
from reason_env.problems.families.family import Trace
from reason_env.problems.families.registers import (
    REGISTERS,
    Operation,
    read_registers,
    run,
    written_registers,
)

LABELS = ascii_letters


def draw_places(count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Draw the labels of `count` operations; return (label, register) of each.

    >>> draw_places(4, random.Random(1))
    [('i', 'x'), ('j', 'y'), ('k', 'z'), ('l', 'x')]
    """
    first = rng.randint(0, len(LABELS) - count)
    return list(zip(LABELS[first : first + count], cycle(REGISTERS), strict=False))


def draw_sum(label: str, register: str, rng: random.Random) -> Operation:
    """Draw an addition or subtraction on a given register."""
    return Operation(label, register, rng.choice("+-"), rng.randint(1, 9))


def written_program(digits: Sequence[int], operations: Sequence[Operation]) -> str:
    r"""Write a question.

    >>> written_program((3, 7, 1), [Operation("a", "x", "+", 4), Operation("b", "y", "*", 3)])
    'x=3 y=7 z=1\na+4 b*3'
    """
    listed = " ".join(f"{item.label}{item.symbol}{item.operand}" for item in operations)
    return f"{written_registers(digits)}\n{listed}"


def read_program(question: str) -> tuple[tuple[int, ...], list[Operation]]:
    r"""Read the digits and the operations of a question.

    >>> read_program("x=3 y=7 z=1\na+4 b*3")[1][1]
    Operation(label='b', register='y', symbol='*', operand=3)
    """
    digits, _, listed = question.partition("\n")
    operations = [
        Operation(text[0], register, text[1], int(text[2:]))
        for text, register in zip(listed.split(), cycle(REGISTERS), strict=False)
    ]
    return read_registers(digits), operations


def solved(
    digits: Sequence[int],
    operations: Sequence[Operation],
    *,
    error_rates: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
    num_right: int = 0,
) -> Trace:
    """Run a program, as `registers.run` does, and write its short steps.

    >>> solved((3, 7, 1), [Operation("a", "x", "+", 4), Operation("b", "y", "*", 3)])
    Trace(steps=('a3+4=7', 'b7*3=1'), answer='711')
    """
    return run(
        digits,
        operations,
        error_rates=error_rates,
        rng=rng,
        num_right=num_right,
        written=_written_step,
    )


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Run the program of a question with errors at these rates, as in `registers.run`."""
    digits, operations = read_program(problem.question)
    return solved(digits, operations, error_rates=rates, rng=rng, num_right=num_right)


def _written_step(operation: Operation, before: int, after: int) -> str:
    return f"{operation.label}{before}{operation.symbol}{operation.operand}={after}"
