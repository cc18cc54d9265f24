"""Noisy demonstrations, one function per format: the guidance shown and the response.

`ERROR_RATES`, `SECOND_TRY` and `CHECK_RATES` set the rates of errors by family.
"""

import random
from collections.abc import Callable
from typing import Literal, cast

from reason_env.problem import Problem
from reason_env.problems.families import (
    chain,
    countdown,
    equation,
    inverse,
    late,
    opposed,
    precedence,
    sealed,
    unlock,
)
from reason_env.problems.families.family import COMMENT, Family, Trace
from reason_env.state import Guidance, localisation_guidance

Checks = Literal["results", "operations"]
Format = Literal["plain", "partial_solution", "answer", "mistakes", "localise", "concise"]

FAMILIES: dict[str, Family] = {
    "chain": cast("Family", chain),
    "inverse": cast("Family", inverse),
    "unlock": cast("Family", unlock),
    "precedence": cast("Family", precedence),
    "countdown": cast("Family", countdown),
    "equation": cast("Family", equation),
    "late": cast("Family", late),
    "sealed": cast("Family", sealed),
    "opposed": cast("Family", opposed),
}
PLUS_MINUS = {"+": 0.01, "-": 0.01}
_READINGS = {"first": 0.7, "last": 0.2, "sums": 0.1, "digit": 0.005}
ERROR_RATES: dict[str, dict[str, float]] = {
    "chain": {"*": 0.15, "slip *": 0.35, **PLUS_MINUS},
    "inverse": {"/": 0.15, "slip /": 0.60, **PLUS_MINUS},
    "unlock": {"^": 0.10, "slip ^": 0.70, **PLUS_MINUS},
    "precedence": _READINGS,
    "countdown": {"insight": 0.02, "give up": 0.45, "sum": 0.01},
    "equation": {"sign": 0.40, "sum": 0.01},
    "late": {"slip *": 0.40},
    "sealed": {"^": 0.05, "slip ^": 0.80},
    "opposed": _READINGS,
}
"""Error rates of plain demonstrations; each family's `demonstration` explains its keys."""
_ANY_READING = {"right": 0.25, "first": 0.25, "last": 0.25, "sums": 0.25, "digit": 0.005}
SECOND_TRY = {"precedence": _ANY_READING, "opposed": _ANY_READING}
"""Error rates of demonstrations that avoid listed answers, for families in which they differ."""
_MIXED_READINGS = {"right": 0.4, "first": 0.5, "last": 0.3, "sums": 0.2, "digit": 0.08}
CHECK_RATES: dict[str, dict[str, float]] = {
    "chain": {"*": 0.15, "slip *": 0.15, "+": 0.06, "-": 0.06},
    "inverse": {"/": 0.15, "slip /": 0.15, "+": 0.06, "-": 0.06},
    "unlock": {"^": 0.15, "slip ^": 0.15, "+": 0.06, "-": 0.06},
    "precedence": _MIXED_READINGS,
    "countdown": {"give up": 0.35, "sum": 0.15},
    "equation": {"sign": 0.2, "sum": 0.1},
    "late": {"slip *": 0.25},
    "sealed": {"^": 0.15, "slip ^": 0.15},
    "opposed": _MIXED_READINGS,
}
"""Error rates of chains in which the first wrong step is to be located."""
RESTATE_SHARE = 0.75
"""Fraction of demonstrations with a partial solution that repeat it first; the others have the
instruction not to."""
REGISTER_FAMILIES = ("chain", "inverse", "unlock")
ASIDE_SHARE = 0.12
"""Fraction of plain demonstrations with asides between their steps."""
WITHOUT_ASIDES = ("late", "sealed")
"""Families whose steps have one length, so that a register's last digit is in a known place."""
CONCISE = "Be concise."
DO_NOT_RESTATE = "Do not restate."


def _noisy(family: str, problem: Problem, rng: random.Random, num_right: int = 0) -> Trace:
    return FAMILIES[family].demonstration(problem, rng, ERROR_RATES[family], num_right=num_right)


def _written(steps: tuple[str, ...], answer: str) -> str:
    return "\n".join([*steps, f"#### {answer}"])


Pair = tuple[tuple[Guidance, ...], str]


def _plain(family: str, problem: Problem, rng: random.Random) -> Pair:
    """Write an attempt; some have asides before their steps."""
    trace = _noisy(family, problem, rng)
    if family in WITHOUT_ASIDES or rng.random() >= ASIDE_SHARE:
        return (), _written(trace.steps, trace.answer)
    steps: list[str] = []
    for step in trace.steps:
        if rng.random() < 0.6:
            steps.append(_aside(rng))
        steps.append(step)
    return (), _written(tuple(steps), trace.answer)


def _aside(rng: random.Random) -> str:
    return COMMENT + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))


def _concise(family: str, problem: Problem, rng: random.Random) -> Pair:
    trace = _noisy(family, problem, rng)
    return (Guidance("instruction", (CONCISE,)),), _written(trace.steps, trace.answer)


def _partial_solution(family: str, problem: Problem, rng: random.Random) -> Pair:
    """Show the first reference steps, then repeat them or continue; the rest is noisy."""
    shown = rng.randint(1, len(problem.solution))
    trace = _noisy(family, problem, rng, num_right=shown)
    piece = Guidance("partial_solution", tuple(f"{step}\n" for step in problem.solution[:shown]))
    if rng.random() < RESTATE_SHARE:
        return (piece,), _written(trace.steps, trace.answer)
    instruction = Guidance("instruction", (DO_NOT_RESTATE,))
    return (piece, instruction), _written(trace.steps[shown:], trace.answer)


def _answer(family: str, problem: Problem, rng: random.Random) -> Pair:
    return (Guidance("answer", (problem.answer,)),), _written(problem.solution, problem.answer)


def _mistakes(family: str, problem: Problem, rng: random.Random) -> Pair:
    """Show wrong answers of noisy demonstrations, if any; the response avoids all of them."""
    drawn = [_noisy(family, problem, rng).answer for _ in range(rng.randint(1, 8))]
    is_right = FAMILIES[family].is_right
    wrong = tuple(dict.fromkeys(text for text in drawn if not is_right(problem, text)))
    rates = SECOND_TRY.get(family, ERROR_RATES[family])
    pieces = [Guidance("mistakes", wrong)] if wrong else []
    if rng.random() < 0.2:
        pieces.append(Guidance("instruction", (CONCISE,)))
    while True:
        trace = FAMILIES[family].demonstration(problem, rng, rates)
        if trace.answer not in wrong:
            return tuple(pieces), _written(trace.steps, trace.answer)


def localise(
    family: str, problem: Problem, rng: random.Random, checks: Checks = "operations"
) -> Pair:
    r"""Show a wrong chain; the response checks its steps in order and boxes the first wrong one.

    With `checks="operations"`, as in `1:3+4=7;7+ 2:7*3=1;4- \boxed{2}`, it writes for each step the
    operation, its correct result, the chain's result, and a verdict.
    """
    while True:
        trace = FAMILIES[family].demonstration(problem, rng, CHECK_RATES[family])
        steps = (*trace.steps, f"#### {trace.answer}")
        wrong = FAMILIES[family].first_wrong_step(problem, steps)
        if wrong is not None:
            checked = [
                _checked(family, problem, index, step, checks)
                for index, step in enumerate(steps[:wrong])
            ]
            passed = [f"{place}{text}+ " for place, text in enumerate(checked[:-1], start=1)]
            pieces = [localisation_guidance(steps)]
            if rng.random() < 0.1:
                pieces.insert(0, Guidance("answer", (problem.answer,)))
            found = f"{wrong}{checked[-1]}- \\boxed{{{wrong}}}"
            return tuple(pieces), "".join((*passed, found))


def _checked(family: str, problem: Problem, index: int, shown: str, checks: Checks) -> str:
    """Write the check of a step (from 0) in a chain that is right before it.

    First the correct operation, such as ":3+4=7", then the chain's result, such as ";7". Empty in a
    family with many right chains, and in one whose chains are too long to be written again.
    """
    if family in ("countdown", "late"):
        return ""
    if index == len(problem.solution):
        return f":{problem.answer}"
    result, found = problem.solution[index].rpartition("=")[2], shown.rpartition("=")[2]
    operation = None if checks == "results" else _operation(family, problem, index)
    return f":{result}" if operation is None else f":{operation}={result};{found}"


def _operation(family: str, problem: Problem, index: int) -> str | None:
    """Return the operation of a step (from 0); None where it is not one of two numbers."""
    if family in REGISTER_FAMILIES:
        return problem.solution[index][2:5]
    if family == "sealed":
        return problem.solution[index][1:4]
    if family != "equation" or index == len(problem.solution) - 1:  # the last one is a division
        return None
    left, _, right = (problem.question, *problem.solution)[index].rpartition("=")
    sign = "-" if left[-2] == "+" else "+"
    return f"{right}{sign}{left[-1]}"


FORMATS: dict[str, Callable[[str, Problem, random.Random], Pair]] = {
    "plain": _plain,
    "partial_solution": _partial_solution,
    "answer": _answer,
    "mistakes": _mistakes,
    "localise": localise,
    "concise": _concise,
}
