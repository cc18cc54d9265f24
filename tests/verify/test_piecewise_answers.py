"""Cases compare in any order; rows without conditions are a system."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (
        r"\begin{cases} 1 & \text{if } x>0 \\ 0 & x \le 0\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    (
        r"\begin{cases} 0 & x \le 0 \\ 1 & x>0\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    (
        r"\begin{cases} 1, & x>0, \\ 0, & x \le 0.\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    ("x=1, y=2", r"\begin{cases} x=1 \\ y=2\end{cases}"),
    (r"\begin{cases} x=1 \\ y=2\end{cases}", "x=1, y=2"),
    (
        r"f(x)=\begin{cases} x^2 & \text{for } x \geq 1 \\ x & \text{otherwise}\end{cases}",
        r"\begin{cases} x^2 & x \ge 1 \\ x & \text{otherwise}\end{cases}",
    ),
    (
        r"\begin{cases} 1 & 0<x \\ 0 & 0 \ge x\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    (r"\begin{cases} x=1, \\ y=2.\end{cases}", r"\begin{cases} y=2 \\ x=1\end{cases}"),
    (r"\begin{cases} x&=1 \\ y&=2\end{cases}", "x=1, y=2"),
    (
        r"\begin{cases} 2(x+1) & x>0 \\ 0 & x \le 0\end{cases}",
        r"\begin{cases} 2x+2 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    (
        r"\begin{cases} 0 & \text{if $n$ is odd} \\ 1 & \text{if $n$ is even}\end{cases}",
        r"\begin{cases} 1 & \text{if } n \text{ is even} \\ 0 & n \text{ is odd}\end{cases}",
    ),
    (
        r"\begin{cases} 0 & n \text{ odd} \\ 1 & n \text{ even} \end{cases}",
        r"\begin{cases} 1 & \text{if } n \text{ is even} \\"
        r"0 & \text{if } n \text{ is odd} \end{cases}",
    ),
    (
        r"\left\{\begin{array}{ll} 3 & t<2 \\ 5 & t\ge2\end{array}\right.",
        r"\begin{cases} 3 & t<2 \\ 5 & t\ge2\end{cases}",
    ),
]
INCORRECT = [
    (
        r"\begin{cases} 0 & x>0 \\ 1 & x \le 0\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    (
        r"\begin{cases} 1 & x\ge0 \\ 0 & x < 0\end{cases}",
        r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}",
    ),
    ("1", r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}"),
    (r"\begin{cases} 1 & x>0\end{cases}", r"\begin{cases} 1 & x>0 \\ 0 & x \le 0\end{cases}"),
    (r"\begin{cases} x=2 \\ y=1\end{cases}", r"\begin{cases} x=1 \\ y=2\end{cases}"),
    (r"\begin{cases} x=1\end{cases}", r"\begin{cases} x=1 \\ y=2\end{cases}"),
    (
        r"\begin{cases} 1 & \text{if } n \text{ is odd} \\ 0 & n \text{ is even}\end{cases}",
        r"\begin{cases} 1 & \text{if } n \text{ is even} \\ 0 & n \text{ is odd}\end{cases}",
    ),
    ("2, 1", r"\begin{cases} x=1 \\ y=2\end{cases}"),
    (
        r"\begin{cases} x & \text{if } x<1 \\ x^2 & \text{otherwise}\end{cases}",
        r"\begin{cases} x^2 & x \ge 1 \\ x+1 & \text{otherwise}\end{cases}",
    ),
    (
        r"\begin{cases} 1 & n \text{ odd} \\ 0 & n \text{ even} \end{cases}",
        r"\begin{cases} 1 & \text{if } n \text{ is even} \\"
        r"0 & \text{if } n \text{ is odd} \end{cases}",
    ),
    (
        r"\left\{\begin{array}{ll} 5 & t<2 \\ 3 & t\ge2\end{array}\right.",
        r"\begin{cases} 3 & t<2 \\ 5 & t\ge2\end{cases}",
    ),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_cases_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_cases_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
