"""Wrong answers that are hard to evaluate are refused, not left ungraded."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("(-1)^{n}", "(-1)^n"),
    ("2024!", "2024!"),
    (r"\binom{2024}{1012}", r"\binom{2024}{1012}"),
    ("4^{1012}-1", "2^{2024}-1"),
    ("-(-1)^{n+1}", "(-1)^n"),
    (r"\frac{1+(-1)^n}{2}", r"\frac{(-1)^n+1}{2}"),
    (r"(-1)^n \cdot 2^n", "(-2)^n"),
    ("3^{5000}", "9^{2500}"),
    (r"x \ne -3, 3", r"x \ne \pm 3"),
    (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^{n} k"),
    (r"\sum_{j=1}^n a_j", r"\sum_{k=1}^n a_k"),
]
INCORRECT = [
    ("1", "(-1)^n"),
    ("-1", "(-1)^n"),
    ("n", "(-1)^n"),
    ("(-1)^{n+1}", "(-1)^n"),
    (r"\sqrt{-x^2-1}", "x+1"),
    ("2024", "2024!"),
    ("2023!", "2024!"),
    (r"\binom{2024}{1011}", r"\binom{2024}{1012}"),
    (r"\sqrt{-x}", "x"),
    ("(-2)^x", "2x"),
    (r"\frac{2^n+1}{3}", r"\frac{2^n+(-1)^n}{3}"),
    (r"\frac{2^n-(-1)^n}{3}", r"\frac{2^n+(-1)^n}{3}"),
    ("9^{9^{9^9}}", "x+1"),
    (r"\frac{1}{x-x}", "x+1"),
    ("10^{10^{10^{10}}}x", "x"),
    ("i^n", "(-1)^n"),
    (r"\ln(-x^2)", r"\ln(x^2)"),
    ("2^{2024}", "2^{2025}"),
    (r"\binom{5000}{2500}", r"\binom{5000}{2499}"),
    ("(2024!)^2", "2024!"),
    ("100000!", "2024!"),
    ("99999!", "100000!"),
    (r"\arcsin(2+x^2)", "x"),
    (r"\sqrt{x-y}", r"\sqrt{y-x}"),
    ("3^{5001}", "3^{5000}"),
    ("e^{2000}", "e^{2001}"),
    (r"\Gamma(10^9)", "x"),
    ("0^{-x^2}", "x"),
    ("(-3)^{n}", "3^n"),
    ("(-1)^{m+n}", "1"),
    ("1", "(-1)^{m+n}"),
    (r"\cos(n\pi)", "1"),
    (r"\log_{-1} x", "x"),
    (r"\sum_{k=1}^{n} k^2", r"\sum_{k=1}^{n} k^3"),
    (r"\sum_{k=1}^{10^{12}} k", "n"),
    (r"\prod_{k=1}^{n} k", r"\prod_{k=1}^{n} (k+1)"),
    (r"\frac{1}{0}", "x"),
    (r"x \ne 6", r"x \ne \pm 5"),
    ("2^{2^{101}}", "2^{2^{100}}"),
    ("3^{3^{200}}", "3^{3^{199}}"),
    (r"x \ne -3, 4", r"x \ne \pm 3"),
    (r"x<\infty", "2x+4y-3=0"),
    (r"x>-\infty", "(p,q)=(3,2)"),
    ("x>x", r"m = \pm 7"),
    (r"x \ne x", r"m = \pm 7"),
    ("x=x", "(a+1)(a-1) = a^2-1"),
    (r"x<\infty", "x^2+y^2=25"),
    ("0=0", "x^2-y^2 = (x+y)(x-y)"),
    ("na_k", r"\sum_{k=1}^n a_k"),
    ("a_n", r"\lim_{n\to\infty} a_n"),
    ("0", r"\frac{dy}{dx}"),
    ("0", r"\frac{\partial f}{\partial x}"),
    (r"\frac{f}{x}", r"\frac{\partial f}{\partial x}"),
    (r"\frac{\partial f}{\partial y}", r"\frac{\partial f}{\partial x}"),
    (r"q \implies p", r"p \implies q"),
    (r"B\subset A", r"A\subset B"),
    (r"\sqrt{-1}>1", "x>1"),
    (r"2^{\begin{pmatrix}1&2\\3&4\end{pmatrix}}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\sin\begin{pmatrix}1\end{pmatrix}", r"\begin{pmatrix}1\end{pmatrix}"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_comparison_that_exact_numbers_parity_or_domains_decide_is_answered(
    response: str, reference: str
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_comparison_that_exact_numbers_parity_or_domains_decide_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
