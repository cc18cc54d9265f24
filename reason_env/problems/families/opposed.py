r"""The `opposed` family: easy questions that pay a wrong reading of `precedence`.

It isolates interference between problems. Questions look like those of `precedence`, but in each
row the products come first, so that reading from the left is right: step for step, products first
and from the left are one. The other two readings are wrong. Trained together with `precedence`,
whose questions are hard because the policy reads from the left, these easy problems reward exactly
that: `mix:opposed@1-3+precedence@7-10`.

>>> problem = make("test", size=1, levels=(1, 1))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
x=9*4+2 y=3+3-1 z=4*8-8
x=6+2
x=8
y=6-1
y=5
z=2-8
z=4
854
"""

import random
from collections.abc import Sequence
from functools import partial

from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set
from reason_env.problems.families.precedence import (
    demonstration,
    draw_rows,
    num_operations,
    solved,
    written_rows,
)

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 3), hard=(8, 10))


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a question that both readings solve alike and the two others get wrong."""
    while True:
        symbols = [rng.choice("+-*") for _ in range(num_operations(level))]
        rows = draw_rows(symbols, rng, _products_first)
        right = solved(rows, "right")
        if right.answer not in {solved(rows, "last").answer, solved(rows, "sums").answer}:
            return written_rows(rows), right


def _products_first(symbols: Sequence[str]) -> Sequence[str]:
    return sorted(symbols, key=lambda symbol: symbol != "*")


make = partial(make_set, "opposed", draw=draw, known=LEVELS)
