"""A list of intervals that overlap is not their union."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    (r"[3,\infty), [0,\infty)", r"[3,\infty), [0,\infty)"),
    ("(0,1), (2,3]", r"(0,1)\cup(2,3]"),
    (r"x<1 \text{ or } x>2", r"(-\infty,1)\cup(2,\infty)"),
    (r"(0,1]\cup(2,3)", "(2,3), (0,1]"),
    (r"x \ne 5, x \ne -5", r"x \ne \pm 5"),
    (r"x \ne -5 \text{ and } x \ne 5", r"x \ne \pm 5"),
    (r"(-\infty,-5)\cup(-5,5)\cup(5,\infty)", r"x \ne \pm 5"),
]
INCORRECT = [
    (r"[0,\infty)", r"[3,\infty), [0,\infty)"),
    (r"y \ge 0", r"x \ge 3, y \ge 0"),
    (r"\{x \mid x \ge 0\}", r"\{x \mid x \ge 3\}, \{x \mid x \ge 0\}"),
    ("[1,5]", "[1,3], [2,5]"),
    ("(0,5)", "(0,5), (1,2]"),
    ("[0,10]", "[0,10], [0,10]"),
    ("x>0", "x>0, x>1"),
    (r"(-\infty,\infty)", r"(-\infty,2], [1,\infty)"),
    (r"x \ne 6", r"x \ne \pm 5"),
    (r"x \ne 5", r"x \ne \pm 5"),
    (
        r"\text{domain } [0,\infty), \text{ range } [3,\infty)",
        r"\text{domain } [3,\infty), \text{ range } [0,\infty)",
    ),
    (r"\mathbb{R}", r"x \ne \pm 5"),
    (r"[3,\infty)", r"[3,\infty), [0,\infty)"),
    ("[1,4]", "[1,2],[2,4]"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_list_of_intervals_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_list_of_intervals_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
