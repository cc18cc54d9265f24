r"""The `late` family: errors late in a long chain, among letters that do not matter.

It isolates credit assignment where resets pay: success is rare, the only steps that can fail are in
the last half of the chain, and each step ends with three random letters, so that nearly all of the
policy's randomness, and with it nearly all of the variance of its gradient, is beside the point.
Level n has 4 n steps and n products among its last 2 n steps, so level 8 has 32 steps and 8
products. The built-in recipe slips in 0.4 of the products, and a chain succeeds with probability
0.6^n: 0.017 on level 8.

>>> problem = make("test", size=1, levels=(1, 1))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
x=1 y=7 z=2
S+1 T+8 U*3 V-3
S1+1=2 khp
T7+8=5 lmp
U2*3=6 flf
V2-3=9 mxi
956
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from string import ascii_lowercase

from reason_env.problem import Problem
from reason_env.problems.families import family, turns
from reason_env.problems.families.family import Levels, Trace, is_right, make_set
from reason_env.problems.families.registers import REGISTERS, Operation, slips_can_cancel

__all__ = ["LEVELS", "demonstration", "draw", "first_wrong_step", "is_right", "make"]
LEVELS = Levels(every=(1, 10), default=(8, 8), hard=(8, 8))
STEPS_PER_LEVEL = 4
UNITS: tuple[int, ...] = (3, 7, 9)
"""Multipliers that map the ten digits to ten different ones, so that errors never vanish."""
FILLER = 3
"""Letters after each step."""
_STEP = re.compile(rf"(\S+) [a-z]{{{FILLER}}}")


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a question and its reference trace; no combination of slips gives its answer."""
    digits = [rng.randint(0, 9) for _ in REGISTERS]
    places = turns.draw_places(STEPS_PER_LEVEL * level, rng)
    critical = _draw_critical(level, rng)
    count = Counter(places[at][1] for at in critical)
    multipliers = {
        register: iter(_draw_multipliers(count[register], rng)) for register in REGISTERS
    }
    operations = [
        Operation(label, register, "*", next(multipliers[register]))
        if at in critical
        else turns.draw_sum(label, register, rng)
        for at, (label, register) in enumerate(places)
    ]
    trace = turns.solved(digits, operations)
    steps = tuple(_with_filler(step, rng) for step in trace.steps)
    return turns.written_program(digits, operations), Trace(steps, trace.answer)


def _draw_critical(level: int, rng: random.Random) -> set[int]:
    """Draw the places of the products in the last half, as evenly over the registers as can be."""
    length = STEPS_PER_LEVEL * level
    while True:
        found = rng.sample(range(length // 2, length), level)
        if max(Counter(at % len(REGISTERS) for at in found).values()) <= ceil(level / 3):
            return set(found)


def _draw_multipliers(count: int, rng: random.Random) -> list[int]:
    """Draw the multipliers of one register so that no combination of its slips cancels.

    A slip adds the multiplier, whatever the digit, and sums between the products keep the error.
    """
    while True:
        drawn = rng.choices(UNITS, k=count)
        products = [Operation("a", "x", "*", factor) for factor in drawn]
        if not slips_can_cancel((0, 0, 0), products, "*"):
            return drawn


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Run the program of a question with errors at these rates, and draw other letters.

    The first `num_right` steps are those of the reference, letters included; without rates, all.
    """
    if not rates:
        return Trace(problem.solution, problem.answer)
    trace = turns.demonstration(problem, rng, rates, num_right=num_right)
    rest = [_with_filler(step, rng) for step in trace.steps[num_right:]]
    return Trace((*problem.solution[:num_right], *rest), trace.answer)


def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
    """Find the 1-based index of the first wrong step; None if there is none.

    As in the other families, but any three letters may end a step; a step without them is wrong.

    >>> problem = make("test", size=1, levels=(1, 1))[0]
    >>> first_wrong_step(problem, ("S1+1=2 abc", "T7+8=5 def", "U2*3=9 ghi"))
    3
    >>> first_wrong_step(problem, ("S1+1=2",))
    1
    """
    return family.first_wrong_step(problem, steps, _is_same)


def _with_filler(step: str, rng: random.Random) -> str:
    return f"{step} {''.join(rng.choices(ascii_lowercase, k=FILLER))}"


def _is_same(step: str, reference: str) -> bool:
    found, known = _STEP.fullmatch(step), _STEP.fullmatch(reference)
    if found is None or known is None:
        return step == reference
    return found[1] == known[1]


make = partial(make_set, "late", draw=draw, known=LEVELS, checker=first_wrong_step)
