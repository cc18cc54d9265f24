"""Words beside a number are part of the answer, unless they are units or fillers."""

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade

CORRECT = [
    ("5", "5 apples"),
    ("5 apples", "5"),
    ("March 5", "March 5"),
    (r"\text{March } 5", "March 5"),
    ("march 5", "March 5"),
    ("Player 2", "Player 2"),
    ("20% increase", "20% increase"),
    (r"20\% \text{ increase}", "20% increase"),
    ("3 red and 2 blue", "2 blue and 3 red"),
    ("max 5, min 2", "max 5, min 2"),
    ("5", "5"),
    ("the answer is 5", "5"),
    ("12 ways", "12"),
    ("mean 3, median 5", "median 5, mean 3"),
    ("5 units", "5"),
    ("9", r"9 \text{ chickens}"),
    ("Tom = 3, Ann = 5", "Ann = 5, Tom = 3"),
    ("There are 12 apples", "12"),
    ("at most 5", "at most 5"),
    ("5 students", "5 students"),
    ("7 days", "7"),
    ("Saturday", r"\text{Saturday}"),
    (r"12 \text{ different ways}", "12 ways"),
    ("5 times", "5"),
    ("decrease of 30%", "30% decrease"),
    ("12 June", "June 12"),
]
INCORRECT = [
    ("20% decrease", "20% increase"),
    ("May 5", "March 5"),
    ("5", "March 5"),
    ("multiples of 5", "5"),
    ("2", "Player 2"),
    ("Team 2", "Player 2"),
    ("loss of 10", "profit of 10"),
    ("10", "profit of 10"),
    ("5 units down", "5 units up"),
    ("5 tails", "5 heads"),
    ("25 percent more", "25 percent off"),
    ("3rd row", "3rd floor"),
    ("10 degrees above zero", "10 degrees below zero"),
    ("10", "10 degrees below zero"),
    ("minimum at x=3", "maximum at x=3"),
    ("at least 5", "at most 5"),
    ("decreases by 5", "increases by 5"),
    ("5", "5 dozen"),
    ("5", "a pair of 5"),
    ("5 km west", "5 km east"),
    ("max 2, min 5", "max 5, min 2"),
    ("Ann 3, Tom 5", "Tom 3, Ann 5"),
    ("divisors of 5", "5"),
    ("powers of 5", "5"),
    ("fewer than 5", "5"),
    ("5 or less", "5"),
    ("5 or so", "5"),
    ("nearly 5", "5"),
    ("5 squared", "5"),
    ("5th root", "5"),
    ("the 5 cases", "5"),
    ("prime 5", "5"),
    ("not divisible by 5", "5"),
    ("5 mod 7", "5"),
    ("step 5", "5"),
    ("case 5", "5"),
    ("5 minutes early", "5 minutes late"),
    ("5 minutes ago", "5 minutes"),
    ("Team A 5", "Team B 5"),
    ("Room 12", "12"),
    ("page 7", "page 8"),
    ("7 wins", "7 losses"),
    ("5 more", "5 less"),
    ("10 BC", "10 AD"),
    ("row 3, column 2", "row 2, column 3"),
    ("5 boys, 3 girls", "5 girls, 3 boys"),
    ("first 5", "last 5"),
    ("July 4", "4 of August"),
    ("Level 3", "3"),
    ("5 left", "5 right"),
    ("decrease of 20%", "20% increase"),
    ("20% loss", "20% profit"),
    ("a gain of 20%", "a loss of 20%"),
    ("odd 7", "even 7"),
    ("all except 5", "5"),
    ("some of 5", "5"),
    ("none of the 5", "5"),
    ("5 is not the answer", "5"),
    ("it was 5 before, now 6", "5"),
    ("5 to 6", "5"),
    ("from 5", "5"),
    ("5 per cent", "5"),
    ("increase of 30%", "30% decrease"),
    ("12 July", "June 12"),
    ("decrease of 20%", "30% decrease"),
    ("12 rooms", "Room 12"),
]


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_a_number_with_words_is_answered(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), INCORRECT)
def test_a_number_with_words_is_not_answered_by_another(response: str, reference: str) -> None:
    outcome = grade(f"\\boxed{{{response}}}", reference).outcome
    assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER)
