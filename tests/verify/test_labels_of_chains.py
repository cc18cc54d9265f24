"""An expression of letters can name the number after it."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("m+n=293", "293"),
    ("a+b+c=12+25+25=62", "62"),
    ("p+q=17", "17"),
    (r"\sin x=3/4", "3/4"),
    ("|x-y|=5", "5"),
    ("xy=10", "10"),
    ("abc=10", "10"),
    (r"\frac{a}{b}=5", "5"),
    (r"\sum a_i=5", "5"),
    (r"\angle ABC=5", "5"),
    ("S_{10}=5", "5"),
    ("a^2+b^2=25", "25"),
    (r"\text{Area}=5", "5"),
    ("m + n = 256 + 37 = 293", "293"),
    (r"\$200,000-\$130,000=\$70,000", "70000"),
    (r"x \approx 17.1", "17.1"),
    ("17.1", r"\approx 17.1"),
    (r"\approx 17.1", "17.1"),
    ("AB+BC=7", "7"),
    (r"P(A \cap B)=\frac12", r"\frac12"),
    ("|A|=5", "5"),
    (r"\sqrt{x}=3", "3"),
    ("f(2)=5", "5"),
    ("84=m+n", "84"),
    ("2x", r"\frac{dy}{dx}=2x"),
    ("2x", r"\frac{\partial f}{\partial x}=2x"),
]
INCORRECT = [
    ("m+n=292", "293"),
    ("2x+1=5", "5"),
    ("x^2-5x+6=0", "0"),
    ("x+3=7", "7"),
    ("m+n=293=294", "293"),
    ("a+b=1+1=3", "3"),
    ("x=5, y=6", "6"),
    ("2x=10", "10"),
    ("m+n=294=293", "293"),
    ("-x=3", "3"),
    ("-AB=7", "7"),
    ("84=2x", "84"),
    ("85=m+n", "84"),
    ("0", r"\frac{dy}{dx}=2x"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_an_expression_that_names_a_number_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_an_expression_that_names_a_number_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
