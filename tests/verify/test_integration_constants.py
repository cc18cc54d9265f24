"""A constant of integration absorbs other constants."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (r"-\cos^2 x + C", r"\sin^2 x + C"),
    ("x^2+K", "x^2+C"),
    (r"\ln|2x|+C", r"\ln|x|+C"),
    (r"\frac12 x^2+c", r"\frac{x^2}{2}+C"),
    ("x^2+5+C", "x^2+C"),
    (r"-\frac{1}{4}\cos 2x+C", r"\frac12\sin^2 x+C"),
    (r"C+\tan x", r"\tan x+C"),
    (r"\sec^2 x+C", r"\tan^2 x + C"),
]
INCORRECT = [
    ("x^2", "x^2+C"),
    ("2x^2+C", "x^2+C"),
    (r"\cos^2 x+C", r"\sin^2 x+C"),
    ("x^2+Cx", "x^2+C"),
    ("C", "x^2+C"),
    (r"\ln|x|+C", r"\ln|x+1|+C"),
    ("x^2+C", "x^2"),
    ("x+C", "x^2+C"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_constant_of_integration_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_constant_of_integration_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
