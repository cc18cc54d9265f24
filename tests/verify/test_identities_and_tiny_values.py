"""An identity states nothing, and a tiny value is not zero."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("1", "1"),
    ("5:8", r"\frac58"),
    ("x=3+4=7", "7"),
    ("3+4=7", "7"),
    ("1/2=0.5", "0.5"),
    ("2:1", "2"),
    ("3^{-900}", r"\frac{1}{3^{900}}"),
    (r"\frac{\sin 2x}{2\cos x}", r"\sin x"),
]
INCORRECT = [
    ("1=1", "1"),
    ("5:5", "1"),
    ("0=0", "0"),
    ("x=x", "x"),
    ("2=2", "2"),
    ("7:7", "1"),
    ("4:2", "2"),
    ("10:5", "2"),
    ("n=n", "n"),
    ("1=1=1", "1"),
    ("f(x)=f(x)", "f(x)"),
    ("3 = 3", "3"),
    ("x-x", r"\frac{1}{2^{1007}}"),
    ("0", r"\frac{1}{2^{1007}}"),
    ("0", "|V|^{2016}"),
    ("x-x", "|V|^{2016}"),
    ("0", "10^{-400}"),
    ("x-x", "e^{-3000}"),
    ("0", "N(0)2^t"),
    ("0", r"\frac{1}{3^{5000}}"),
    (r"\sin^2 x+\cos^2 x-1", r"\frac{1}{2^{1007}}"),
    ("1", "1+10^{-50}"),
    ("1", "1+2^{-200}"),
    ("0", r"\frac{x}{2^{500}}"),
    ("0", "e^{-x^2}"),
    ("0", r"\frac{1}{1000!}"),
    ("0", "y^{999}"),
    (r"\ln 1", "2^{-900}"),
    (r"\sin 0", r"\frac{\pi}{10^{100}}"),
    ("1", r"\left(1+\frac{1}{10^{60}}\right)"),
    ("6:3", "2"),
    ("9:9", "1"),
    ("1", r"\tanh(50)"),
    ("1", r"\cos(10^{-20})"),
    ("10^{-20}", r"\sin(10^{-20})"),
    ("1", r"\tanh(60)"),
    (r"\frac{2}{7^{800}}", r"\frac{1}{7^{800}}"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_an_identity_or_a_tiny_value_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_an_identity_or_a_tiny_value_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
