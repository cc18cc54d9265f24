"""Answers that differ from a reference in one place, as `benchmarks.verifier.mutants` writes."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

INCORRECT = [
    # a sign before words
    ("-odd", "odd"),
    (r"-\text{Evelyn}", r"\text{Evelyn}"),
    ("-all real numbers", "all real numbers"),
    (r"\text{infinitely many}\%", r"\text{infinitely many}"),
    ("-profit of 10", "profit of 10"),
    # the middle of a chain of inequalities, and the name of a membership
    ("f(2) < f(5) < f(4)", "f(2) < f(1) < f(4)"),
    ("f(-7/4) > f(a+1)", "f(-3/4) > f(a+1)"),
    (r"-x \in [-2,7]", r"x \in [-2,7]"),
    (r"\{w \mid 2 < x < 3\}", r"\{x \mid 2 < x < 3\}"),
    # words and units inside a sum
    ("The function $f(x+1)-1$ is even.", "The function $f(x+1)-1$ is odd."),
    (r"x + 5 \text{ km}", r"x + 5 \text{ cm}"),
    (r"\frac{5 \text{ km}}{2}", r"\frac{5 \text{ cm}}{2}"),
    # a relation that is a condition
    (r"x=2 \text{ if } a>4", "$x=2$ if $a>0$"),
    (r"x=2 \text{ if } a\ge0", "$x=2$ if $a>0$"),
    (r"n=3k \text{ for positive integers } k\%", "$n=3k$ for positive integer $k$"),
    # a power inside a rounding, a sum from another index, another first digit after the comma
    (r"\lfloor n^27/4 \rfloor", r"\lfloor n^2/4 \rfloor"),
    (r"\sum_{k=2}^n \binom{n}{k} x^k", r"\sum_{k=1}^n \binom{n}{k} x^k"),
    # a percent sign after a power is a percentage of the power, not of its exponent
    (r"-4^{0} + 5^{0}\%", "-4^{0} + 5^{0}"),
    (r"3^{0}\%", "1"),
]
CORRECT = [
    ("f(2) < f(1) < f(4)", "f(2) < f(1) < f(4)"),
    (r"x = 2\pi = 6.28", "6.28"),
    ("z = 1 + 1 = 2", "2"),
    (r"x + 5 \text{ cm}", r"5 \text{ cm} + x"),
    (r"\$200,000 - \$130,000 = \$70,000", "70000"),
    ("x=2", "$x=2$ if $a>0$"),
    (r"x=2 \text{ if } 0<a", "$x=2$ if $a>0$"),
    (r"\sum_{j=1}^n \binom{n}{j} x^j", r"\sum_{k=1}^n \binom{n}{k} x^k"),
    (r"(1+x)^n-1", r"\sum_{k=1}^n \binom{n}{k} x^k"),
    (r"10^{3}\%", r"5^1 + 5"),
    (r"4^{50\%}", "2"),
]


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_an_answer_changed_in_one_place_is_incorrect(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.INCORRECT


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_the_same_answer_in_another_form_is_correct(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT
