r"""The `precedence` family: three expressions, and a small set of tempting wrong ways to read them.

What it isolates: elimination. A step carries out one operation of one expression and keeps the
last digit of its result.
There are four readings, and a chain follows one of them in all three rows: products first (right),
first operation first, last operation first, sums first. All four answers differ. The built-in base
model nearly always takes a wrong reading on the higher levels, so all of a group fails with the
same few answers; told not to give those, it takes another reading.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast, get_args

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import REGISTERS

Reading = Literal["right", "first", "last", "sums"]
__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
RIGHT_SHARE = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.004)
"""How often a demonstration of level 1, 2, ... takes the right reading; the last goes on."""
DIGIT = "digit"

Row = tuple[str, ...]
"""Digits and symbols in turn: ("3", "+", "4", "*", "2")."""


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
    x=6-5*8 y=7*5-2 z=1+9*4
    x=6-0
    x=6
    y=5-2
    y=3
    z=1+6
    z=7
    637
    """
    return make_set(
        "precedence",
        split,
        draw=draw,
        size=size,
        levels=levels,
        known=LEVELS,
        seed=seed,
        checker=first_wrong_step,
    )


def num_operations(level: int) -> int:
    """Returns the operations of all three rows: 6 at level 1, 12 at level 10.

    >>> [num_operations(level) for level in range(1, 11)]
    [6, 7, 7, 8, 9, 9, 10, 11, 11, 12]
    """
    return 6 + round((level - 1) * 2 / 3)


def reduced(row: Row, reading: Reading, digit_error: int = 0) -> Row:
    """Returns the row with one operation carried out, the one that the reading takes first.

    >>> row = ("8", "-", "1", "*", "6")
    >>> reduced(row, "right"), reduced(row, "first"), reduced(row, "last")
    (('8', '-', '6'), ('7', '*', '6'), ('8', '-', '6'))
    """
    places = range(1, len(row), 2)
    preferred = {
        "right": [place for place in places if row[place] == "*"],
        "sums": [place for place in places if row[place] != "*"],
    }.get(reading)
    place = (preferred or places)[-1 if reading == "last" else 0]
    left, symbol, right = int(row[place - 1]), row[place], int(row[place + 1])
    value = {"+": left + right, "-": left - right, "*": left * right}[symbol] + digit_error
    return (*row[: place - 1], str(value % 10), *row[place + 2 :])


def solved(
    rows: Mapping[str, Row], reading: Reading, error: Callable[[], int] = lambda: 0
) -> Trace:
    """Returns the trace of all rows under one reading; `error` is added to each result.

    >>> solved({"x": ("8", "-", "1", "*", "6")}, "first")
    Trace(steps=('x=7*6', 'x=2'), answer='2')
    """
    steps: list[str] = []
    digits: list[str] = []
    for name, start in rows.items():
        row = start
        while len(row) > 1:
            row = reduced(row, reading, error())
            steps.append(f"{name}={''.join(row)}")
        digits.extend(row)
    return Trace(tuple(steps), "".join(digits))


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Returns a trace under a reading drawn by its share.

    Args:
        problem: Of this family.
        rng: Draws the reading and the errors.
        rates: Shares of the wrong readings among each other, by name; "right" is the share of the
            right one (`RIGHT_SHARE` by level where absent); "digit" the probability that a result
            is one of the nine wrong digits. At least one wrong reading needs a share. Empty: the
            reference.
        num_right: The first steps, which are the reference's: the reading is drawn among those that
            begin so.
    """
    rows = read_rows(problem.question)
    if not rates:
        return solved(rows, "right")
    right = rates.get("right", RIGHT_SHARE[min(problem.level, len(RIGHT_SHARE)) - 1])
    readings = get_args(Reading)
    wrong = [rates.get(name, 0.0) for name in readings[1:]]
    assert sum(wrong) > 0, f"rates must give a wrong reading a share, got {rates!r}"
    shares = [right, *((1 - right) * share / sum(wrong) for share in wrong)]
    for place, name in enumerate(readings if num_right else ()):
        if solved(rows, name).steps[:num_right] != problem.solution[:num_right]:
            shares[place] = 0.0
    reading = cast("Reading", rng.choices(readings, weights=shares)[0])
    blur = rates.get(DIGIT, 0.0)
    places = itertools.count()

    def error() -> int:
        is_free = next(places) >= num_right
        return rng.randint(1, 9) if is_free and rng.random() < blur else 0

    return solved(rows, reading, error)


def draw(level: int, rng: random.Random, padding: int = 0) -> tuple[str, Trace]:
    """Returns a random question whose four readings have four answers, and its reference trace.

    `padding` is how many sums there are more, anywhere.
    """
    total = num_operations(level) + padding
    while True:
        symbols = [rng.choice("+-*") for _ in range(total - padding)]
        for _ in range(padding):
            symbols.insert(rng.randint(0, len(symbols)), rng.choice("+-"))
        sizes = [total // 3] * 3
        for index in rng.sample(range(3), total % 3):
            sizes[index] += 1
        left = iter(symbols)
        drawn = [_draw_row(list(itertools.islice(left, size)), rng) for size in sizes]
        rows = dict(zip(REGISTERS, drawn, strict=True))
        if len({solved(rows, reading).answer for reading in get_args(Reading)}) == 4:
            question = " ".join(f"{name}={''.join(row)}" for name, row in rows.items())
            return question, solved(rows, "right")


def read_rows(question: str) -> dict[str, Row]:
    """Returns the rows of a question.

    >>> read_rows("x=3+4 y=5*2-1")
    {'x': ('3', '+', '4'), 'y': ('5', '*', '2', '-', '1')}
    """
    return {part[0]: tuple(part[2:]) for part in question.split()}


def _draw_row(symbols: Sequence[str], rng: random.Random) -> Row:
    row: list[str] = [str(rng.randint(1, 9))]
    for symbol in symbols:
        row += [symbol, str(rng.randint(1, 9))]
    return tuple(row)
