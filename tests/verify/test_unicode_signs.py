"""Fractions, powers and full-width signs of Unicode are read; other digits are not."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("\u2153", "1/3"),
    ("x\u2074", "x^4"),
    ("10\u2078", "10^8"),
    ("20\uff05", r"20\%"),
    ("\uff0d3", "-3"),
    ("\uff11", "1"),
    ("1\u30012", "1,2"),
    ("3\u3002", "3"),
    ("\uff081\uff0c2\uff09", "(1,2)"),
    ("\uff11\uff12", "12"),
    ("x\u2081", "x_1"),
    ("2\u2154", "8/3"),
    ("x\u00b2+y\u00b2", "x^2+y^2"),
    ("10\u207b\u00b3", "0.001"),
    ("\u221a2", r"\sqrt2"),
    ("\u03c0/2", r"\frac{\pi}{2}"),
    ("3\u00d710\u2078", r"3\times 10^8"),
    ("\u00bd", "0.5"),
    ("x\u22645", r"x \le 5"),
    ("x\u22602", r"x \ne 2"),
    ("5\u00f72", "2.5"),
    ("A\u222aB", r"A \cup B"),
    ("\u22127", "-7"),
    ("x\uff1d3", "3"),
    ("\u221e", r"\infty"),
    ("\u230ax\u230b", r"\lfloor x\rfloor"),
    ("2\u207f", "2^n"),
    ("a\u2081\u2080", "a_{10}"),
    ("90\u00b0", "90"),
    ("\u2205", r"\emptyset"),
    ("\u211d", r"\mathbb{R}"),
    ("\uff13\uff0f\uff14", r"\frac34"),
    ("\uff11\uff10\uff10\uff10", "1000"),
    ("1\uff1b2", "1,2"),
    ("\u221bx", r"\sqrt[3]{x}"),
    ("4\u2158", "4.8"),
    ("y\u2032", "y'"),
    ("\u00be", r"\frac34"),
    ("\u0394", r"\Delta"),
    ("\u03b5", r"\epsilon"),
    ("\u03c1", r"\rho"),
    ("\u03c4", r"\tau"),
    ("\u03c8", r"\psi"),
]
INCORRECT = [
    ("\u2153", "2/3"),
    ("x\u2074", "x^3"),
    ("10\u2078", "10^7"),
    ("20\uff05", "20"),
    ("\uff0d3", "3"),
    ("\uff11", "2"),
    ("x\u2081", "x_2"),
    ("2\u2154", "7/3"),
    ("\uff11\uff12", "21"),
    ("\u0663", "3"),
    ("10\u207b\u00b3", "1000"),
    ("\u0969", "3"),
    ("x\u00b2", "x^{-2}"),
    ("\u2475", "2"),
    ("\u03c4", r"\pi"),
    ("\u0394", r"\delta"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_sign_outside_ASCII_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_sign_outside_ASCII_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
