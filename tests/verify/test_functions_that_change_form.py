"""Absolute values, roundings, maxima and roots are compared on all sides of their breaks."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("|x+5|", "|x+5|"),
    ("|5+x|", "|x+5|"),
    (r"\sqrt{(x-4)^2}", "|x-4|"),
    (r"\lceil n/2\rceil+1", r"\lceil \frac{n}{2}\rceil+1"),
    (r"\max(x,10)", r"\max(10,x)"),
    (r"\frac{a+b+|a-b|}{2}", r"\max(a,b)"),
    ("|4-x|", "|x-4|"),
    (r"\lfloor \frac{n}{2} \rfloor", r"\lfloor n/2\rfloor"),
    (r"n-\lfloor n/2\rfloor", r"\lceil n/2\rceil"),
    ("(-1)^{n+2}", "(-1)^n"),
    ("(-1)^n", r"\cos(n\pi)"),
    (r"\frac{x+|x|}{2}", r"\max(x,0)"),
    (r"\frac{1-(-1)^n}{2}", r"n \bmod 2"),
    (r"\lfloor x+1 \rfloor", r"\lfloor x\rfloor+1"),
]
INCORRECT = [
    ("4-x", "|x-4|"),
    (r"\lfloor n/3\rfloor", r"\lfloor n/2\rfloor"),
    ("x", r"\min(x,10)"),
    ("x", r"\max(x,-5)"),
    ("10", r"\max(x,10)"),
    ("x-4", "|x-4|"),
    ("100-n", "|n-100|"),
    ("x+3", r"\sqrt{(x+3)^2}"),
    ("0", r"\lfloor n/2\rfloor"),
    (r"\lceil n/100\rceil", r"\lceil n/10\rceil"),
    ("x-1000", "|x-1000|"),
    ("1000-x", "|x-1000|"),
    ("n", r"n \bmod 3"),
    ("n", r"n \bmod 100"),
    ("0", r"\lfloor x/1000\rfloor"),
    ("x^2-9", "|x^2-9|"),
    ("9-x^2", "|x^2-9|"),
    ("x", r"\arcsin(\sin x)"),
    ("x", "|x|"),
    (r"\lfloor n^2/5\rfloor", r"\lfloor n^2/4\rfloor"),
    ("a", r"\max(a,b)"),
    ("b", r"\min(a,b)"),
    (r"\frac{n^2}{4}", r"\lfloor n^2/4\rfloor"),
    ("7-2x", "|2x-7|"),
    ("x", r"\text{sgn}(x)"),
    ("1", r"\frac{|x|}{x}"),
    ("x", r"\sqrt[4]{x^4}"),
    (r"\lfloor\sqrt[3]{n-1}\rfloor", r"\lfloor\sqrt{n-1}\rfloor"),
    ("1", r"\gcd(m,n)"),
    ("mn", r"\text{lcm}(m,n)"),
    ("1", r"\cos(2\pi x)"),
    ("x", r"x+0.0000001\sin x"),
    (r"\lceil x\rceil-1", r"\lfloor x\rfloor"),
    (r"\lceil x+\frac12\rceil-1", r"\lfloor x+\frac12\rfloor"),
    (r"\lceil\frac{x}{7}\rceil-1", r"\lfloor\frac{x}{7}\rfloor"),
    (r"\lceil 3x\rceil-1", r"\lfloor 3x\rfloor"),
    ("x", r"\min(x,50)"),
    ("9-2x", "|2x-9|"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_function_that_changes_its_form_somewhere_is_answered(
    response: str, reference: str
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_function_that_changes_its_form_somewhere_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
