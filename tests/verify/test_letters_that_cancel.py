r"""A plain number is not answered by letters that cancel, nor 1 by a ratio of equal numbers."""

import pytest

from reason_env.verify import grade


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("x-x", "0"),
        ("0 x", "0"),
        (r"\frac{x}{x}", "1"),
        ("2n - n - n + 7", "7"),
        ("x-x+0.5", "0.5"),
        ("1:1", "1"),
        ("5:5", "1"),
    ],
)
def test_a_value_that_says_nothing_is_no_answer(response: str, reference: str) -> None:
    assert not grade(f"\\boxed{{{response}}}", reference).is_correct


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("x=0", "0"),
        ("f(x)=7", "7"),
        ("7 cm", "7"),
        ("2:3", r"\frac{2}{3}"),
        ("2:3", "4:6"),
        ("1:1", "3:3"),
        ("2:1", "2"),
        ("0.5", "x=0.5"),
        ("3x-x", "2x"),
    ],
)
def test_names_units_and_ratios_stay_answers(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).is_correct
