r"""The `equation` family: solve a x + b - c + ... = d, one term per step.

It isolates real notation and a classical slip. Every step moves the last term to the other side;
the built-in base model forgets to change its sign at a known rate, and each error can be located in
one step. All terms have the same sign, so that forgotten signs add up and never cancel. Answers are
LaTeX fractions.

>>> problem = make("test", size=1, levels=(2, 2))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
2x+9+2=-20
2x+9=-22
2x=-31
x=\frac{-31}{2}
\frac{-31}{2}
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from functools import partial

from reason_env.problem import Problem
from reason_env.problems.families.family import Levels, Trace, first_wrong_step, is_right, make_set

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
SIGN = "sign"
SUM = "sum"
_EQUATION = re.compile(r"(\d)x((?:[-+]\d)*)=(-?\d+)")


def solved(
    factor: int,
    terms: Sequence[int],
    right: int,
    *,
    rates: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
    num_right: int = 0,
) -> Trace:
    r"""Move each term to the other side, from the last to the first, and then divide.

    Args:
        factor: The coefficient of x, 2..9.
        terms: -9..9 without 0, from left to right.
        right: The right-hand side.
        rates: Probability that a moved term keeps its sign ("sign"), and that a sum is off by one
            ("sum").
        rng: Draws the errors; given if and only if `rates` is.
        num_right: Number of first steps without errors.

    >>> solved(7, (4, -9), 15)
    Trace(steps=('7x+4=24', '7x=20', 'x=\\frac{20}{7}'), answer='\\frac{20}{7}')
    """
    assert (rates is None) == (rng is None), "rates and rng come together"
    steps: list[str] = []
    for place in range(len(terms) - 1, -1, -1):
        right -= terms[place]
        if rates and rng and len(steps) >= num_right:
            chance = rng.random()
            if chance < rates.get(SIGN, 0.0):
                right += 2 * terms[place]
            elif chance < rates.get(SIGN, 0.0) + rates.get(SUM, 0.0):
                right += rng.choice((-1, 1))
        steps.append(written(factor, terms[:place], right))
    answer = f"\\frac{{{right}}}{{{factor}}}"
    return Trace((*steps, f"x={answer}"), answer)


def written(factor: int, terms: Sequence[int], right: int) -> str:
    """Write the equation as text.

    >>> written(7, (4, -9), 15)
    '7x+4-9=15'
    """
    return f"{factor}x{''.join(f'{term:+d}' for term in terms)}={right}"


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Solve a question with errors at these rates, "sign" and "sum" as in `solved`."""
    found = _EQUATION.fullmatch(problem.question)
    assert found is not None, f"not a question of this family: {problem.question!r}"
    terms = [int(term) for term in re.findall(r"[-+]\d", found[2])]
    return solved(int(found[1]), terms, int(found[3]), rates=rates, rng=rng, num_right=num_right)


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a question with `level` terms of one sign, and its reference trace.

    The answer is in lowest terms.
    """
    while True:
        factor = rng.randint(2, 9)
        sign = rng.choice((-1, 1))
        terms = [sign * rng.randint(1, 9) for _ in range(level)]
        left = rng.choice((-1, 1)) * rng.randint(1, 40)
        right = left + sum(terms)
        if math.gcd(left, factor) == 1 and abs(right) < 60:
            return written(factor, terms, right), solved(factor, terms, right)


make = partial(make_set, "equation", draw=draw, known=LEVELS)
