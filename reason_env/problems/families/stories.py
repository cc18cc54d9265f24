r"""The `stories` family: word problems in prose, for pretrained models.

Someone has a number of things, and events change it: each event is one sentence, and one or two
steps of arithmetic (a purchase is a sum, a loss a difference, boxes are a product and a sum). The
level is the number of events. The other families are written in a notation that only the built-in
base model knows; these problems any model of English can begin to solve.

>>> problem = make("test", size=1, levels=(2, 2))[0]
>>> print(*problem.question.split(". "), *problem.solution, problem.answer, sep="\n")
Mei has 26 pencils
Mei fills 4 bags with 5 new pencils each
Mei gets 24 pencils as a present
How many pencils does Mei have now?
4 * 5 = 20
26 + 20 = 46
46 + 24 = 70
70

Not covered: irrelevant sentences, several owners, fractions.
"""

import operator
import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from reason_env.problem import Problem
from reason_env.problems.families.family import Levels, Trace, make_set

__all__ = ["LEVELS", "draw", "first_wrong_step", "make"]
LEVELS = Levels(every=(1, 8), default=(1, 3), hard=(4, 6))
LARGEST = 300
"""Most things that anyone has at any time."""
NAMES = tuple(
    "Anna Ben Carla David Emma Farid Grace Hugo Ines Jonas Kofi Lily Mei Noah Omar Ruth".split()
)
THINGS = tuple(
    "apples balloons beads books buttons cards coins eggs marbles pencils shells stamps".split()
)
MORE = ("buys {} more {}", "finds {} {}", "gets {} {} as a present", "picks up {} {}", "wins {} {}")
FEWER = ("gives away {} {}", "loses {} {}", "sells {} {}", "throws away {} {}", "breaks {} {}")
BOXES = ("buys {} boxes with {} {} each", "fills {} bags with {} new {} each")
ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_EQUATION = re.compile(r"(?<![\d.])(\d+(?:\s*[-+*x]\s*\d+)+)\s*=\s*(-?\d+)(?!\d|\.\d)")
_ANSWER = re.compile(r"####\s*(-?\d+)")


class Event(NamedTuple):
    """A sentence without its subject, and the steps of arithmetic that it needs."""

    sentence: str
    steps: tuple[str, ...]
    total: int
    """Things after the event."""


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a story of `level` events and its solution."""
    while True:
        name, things = rng.choice(NAMES), rng.choice(THINGS)
        total = rng.randint(10, 99)
        sentences, steps, totals = [f"{name} has {total} {things}."], tuple[str, ...](), [total]
        for _ in range(level):
            event = _draw_event(totals[-1], things, rng)
            totals.append(event.total)
            sentences.append(f"{name} {event.sentence}.")
            steps += event.steps
        if max(totals) <= LARGEST:
            question = f"{' '.join(sentences)} How many {things} does {name} have now?"
            return question, Trace(steps=steps, answer=str(totals[-1]))


def _draw_event(total: int, things: str, rng: random.Random) -> Event:
    kind = rng.choice(("more", "more", "fewer", "fewer", "boxes", "doubles"))
    if kind == "more":
        change = rng.randint(2, 60)
        return _event(rng.choice(MORE).format(change, things), total, "+", change)
    if kind == "fewer" and total >= 10:
        # Most things are kept: small answers, which one could guess, stay rare.
        change = rng.randint(2, total * 2 // 3)
        return _event(rng.choice(FEWER).format(change, things), total, "-", change)
    if kind == "boxes":
        boxes, each = rng.randint(2, 9), rng.randint(2, 9)
        first = f"{boxes} * {each} = {boxes * each}"
        event = _event(rng.choice(BOXES).format(boxes, each, things), total, "+", boxes * each)
        return event._replace(steps=(first, *event.steps))
    return _event(f"doubles the number of {things}", total, "*", 2)


def _event(sentence: str, total: int, symbol: str, number: int) -> Event:
    result = ARITHMETIC[symbol](total, number)
    return Event(sentence, (f"{total} {symbol} {number} = {result}",), result)


def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
    """Find the 1-based index of the first wrong step; None if there is none.

    Every equation in a step is read, whatever words surround it (`x` is a product too). It is right
    if the reference solution has it after the equations given so far, operands in either order
    except around a minus. Those in between may be worked out in the head; a longer sum, such as
    `14 + 3 * 5 = 29`, is right if it is true and its result is the reference's. An answer line
    (`#### n`) must give the answer. A step without either is prose, neither right nor wrong.
    """
    expected = [_read(match) for text in problem.solution for match in _EQUATION.finditer(text)]
    for index, step in enumerate(steps, start=1):
        for match in _EQUATION.finditer(step):
            place = _place(_read(match), expected)
            if place is None:
                return index
            expected = expected[place + 1 :]
        answer = _ANSWER.search(step)
        if answer is not None and answer[1] != problem.answer:
            return index
    return None


class _Equation(NamedTuple):
    numbers: tuple[int, ...]
    symbols: tuple[str, ...]
    result: int

    @property
    def is_true(self) -> bool:
        """Whether the left side, products first, is the result."""
        terms = [self.numbers[0]]
        for symbol, number in zip(self.symbols, self.numbers[1:], strict=True):
            if symbol == "*":
                terms[-1] *= number
            else:
                terms.append(number if symbol == "+" else -number)
        return sum(terms) == self.result

    @property
    def is_long(self) -> bool:
        return len(self.symbols) > 1

    @property
    def key(self) -> tuple[str, tuple[int, ...], int]:
        """Equal for equations that differ in the order of a sum or a product."""
        symbol = self.symbols[0]
        ordered = self.numbers if symbol == "-" else tuple(sorted(self.numbers))
        return symbol, ordered, self.result


def _read(match: re.Match[str]) -> _Equation:
    symbols = tuple("*" if symbol == "x" else symbol for symbol in re.findall("[-+*x]", match[1]))
    return _Equation(tuple(map(int, re.findall(r"\d+", match[1]))), symbols, int(match[2]))


def _place(found: _Equation, expected: Sequence[_Equation]) -> int | None:
    """Return the first place of an equation among those expected; None if it is wrong."""
    for place, known in enumerate(expected):
        same_result = found.is_long and found.is_true and found.result == known.result
        if same_result or (not found.is_long and found.key == known.key):
            return place
    return None


make = partial(make_set, "stories", draw=draw, known=LEVELS, checker=first_wrong_step)
