"""English number words are numbers."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("five", "5"),
    ("twelve", "12"),
    ("twenty-one", "21"),
    (r"\text{five}", "5"),
    ("Five", "5"),
    ("one hundred", "100"),
    ("one hundred and five", "105"),
    ("three thousand two hundred", "3200"),
    ("two million", "2000000"),
    ("minus five", "-5"),
    ("5", "five"),
    ("five", "five"),
    ("zero", "0"),
    ("forty two", "42"),
    ("seven hundred", "700"),
    ("seven apples", "7 apples"),
    ("five dollars", r"\$5"),
    ("twelve hundred", "1200"),
]
INCORRECT = [
    ("five", "6"),
    ("twenty-one", "20"),
    ("fifty", "15"),
    ("six or seven", "6"),
    ("five five", "55"),
    ("not five", "5"),
    ("half", "1/2"),
    ("five hundred", "5"),
    ("twenty eleven", "31"),
    ("one two", "12"),
    ("hundred and five", "105"),
    ("minus five", "5"),
    ("a few", "5"),
    ("fifth", "5"),
    ("six apples", "7 apples"),
    ("seven pears", "7 apples"),
    ("twelve hundred", "120"),
    ("twenty hundred", "20"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_number_in_words_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_number_in_words_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
