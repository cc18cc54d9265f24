"""Two letters that spell a word of English are a product where mathematics surrounds them."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("at+u", "u+at"),
    ("v_0 + a t", "v_0+at"),
    ("by+ax=c", "ax+by=c"),
    ("e^{ta}", "e^{at}"),
    ("e^{-a t}", "e^{-at}"),
    ("b+an", "an+b"),
    ("e^{x}b", "be^{x}"),
    (r"\frac12 a t^2", r"\frac{at^2}{2}"),
    (r"e^{i n \theta}", r"e^{in\theta}"),
    ("bt+as", "as+bt"),
    ("2ta", "2at"),
    (r"\sqrt{a t}", r"\sqrt{at}"),
    ("x(0) e^{a t}", "x(0)e^{at}"),
    ("x at y", r"\text{x at y}"),
]
INCORRECT = [
    ("u+bt", "u+at"),
    ("ax-by=c", "ax+by=c"),
    ("e^{bt}", "e^{at}"),
    (r"\frac12 at", r"\frac{at^2}{2}"),
    ("an", "an+b"),
    ("6", "at 5"),
    ("i", "it+1"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_the_letters_are_multiplied(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_other_letters_are_wrong(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.INCORRECT
