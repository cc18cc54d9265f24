r"""The `precedence` family: three expressions, and a few tempting wrong orders of evaluation.

It isolates elimination. A step evaluates one operation of one expression and keeps the last digit
of its result. A chain follows one of four readings in all three expressions: products first (the
right one), first operation first, last operation first, sums first. The four answers differ. On the
higher levels the built-in base model nearly always takes a wrong reading, so that a whole group
fails with the same few answers; if the prompt excludes those, it takes another reading.

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

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, cast, get_args

from reason_env.problem import Problem
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.registers import REGISTERS

Reading = Literal["right", "first", "last", "sums"]
__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
RIGHT_SHARE = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.004)
"""By level, the probability of the right reading in a demonstration; the last for all above."""
DIGIT = "digit"

Row = tuple[str, ...]
"""Alternating digits and symbols: ("3", "+", "4", "*", "2")."""


def num_operations(level: int) -> int:
    """Count the operations of all three rows: 6 at level 1, 12 at level 10.

    >>> [num_operations(level) for level in range(1, 11)]
    [6, 7, 7, 8, 9, 9, 10, 11, 11, 12]
    """
    return 6 + round((level - 1) * 2 / 3)


def reduced(row: Row, reading: Reading, digit_error: int = 0) -> Row:
    """Evaluate the operation of a row that the reading takes first.

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
    """Evaluate all rows under one reading; add `error()` to each result.

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
    """Draw a reading by its probability, and evaluate a question under it.

    Args:
        problem: A problem of this family.
        rng: Draws the reading and the errors.
        rates: "right": probability of the right reading (by default `RIGHT_SHARE` of the level).
            Names of wrong readings: their relative weights, at least one above 0. "digit":
            probability that a result is one of the nine wrong digits. Empty: the reference trace.
        num_right: Number of first steps that equal the reference; only readings that begin so are
            drawn.
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
    """Generate a question whose four readings give four answers, and its reference trace.

    Inserts `padding` more sums at random places.
    """
    total = num_operations(level) + padding
    while True:
        symbols = [rng.choice("+-*") for _ in range(total - padding)]
        for _ in range(padding):
            symbols.insert(rng.randint(0, len(symbols)), rng.choice("+-"))
        rows = draw_rows(symbols, rng)
        if len({solved(rows, reading).answer for reading in get_args(Reading)}) == 4:
            return written_rows(rows), solved(rows, "right")


def draw_rows(
    symbols: Sequence[str],
    rng: random.Random,
    arranged: Callable[[Sequence[str]], Sequence[str]] = list,
) -> dict[str, Row]:
    """Share the symbols among three rows as evenly as possible, and draw the digits.

    Args:
        symbols: In order; the rows take theirs one after the other.
        rng: Draws which rows have one more, and the digits.
        arranged: Reorders the symbols of a row.
    """
    sizes = [len(symbols) // 3] * 3
    for index in rng.sample(range(3), len(symbols) % 3):
        sizes[index] += 1
    left = iter(symbols)
    drawn = [_draw_row(arranged(list(itertools.islice(left, size))), rng) for size in sizes]
    return dict(zip(REGISTERS, drawn, strict=True))


def written_rows(rows: Mapping[str, Row]) -> str:
    """Write a question.

    >>> written_rows({"x": ("3", "+", "4"), "y": ("5", "*", "2", "-", "1")})
    'x=3+4 y=5*2-1'
    """
    return " ".join(f"{name}={''.join(row)}" for name, row in rows.items())


def read_rows(question: str) -> dict[str, Row]:
    """Read the rows of a question.

    >>> read_rows("x=3+4 y=5*2-1")
    {'x': ('3', '+', '4'), 'y': ('5', '*', '2', '-', '1')}
    """
    return {part[0]: tuple(part[2:]) for part in question.split()}


def _draw_row(symbols: Sequence[str], rng: random.Random) -> Row:
    row: list[str] = [str(rng.randint(1, 9))]
    for symbol in symbols:
        row += [symbol, str(rng.randint(1, 9))]
    return tuple(row)


make = partial(make_set, "precedence", draw=draw, known=LEVELS)
