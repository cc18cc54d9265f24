"""Letters of multiple choices, with and without the text of the choice."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("E) 12", "E"),
    ("E - twelve", "E"),
    ("C", r"C. 1-\mathrm{i}"),
    ("C. 1-i", r"C. 1-\mathrm{i}"),
    ("1-i", r"C. 1-\mathrm{i}"),
    ("C", "C: 12"),
    ("C", "C. 12"),
    ("(E) 12", "E"),
    (r"\text{E) } 12", "E"),
    (r"\textbf{(B)} 7", "B"),
    (r"\text{(B)}", "B"),
    ("Option B", "B"),
    ("B: 12 cm", "B"),
    ("\u2461", "2"),
    ("\u2460, \u2462", "\u2460\u2462"),
    ("A, C", "AC"),
    ("A and C", "AC"),
    ("CA", "AC"),
    ("B)", "B"),
    ("B.", "B"),
    (r"(B) \frac{1}{2}", "B"),
    (r"\mathrm{(D)}\ 12", "D"),
    ("B", "B"),
    ("The answer is (C)", "C"),
    ("Choice C", "C"),
]
INCORRECT = [
    ("D", r"C. 1-\mathrm{i}"),
    ("not C", "C"),
    ("ABC", "AC"),
    ("A", "AC"),
    ("A, B, C, D", "A"),
    ("A or B", "A"),
    ("D) 12", "E"),
    ("E) 13", "E) 12"),
    ("(A) is wrong", "A"),
    ("C or D", "C"),
    ("B) not this", "B"),
    ("A - no", "A"),
    ("A) B", "A"),
    ("A. or B.", "A"),
    ("AB", "A"),
    ("C - wrong", "C"),
    ("12", "C"),
    ("C. 13", "C. 12"),
    ("A, A, B", "AB"),
    ("everything but C", "C"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_choice_with_its_value_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_choice_with_its_value_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
