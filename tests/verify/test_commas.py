"""A comma in a reference groups thousands or separates a list, never both."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade, is_gradable

CORRECT = [
    ("1000", "1,000"),
    ("1,000", "1000"),
    ("0, 1", "0,1"),
    ("1,0", "0,1"),
    ("13,11", "11,13"),
    (r"\{11,13\}", "11,13"),
    ("1,234,567", "1234567"),
    ("12,500, 13,000", "13000, 12500"),
    ("20,10", "10,20"),
    ("0,5", "0.5"),
    ("1 and 5", "1,5"),
    (r"\$1,000", "1000"),
    ("115, 000", "115,000"),
    (r"x=0 \text{ or } x=1", "x=0,1"),
    ("1234.5", "1,234.5"),
    (r"1,000 \text{ cm}", "1000 cm"),
    ("135,000", r"135,000 \mathrm{~cm}"),
    ("0.111", "0,111"),
    ("0,1110", "0,111"),
    ("-0,111", "$-0.111$"),
    ("000,111", "000,111"),
]
INCORRECT = [
    ("0.1", "0,1"),
    ("11.13", "11,13"),
    ("(1,0)", "1,000"),
    ("1, 0", "1,000"),
    ("234, 1", "1,234"),
    ("100,2", "2,100"),
    ("1.5", "1,5"),
    ("-1.25", "-1,25"),
    ("16.81", "16,81"),
    (r"10\%", "0,1"),
    ("0.1", "x=0,1"),
    ("27.93", "27,93"),
    ("5.15", "5,15"),
    ("10.2", "10,20"),
    ("1.000", "1,000"),
    (r"\{1,0\}", "1,000"),
    (r"\frac{1}{10}", "0,1"),
    ("1.2.3", "1,2,3"),
    ("2.3", "2,3"),
    ("0.25", "0,25"),
    ("12.3456", "12,3456"),
    ("3.0", "3,0"),
    ("[1,0]", "1,000"),
    ("1", "1,000"),
    ("1000", "1,0"),
    ("1.234", "1,234"),
    ("115, 0", "115,000"),
    ("-0,111", "0,111"),
    ("0,111", "-0,111"),
    ("111", "0,111"),
    ("111, 0", "0,111"),
    ("0,111", "111"),
]


@pytest.mark.parametrize(
    "reference", [r"\operatorname{floor}(12.3, 123.4)", r"\frac{1,2}", "2,,^3"]
)
def test_a_reference_with_a_comma_that_does_not_read_is_not_gradable(reference: str) -> None:
    assert not is_gradable(reference)


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_comma_between_digits_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_comma_between_digits_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
