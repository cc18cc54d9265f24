"""A sum of unit vectors is a tuple."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("(1,2)", r"\mathbf{i}+2\mathbf{j}"),
    (r"\langle 1,2\rangle", r"\mathbf{i}+2\mathbf{j}"),
    (r"\hat{i}+2\hat{j}", r"\mathbf{i}+2\mathbf{j}"),
    ("(1,2,-1)", r"\mathbf{i}+2\mathbf{j}-\mathbf{k}"),
    (r"\hat{\imath}+2\hat{\jmath}", r"\hat{i}+2\hat{j}"),
    (r"2\mathbf{j}+\mathbf{i}", r"\mathbf{i}+2\mathbf{j}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\mathbf{i}+2\mathbf{j}"),
    (r"\mathbf{i}+2\mathbf{j}", "(1,2)"),
    (r"\vec{i}-\vec{k}", "(1,0,-1)"),
    ("(2t, 3)", r"2t\mathbf{i}+3\mathbf{j}"),
]
INCORRECT = [
    ("(2,1)", r"\mathbf{i}+2\mathbf{j}"),
    (r"\mathbf{j}+2\mathbf{i}", r"\mathbf{i}+2\mathbf{j}"),
    ("(1,2,1)", r"\mathbf{i}+2\mathbf{j}-\mathbf{k}"),
    ("(1,2)", r"\mathbf{i}+2\mathbf{j}-\mathbf{k}"),
    ("3", r"\mathbf{i}+2\mathbf{j}"),
    (r"\mathbf{i}", "(1,1)"),
    ("i+2j", r"\mathbf{i}+2\mathbf{j}"),
    (r"\{1,2\}", r"\mathbf{i}+2\mathbf{j}"),
    ("1,2,3", r"\mathbf{i}+2\mathbf{j}"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_unit_vectors_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_unit_vectors_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
