"""A time of day is not a ratio."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("3:30 p.m.", "3:30 PM"),
    ("3:30", "3:30 PM"),
    ("15:30", "3:30 PM"),
    ("03:30", "3:30"),
    ("6:10", "6:10"),
    (r"\text{3:30 PM}", "3:30 p.m."),
    ("at 3:30 PM", "3:30 PM"),
    (r"3:30\text{ p.m.}", r"3:30 \text{ PM}"),
    ("12:30 a.m.", "0:30"),
    ("4:6", "2:3"),
    ("7:32", "7:32"),
    ("7/32", "7:32"),
    ("5 PM", "5 pm"),
    ("5:00 PM", "5 PM"),
    ("the time is 6:10", "6:10"),
]
INCORRECT = [
    ("6:30 PM", "3:15 PM"),
    ("3:05", "6:10"),
    ("1:15", "2:30"),
    ("5:60", "2:30"),
    ("4", "4:00"),
    ("4:00", "2:00"),
    ("6/0", "12:00"),
    ("6:15", "12:30"),
    ("3:30 am", "3:30 pm"),
    ("9:60 PM", "4:30 PM"),
    ("3:15 a.m.", "6:30 a.m."),
    ("5 PM", "5 AM"),
    ("3:02", "6:04"),
    ("1:05", "2:10"),
    ("8", "8:00"),
    ("20:20", "10:10"),
    ("1/4", "1:04"),
    ("3:30:15", "3:30:30"),
    ("330", "3:30"),
    ("3.5", "3:30"),
    ("3:2", "2:3"),
    ("30:3", "3:30"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_time_of_day_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_time_of_day_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
