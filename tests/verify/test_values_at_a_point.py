"""P(0) is a value and not a product with zero."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("P(0)e^{kt}", "P(0)e^{kt}"),
    ("e^{kt}P(0)", "P(0)e^{kt}"),
    (r"P(0) \cdot e^{kt}", "P(0)e^{kt}"),
    ("2f(0)", "f(0)+f(0)"),
    (r"\frac12", r"P(X=0)=\frac12"),
    ("x(x+1)", "x^2+x"),
]
INCORRECT = [
    ("0", "P(0)e^{kt}"),
    ("0", r"I(0) e^{-\frac{t}{RC}}"),
    ("0", "y(0)e^{x}"),
    ("N(0)3^t", "N(0)2^t"),
    ("a", "a(1)"),
    ("1", "f(0)+1"),
    ("0", "I(0)"),
    ("0", "N(0)2^t"),
    ("2a", "a(2)"),
    ("0", "u(0)"),
    ("1", "1+g(0)"),
    ("Q", "Q(1)"),
    ("0", "V(0)(1-e^{-t})"),
    ("T(1)", "T(2)"),
    ("0", r"x(0)\cos t"),
    ("A(0)", "A(1)"),
    ("S(0)", "2S(0)"),
    ("c(0)+1", "1"),
    ("0", "P_0(0)"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_letter_applied_to_a_number_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_letter_applied_to_a_number_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
