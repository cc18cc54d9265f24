"""Combinations, bases, inverse functions, primes and repeating decimals in other notations."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (r"{10 \choose 3}", r"\binom{10}{3}"),
    ("120", r"{10 \choose 3}"),
    ("6", r"\gcd(12,18)"),
    ("36", r"\text{lcm}(12,18)"),
    ("1011_{two}", "1011_2"),
    (r"1011_{\text{two}}", "1011_2"),
    (r"52_{\text{eight}}", "52_8"),
    (r"52 \text{ (base 8)}", "52_8"),
    ("52 in base 8", "52_8"),
    ("52 base eight", "52_8"),
    (r"\text{AB}_{16}", "AB_{16}"),
    (r"\sinh^{-1} x", r"\text{arsinh}(x)"),
    (r"\operatorname{arcsinh} x", r"\sinh^{-1}(x)"),
    (r"\ln(x+\sqrt{x^2+1})", r"\sinh^{-1} x"),
    (r"\log_2 8x", r"\frac{\ln(8x)}{\ln 2}"),
    (r"\frac{\ln 3}{\ln 2}", r"\log_2 3"),
    (r"\log_{10} 5", r"\frac{\ln 5}{\ln 10}"),
    (r"0.\overline{3}", "1/3"),
    (r"0.1\overline{6}", "1/6"),
    (r"\overline{AB}", "AB"),
    ("_{10}C_3", r"\binom{10}{3}"),
    ("120", "{}_{10}C_3"),
    ("720", "_{10}P_3"),
    (r"-\frac32", "-3./2"),
    (r"\arcsin(10/13)", "np.arcsin(10/13)"),
    ("y'+ry=0", r"y^{\prime}+ry=0"),
    ("y''", r"y^{\prime\prime}"),
    (r"\tanh^{-1} x", r"\frac12\ln\frac{1+x}{1-x}"),
    (r"\binom{n}{k}", r"{n \choose k}"),
    (r"n \choose k", r"\binom{n}{k}"),
    (r"\arccos x", r"\cos^{-1} x"),
    ("101_2", "101_{2}"),
    (r"3.\overline{14}", r"\frac{311}{99}"),
    (r"\cot^{-1}(x)", r"\text{arccot } x"),
    (r"3A_{\text{sixteen}}", "3A_{16}"),
    (r"x\equiv 12 \pmod{7}", r"x\equiv 5 \pmod 7"),
    (r"1101\text{ base }2", "1101_2"),
    ("3k", r"n = 3k, k \in \mathbb{Z}^+"),
]
INCORRECT = [
    (r"{10 \choose 4}", r"\binom{10}{3}"),
    ("1101_2", "1011_2"),
    ("1011_3", "1011_2"),
    ("1011", "1011_2"),
    ("11", "1011_2"),
    ("42", "52_8"),
    (r"52_{\text{nine}}", "52_8"),
    (r"\cosh^{-1} x", r"\sinh^{-1} x"),
    (r"\log_3 2", r"\log_2 3"),
    ("0.3", r"0.\overline{3}"),
    (r"\overline{CD}", r"\overline{AB}"),
    ("12", r"\gcd(12,18)"),
    ("y'", "y''"),
    ("y", "y'"),
    (r"\frac{1}{\sinh x}", r"\sinh^{-1} x"),
    ("_{10}C_4", "_{10}C_3"),
    (r"0.\overline{16}", r"0.1\overline{6}"),
    (r"\binom{3}{10}", r"\binom{10}{3}"),
    (r"3B_{\text{sixteen}}", "3A_{16}"),
    (r"x\equiv 5 \pmod 8", r"x\equiv 5 \pmod 7"),
    (r"5 \pmod 8", r"5 \pmod 7"),
    (r"x\equiv 4 \pmod 7", r"x\equiv 5 \pmod 7"),
    ("k", r"n = 3k, k \in \mathbb{Z}^+"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_another_notation_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_another_notation_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
