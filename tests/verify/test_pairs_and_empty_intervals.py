"""A pair whose first number is the larger is a point; no interval runs backwards."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("(3,2)", "(3,2)"),
    ("(3, 2)", r"\left(3,2\right)"),
    ("[2,3)", "[2,3)"),
    (r"\emptyset", r"\emptyset"),
    (r"\{\}", "no solution"),
    ("no solution", r"\emptyset"),
]
INCORRECT = [
    ("[1,0)", "(3,2)"),
    ("[3,2)", "(3,2)"),
    ("(3,2]", "(3,2)"),
    ("1<x<0", "(3,2)"),
    ("5<x<1", "(8,-2)"),
    ("[5,4]", "(3,2)"),
    ("(5,4)", "[3,2)"),
    ("[1,0)", r"\emptyset"),
    ("1<x<0", "no solution"),
    (r"[2,1] \cup [4,3]", "(3,2)"),
    (r"(3,2) \cup (1,0)", "(8,-2)"),
    ("[1,1)", "(2,2)"),
    (r"(0,-\infty)", "(5,-5)"),
    (r"\{x \mid 1<x<0\}", "(3,2)"),
    (r"x>1 \text{ and } x<0", "(3,2)"),
    (r"\emptyset", "(3,2)"),
    ("[1,0)", r"(3,-\pi)"),
    (r"[\sqrt2,1)", "(3,2)"),
    (r"(2,1)\cup(3,4)", "(3,4)"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_pair_that_descends_or_an_interval_that_is_empty_is_answered(
    response: str, reference: str
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_pair_that_descends_or_an_interval_that_is_empty_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
