from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.errors import ConfigError
from reason_env.verdict import Outcome
from reason_env.verify import grade, grade_many, is_gradable

RIGHT = [
    ("719", "719"),
    ("071", "71"),
    ("7,425,000", "7425000"),
    ("1{,}234", "1234"),
    ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
    ("5.0", "5"),
    (".5", r"\frac12"),
    (r"\dfrac{1}{2}", "1/2"),
    ("-1/2", r"\frac{-1}{2}"),
    (r"1\frac{1}{2}", "1.5"),
    (r"50\%", "0.5"),
    ("$1,000.99", "1000.99"),
    ("9" * 10_000, "9" * 10_000),
    ("+7", "7"),
]
WRONG = [
    ("720", "719"),
    ("7190", "719"),
    ("5", "-5"),
    ("50", "0.5"),
    ("32, 349", "32349"),
    ("7,1,9", "719"),
    ("71,9", "719"),
    ("1234,567", "1234567"),
    (",567", "567"),
    ("0" * 10_001 + "1,5", "15"),
    ("1.3", "1,3"),
    (r"7 \text{ / 8}", "7"),
    ("ab", "AB"),
    ("9" * 9_999 + "8", "9" * 10_000),
    (r"\frac{1}{0}", "1"),
    ("5.001", "5"),
    ("\u0665", "5"),
]


@pytest.mark.parametrize(("response", "reference"), RIGHT)
def test_equal_numbers_are_correct(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), WRONG)
def test_unequal_numbers_are_incorrect(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.INCORRECT


def test_a_response_without_an_answer_is_no_answer() -> None:
    assert grade("The result is 7.", "7").outcome is Outcome.NO_ANSWER


@given(st.integers(), st.integers())
def test_integers_are_correct_exactly_when_equal(left: int, right: int) -> None:
    assert grade(f"#### {left}", str(left)).is_correct
    assert grade(f"#### {left}", str(right)).is_correct == (left == right)


@pytest.mark.parametrize("answer", ["", " ", r"\frac{1}{", "}", "{"])
def test_a_reference_that_cannot_be_read_is_not_gradable(answer: str) -> None:
    assert not is_gradable(answer)


@pytest.mark.parametrize(
    ("response", "answer", "message"),
    [
        (5, "7", "response must be a text, got 5; for example '#### 5'"),
        (None, "7", "response must be a text, got None; for example '#### 5'"),
        (b"#### 7", "7", "response must be a text, got b'#### 7'; for example '#### 5'"),
        ("#### 7", 7, "answer must be a text, got 7; for example '5'"),
        ("no answer", ["7"], r"answer must be a text, got \['7'\]; for example '5'"),
    ],
)
def test_a_response_or_an_answer_that_is_no_text_is_one_line(
    response: Any, answer: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        grade(response, answer)
    with pytest.raises(ConfigError, match=f"^{message}$"):
        grade_many([("#### 7", "7"), (response, answer)])
