"""Named parts keep their names, in any order."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("1, 2", "a=1, b=2"),
    ("b=2, a=1", "a=1, b=2"),
    ("a=1, b=2", "a=1, b=2"),
    ("(1,2)", "a=1,b=2"),
    ("x=2, x=1", "x=1, x=2"),
    ("2, 1", "x=1, x=2"),
    (r"1 \text{ and } 2", "x=1 and y=2"),
    ("B=44/3, C=10/3, A=18", "A=18, B=44 / 3, C=10 / 3"),
    ("a=1,b=2", "(a,b)=(1,2)"),
    ("n = 15 and r = 7", "n=15, r=7"),
    ("(p,q)=(3,2)", "q=2,p=3"),
    ("0, 1", "x=0, 1"),
    ("2x=0, 2x=1", "2x=0, 1"),
    ("9, 12", "9 boys and 12 girls"),
    ("12 girls and 9 boys", "9 boys and 12 girls"),
    ("5 cm, 3 kg", "3 kg, 5 cm"),
]
INCORRECT = [
    ("2, 1", "a=1, b=2"),
    ("(2,1)", "a=1, b=2"),
    ("a=2, b=1", "a=1, b=2"),
    ("7, 15", "n=15, r=7"),
    ("5, 3", "x=3, y=5"),
    ("2 and 1", "x=1 and y=2"),
    ("u=1,v=2", "x=1,y=2"),
    ("q=2,p=3", "p=2,q=3"),
    ("b=1", "a=1"),
    ("5, 3", "mean 3, median 5"),
    (r"\{2,1\}", "a=1,b=2"),
    ("x=1", "x=1,y=2"),
    ("3,2,1", "a=1,b=2,c=3"),
    ("a=1,c=2", "a=1,b=2"),
    ("y=1,x=2", "(x,y)=(1,2)"),
    ("Tom = 5, Ann = 3", "Tom = 3, Ann = 5"),
    ("length 5, width 3", "length 3, width 5"),
    ("-x=0, 1", "x=0, 1"),
    ("2x=0, 1", "x=0, 1"),
    ("x=0, 1", "2x=0, 1"),
    ("12, 9", "9 boys and 12 girls"),
    ("3, 5", "5 cm, 3 kg"),
    ("9, 12", "9 boys and 12 girls and 3 dogs"),
    ("Tom = 3, Ann = 5", "mean 3, median 5"),
    ("pq=1, rs=2", "a=1, b=2"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_parts_with_names_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_parts_with_names_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
