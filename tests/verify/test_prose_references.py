"""A reference in prose is read whole, not as its last formula."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("n=3k", "$n=3k$ for positive integer $k$"),
    ("3,5", "The roots are $3$ and $5$"),
    ("5, 3", "The roots are $3$ and $5$"),
    ("x=2", "$x=2$ if $a>0$"),
    ("2", "$x=2$ if $a>0$"),
    ("7", "We have $x=3$. The answer is $7$."),
    (
        r"2^n \text{ when } n \text{ is even and } 0 \text{ otherwise}",
        "$2^n$ when $n$ is even and $0$ otherwise",
    ),
    ("7", "The answer is $7$"),
    ("12", "There are $12$ ways"),
    (r"\frac{1}{2}", r"the probability is $\frac12$"),
    ("3", "so the area is $3$ square units"),
    ("x=3, y=5", "$x = 3$ and $y = 5$"),
    (r"$\min$ at $x=1$", r"$\min$ at $x=1$"),
    ("3, 5", "either $3$ or $5$"),
    (
        r"\text{local min. }(1,1);\ \text{local max. }(-1,-1)",
        "local min. $(1,1)$; local max. $(-1,-1)$",
    ),
    ("f(x)=cx", "$f(x)=cx$ for some constant $c$"),
    ("k^2", "$k^2$, where $k$ is odd"),
    ("12", "The value of $x$ is $12$"),
    ("34", "The largest $n$ is $34$"),
    ("y=2x+1", "The line $y=2x+1$"),
    (r"[3,\infty)", r"the set of all $x \geq 3$"),
    ("9", "$9$ is the answer"),
    ("x=2", "at $x=2$"),
    ("(2,3)", "at (2,3)"),
]
INCORRECT = [
    ("k", "$n=3k$ for positive integer $k$"),
    ("5", "The roots are $3$ and $5$"),
    ("3", "The roots are $3$ and $5$"),
    ("a>0", "$x=2$ if $a>0$"),
    ("0", "$2^n$ when $n$ is even and $0$ otherwise"),
    ("2^n", "$2^n$ when $n$ is even and $0$ otherwise"),
    ("n", "$2^n$ when $n$ is even and $0$ otherwise"),
    ("5", "either $3$ or $5$"),
    ("5", "The first is $3$ and the second is $5$."),
    ("(0,0)", "local min. $(1,-1)$, saddle pt. $(0,0)$"),
    ("x=4", r"$\max$ at $x=2$, min at $x=4$"),
    ("x=3", r"$\min$ at $x=1$"),
    ("c", "$f(x)=cx$ for some constant $c$"),
    ("k", "$k^2$, where $k$ is odd"),
    ("3", "$x=3$ is a root and $y=5$ is not"),
    ("0", "0 and $(8,-10,2)$"),
    ("210", "The rent for each $A$ room is $240$ yuan, and for each $B$ room is $210$ yuan."),
    ("p", "$2p$ with $p$ prime"),
    ("5", "not $5$"),
    ("n", "all $n$ divisible by $3$"),
    ("3", "all $n$ divisible by $3$"),
    ("5", "$x$ is at least $5$"),
    ("2", "$a_n$ converges to $2$ for $n>1$, diverges for $n=1$"),
    ("1", "minimum $0$, maximum $1$"),
    ("(1,1)", "$(0,0)$ is a saddle point and $(1,1)$ is a minimum"),
    (r"\sqrt{2}", r"$\sqrt{2}$ is irrational"),
    ("7", "$7$ is prime"),
    ("x", "The value of $x$ is $12$"),
    ("13", "The value of $x$ is $12$"),
    ("1", "The line $y=2x+1$"),
    (r"\pi", r"$\pi$ is transcendental"),
    ("-12", "The value of $x$ is $12$"),
    ("x=3", "at $x=2$"),
    ("(3,2)", "at (2,3)"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_reference_with_words_around_its_mathematics_is_answered(
    response: str, reference: str
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_reference_with_words_around_its_mathematics_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
