"""Signs, points and brackets belong to an answer, also beside words."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("-3cm", "-3 cm"),
    (r"-3\text{ cm}", "-3 cm"),
    (r"-\sin x", "-sin x"),
    ("-infinity", r"-\infty"),
    (r"-\infty", "-infinity"),
    ("sqrt(x-1)", r"\sqrt{x-1}"),
    ("log(x-1)", r"\log(x-1)"),
    ("-10 degrees", r"-10^\circ"),
    ("- 5 feet", "-5 feet"),
    ("-5", "-5 feet"),
    ("exp(-2)", "e^{-2}"),
    ("-1/2 and 3", "3 and -1/2"),
    ("negative 5", "-5"),
    ("minus 5", "-5"),
    ("2.5 miles", "2.5 mi"),
    ("-5 or 3", "3 or -5"),
    ("negative infinity", r"-\infty"),
    (r"-\infty", "negative infinity"),
    (r"negative \frac12", r"-\frac12"),
]
INCORRECT = [
    ("3 cm", "-3 cm"),
    ("sin x", "-sin x"),
    ("sqrt(x)-1", "sqrt(x-1)"),
    ("infinity", "-infinity"),
    ("3 km", "-3 km"),
    (r"3 \text{ cm}", r"-3\text{ cm}"),
    ("cos x", "-cos x"),
    ("tan(x)", "-tan(x)"),
    ("ln x", "-ln x"),
    ("log(x)+1", "log(x+1)"),
    ("25 miles", "2.5 miles"),
    ("exp(t)", "exp(-t)"),
    ("pi", "-pi"),
    ("5 people", "-5 people"),
    (r"5 \text{ dollars}", r"-5 \text{ dollars}"),
    ("sqrt(2)+1", "sqrt(2+1)"),
    ("abs(x)-2", "abs(x-2)"),
    ("(2,3) and (1,4)", "(2,-3) and (1,4)"),
    ("x+y and z", "x-y and z"),
    ("7 percent", "-7 percent"),
    ("1.5 hours", "15 hours"),
    ("0.5 kg", "05 kg"),
    ("log(x-1)", "log(x)-1"),
    ("[1,2] or 3", "(1,2) or 3"),
    ("alpha", "-alpha"),
    ("10 degrees", "-10 degrees"),
    ("yes, 5", "yes, -5"),
    ("2 pi", "2-pi"),
    ("infinity", "negative infinity"),
    (r"negative \frac12", r"\frac12"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_sign_a_point_or_a_bracket_beside_a_word_is_answered(
    response: str, reference: str
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_sign_a_point_or_a_bracket_beside_a_word_is_not_answered_by_another(
    response: str, reference: str
) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
