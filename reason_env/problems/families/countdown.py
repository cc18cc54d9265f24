r"""The `countdown` family: reach a number with given digits, each used once, by backtracking.

It isolates search. A chain tries one combination of the digits, writes `no` if it misses the
number, and tries another; it may give up and answer with a miss. Several answers are right, so that
the value and the digits of an expression decide. A failed attempt is not a wrong step, because `no`
takes it back. Attempts run from left to right: any first operation, then sums and differences, so
that the expression needs no parentheses.

>>> problem = make("test", size=1, levels=(1, 1))[0]
>>> print(problem.question, *problem.solution, problem.answer, sep="\n")
40 from 7 5 5
5*7=35
35+5=40
5*7+5
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations, product

from reason_env.problem import Problem, ScoredProblem
from reason_env.problems.families.family import COMMENT, Levels, Trace, make_set
from reason_env.verify import countdown_reference, reaches

LEVELS = Levels(every=(1, 10), default=(1, 10), hard=(8, 10))
HIGHEST = 99
MISS = "no"
GIVE_UP = "give up"
INSIGHT = "insight"
SUM = "sum"
MAX_TRIES = 6
SEARCHES = 200
SHAPES = ((3, 7), (3, 8), (3, 9), (4, 6), (4, 7), (4, 8), (4, 9), (5, 6), (5, 7), (5, 9))
"""By level: number of digits, and the highest digit."""

_STEP = re.compile(r"([0-9]{1,4})([-+*])([0-9])=([0-9]{1,4})")
Attempt = tuple[int | str, ...]
"""Alternating digits and symbols: (3, "*", 9, "+", 4)."""


def with_scorer(problem: Problem) -> ScoredProblem:
    """Add the scorer to a problem."""
    given = {name: getattr(problem, name) for name in Problem.__slots__}
    return ScoredProblem(**given, scored_by=countdown_reference(*read_question(problem.question)))


def values_of(attempt: Attempt) -> list[int]:
    """Compute the value after each operation.

    >>> values_of((3, "*", 9, "+", 4))
    [27, 31]
    """
    value = int(attempt[0])
    values: list[int] = []
    for place in range(1, len(attempt), 2):
        digit = int(attempt[place + 1])
        symbol = attempt[place]
        value = (
            value + digit if symbol == "+" else value - digit if symbol == "-" else value * digit
        )
        values.append(value)
    return values


def steps_of(attempt: Attempt, values: Sequence[int]) -> tuple[str, ...]:
    """Write one line per operation.

    >>> steps_of((3, "*", 9, "+", 4), [27, 31])
    ('3*9=27', '27+4=31')
    """
    befores = [int(attempt[0]), *values]
    return tuple(
        f"{befores[index]}{attempt[2 * index + 1]}{attempt[2 * index + 2]}={value}"
        for index, value in enumerate(values)
    )


def attempts_of(digits: Sequence[int]) -> list[Attempt]:
    """List every attempt whose values stay within 0..99, sorted; 3*9 and 9*3 are two attempts."""
    found: set[Attempt] = set()
    for order in set(permutations(digits)):
        for symbols in product("+-*", *["+-"] * (len(digits) - 2)):
            attempt: list[int | str] = [order[0]]
            for symbol, digit in zip(symbols, order[1:], strict=True):
                attempt += [symbol, digit]
            if all(0 <= value <= HIGHEST for value in values_of(tuple(attempt))):
                found.add(tuple(attempt))
    return sorted(found, key=str)


def random_attempt(digits: Sequence[int], rng: random.Random) -> Attempt:
    """Draw an attempt whose values stay within 0..99."""
    while True:
        order = rng.sample(list(digits), len(digits))
        attempt: list[int | str] = [order[0]]
        for place, digit in enumerate(order[1:]):
            attempt += [rng.choice("+-*" if place == 0 else "+-"), digit]
        if all(0 <= value <= HIGHEST for value in values_of(tuple(attempt))):
            return tuple(attempt)


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Generate a search.

    Args:
        problem: A problem of this family.
        rng: Draws the attempts.
        rates: Probabilities. "insight": an attempt is right (else it is random). "give up": the
            chain ends with a miss, as it always does after `MAX_TRIES`. "sum": the last result of
            an attempt is off by one. Empty: the reference trace.
        num_right: Number of first steps that equal the reference. Searches are drawn until one
            begins so; after `SEARCHES` of them, the result is the reference trace.
    """
    if num_right:
        for _ in range(SEARCHES):
            trace = demonstration(problem, rng, rates)
            if trace.steps[:num_right] == problem.solution[:num_right]:
                return trace
        return Trace(problem.solution, problem.answer)
    if not rates:
        return Trace(problem.solution, problem.answer)
    target, digits = read_question(problem.question)
    steps: list[str] = []
    for tries in range(MAX_TRIES):
        if rng.random() < rates.get(INSIGHT, 0.0):
            attempt = right_attempt(target, digits, rng)
        else:
            attempt = random_attempt(digits, rng)
        values = values_of(attempt)
        if rng.random() < rates.get(SUM, 0.0):
            values[-1] += 1 if values[-1] == 0 else rng.choice((-1, 1))
        steps += steps_of(attempt, values)
        last = tries == MAX_TRIES - 1 or rng.random() < rates.get(GIVE_UP, 0.0)
        if values[-1] == target or last:
            return Trace(tuple(steps), "".join(map(str, attempt)))
        steps.append(MISS)
    raise AssertionError("the last try returns")


def right_attempt(target: int, digits: Sequence[int], rng: random.Random) -> Attempt:
    """Draw one of the attempts that reach the target."""
    return rng.choice([item for item in attempts_of(digits) if values_of(item)[-1] == target])


def draw(level: int, rng: random.Random) -> tuple[str, Trace]:
    """Generate a random question, and a reference trace without failed attempts."""
    count, highest = SHAPES[level - 1]
    while True:
        digits = [rng.randint(1, highest) for _ in range(count)]
        attempt = random_attempt(digits, rng)
        values = values_of(attempt)
        if attempt[1] == "*" and values[-1] >= 10:
            question = f"{values[-1]} from {' '.join(map(str, digits))}"
            return question, Trace(steps_of(attempt, values), "".join(map(str, attempt)))


def read_question(question: str) -> tuple[int, list[int]]:
    """Read the number to reach and the digits from a question.

    >>> read_question("31 from 9 3 4")
    (31, [9, 3, 4])
    """
    target, _, digits = question.partition(" from ")
    return int(target), [int(digit) for digit in digits.split()]


def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
    """Find the 1-based index of the first wrong step; None if there is none.

    A step is wrong if its arithmetic is, if it uses a digit that is not left, if it does not
    continue from the result before it, or if a result is below 0. A miss is not wrong: `no` takes
    it back. An answer is wrong if it does not reach the number with the given digits, whatever the
    steps are. Ignores all text after the answer.

    >>> problem = Problem(problem_id="countdown/test/0", question="31 from 9 3 4", answer="3*9+4")
    >>> first_wrong_step(problem, ("3+9=12", "12-4=8", "no", "3*9=27", "27+4=31", "#### 9*3+4"))
    >>> first_wrong_step(problem, ("3+9=12", "12*4=48", "#### 9*3+4")), first_wrong_step(
    ...     problem, ("3*9=28",)), first_wrong_step(problem, ("3+9=12", "12-4=8", "#### 3+9-4"))
    (None, 1, 3)
    """
    _, digits = read_question(problem.question)
    value: int | None = None
    left = Counter(digits)
    for index, line in enumerate(steps, start=1):
        step = line.strip()
        if step.startswith(COMMENT):
            continue
        if step.startswith("#### "):
            return None if is_right(problem, step.removeprefix("#### ")) else index
        if step == MISS:
            value, left = None, Counter(digits)
            continue
        found = _STEP.fullmatch(step)
        if found is None:
            return index
        before, symbol, digit, after = int(found[1]), found[2], int(found[3]), int(found[4])
        used = Counter([digit] if value is not None else [before, digit])
        if used - left or (value is not None and before != value):
            return index
        if values_of((before, symbol, digit))[0] != after:
            return index
        value, left = after, left - used
    return None


def is_right(problem: Problem, answer: str) -> bool:
    """Decide whether an answer reaches the problem's number with its digits."""
    return reaches(answer, *read_question(problem.question))


make = partial(
    make_set, "countdown", draw=draw, known=LEVELS, checker=first_wrong_step, scored=with_scorer
)
