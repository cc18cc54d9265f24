"""Which box counts, and which boxes form a list."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (r"\boxed{840}, so \boxed{840}", "840"),
    (r"n=\boxed{3}, m=\boxed{7}, total \boxed{10}", "10"),
    (r"n=\boxed{3}, m=\boxed{7}", "3, 7"),
    (r"m=\boxed{7}, n=\boxed{3}", "n=3, m=7"),
    (r"\boxed 2", "2"),
    (r"x=\boxed{5}, so the answer is \boxed{5}", "5"),
    (r"\boxed{3}, and then \boxed{5}", "5"),
    (r"$\boxed{3}$, $\boxed{5}$ and $\boxed{7}$", "3,5,7"),
    (r"\boxed{3} cm and \boxed{5} cm", "3, 5"),
    (r"\boxed{1} or \boxed{-1}", r"\pm 1"),
    (r"\boxed 25", "25"),
    (r"\boxed{x}=\boxed{7}", "7"),
    ("\\boxed{4}\n\n\\boxed{4}", "4"),
    (r"\boxed{4}, \boxed{4}", "4"),
]
INCORRECT = [
    (r"\boxed{7} hence \boxed{8", "7"),
    (r"\boxed{7}. Wait, \boxed{\frac{1}{2}", "7"),
    (r"\boxed{7} \boxed{}", "7"),
    (r"\boxed{7} or \boxed{8}", "7"),
    (r"\boxed{8}, \boxed{7}", "7"),
    (r"\boxed{7} \fbox{8", "7"),
    (r"\boxed{7} \boxed 8", "7"),
    (r"n=\boxed{3}, m=\boxed{7}", "7"),
    (r"\boxed{7} and also \boxed{8", "7"),
    (r"m=\boxed{3}, n=\boxed{7}", "n=3, m=7"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_several_boxes_is_answered(response: str, reference: str) -> None:
    assert grade(response, reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_several_boxes_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(response, reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
