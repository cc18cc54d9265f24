"""The scorer of the `countdown` family: every expression that reaches the number is right.

It runs in the caller's process, because its arithmetic is bounded.
"""

import json
from collections.abc import Sequence

from reason_env.problem import ScoredReference
from reason_env.verdict import Outcome
from reason_env.verify.scorers.arithmetic import value_and_numbers

SCORER = "countdown"


def countdown_reference(target: int, digits: Sequence[int]) -> ScoredReference:
    """Build the reference that answers are scored against."""
    entry = json.dumps({"digits": list(digits), "target": target}, separators=(",", ":"))
    return ScoredReference(scorer=SCORER, entry=entry)


def score_countdown(answer: str, entry: str) -> tuple[Outcome, str, float]:
    """Score an answer; return outcome, reason and score (1 or 0).

    >>> reference = countdown_reference(31, [9, 3, 4])
    >>> score_countdown("(9*3)+4", reference.entry)
    (<Outcome.CORRECT: 'correct'>, 'it reaches the number with the digits', 1.0)
    >>> score_countdown("9*4-5", reference.entry)[1]
    'it uses other numbers than the digits'
    """
    known = json.loads(entry)
    found = value_and_numbers(answer)
    if found is None:
        return Outcome.INCORRECT, "it is no expression of sums, products and quotients", 0.0
    value, numbers = found
    if sorted(numbers) != sorted(known["digits"]):
        return Outcome.INCORRECT, "it uses other numbers than the digits", 0.0
    if value != known["target"]:
        return Outcome.INCORRECT, "it misses the number", 0.0
    return Outcome.CORRECT, "it reaches the number with the digits", 1.0


def reaches(expression: str, target: int, digits: Sequence[int]) -> bool:
    """Decide whether an expression equals the target and uses exactly these digits.

    >>> reaches("(9*3)+4", 31, [9, 3, 4]), reaches("9*4-5", 31, [9, 3, 4]), reaches("31", 31, [31])
    (True, False, True)
    """
    return score_countdown(expression, countdown_reference(target, digits).entry)[2] == 1.0
