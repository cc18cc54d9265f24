"""The stories family, against an independent reader of its sentences."""

import re
from collections import Counter
from itertools import combinations

import pytest

from reason_env.env import ReasonEnv
from reason_env.problem import Problem
from reason_env.problems import load_problems, reference_response
from reason_env.problems.families.family import SPLITS, split_of
from reason_env.problems.families.stories import first_wrong_step

LOSS = re.compile(r"(gives away|loses|sells|throws away|breaks) (\d+)")
GAIN = re.compile(r"(buys|finds|gets|picks up|wins) (\d+) (?!boxes)")
BOXES = re.compile(r"(\d+) (?:boxes|bags) with (\d+)")


def told(question: str) -> int:
    """Follow a story sentence by sentence."""
    start, *events = question.split(". ")[:-1] if ". How" in question else []
    total = int(re.search(r"has (\d+)", start)[1])
    for event in events:
        if boxes := BOXES.search(event):
            total += int(boxes[1]) * int(boxes[2])
        elif "doubles" in event:
            total *= 2
        elif loss := LOSS.search(event):
            total -= int(loss[2])
        else:
            total += int(GAIN.search(event)[2])
    return total


PROBLEM = Problem(
    problem_id="stories/train/0",
    question="Mei has 14 eggs. Mei buys 3 boxes with 5 eggs each. Mei loses 9 eggs. How many ...?",
    answer="20",
    solution=("3 * 5 = 15", "14 + 15 = 29", "29 - 9 = 20"),
    level=2,
)


def test_every_answer_is_what_the_story_tells():
    for level in range(1, 9):
        for problem in load_problems("stories", size=150, levels=(level, level)):
            assert told(problem.question) == int(problem.answer), problem.question
            assert problem.level == level
            assert problem.question.count(". ") == level + 1


def test_a_solution_ends_in_the_answer_and_every_equation_in_it_is_true():
    for problem in load_problems("stories", size=300, levels=(1, 8)):
        for step in problem.solution:
            left, symbol, right, result = re.fullmatch(
                r"(\d+) ([-+*]) (\d+) = (\d+)", step
            ).groups()
            value = {"+": int(left) + int(right), "-": int(left) - int(right)}.get(
                symbol, int(left) * int(right)
            )
            assert value == int(result) <= 300
        assert problem.solution[-1].endswith(f"= {problem.answer}")


def test_no_answer_is_right_for_more_than_two_in_a_hundred_stories():
    for level in (1, 2, 3, 6):
        answers = Counter(
            p.answer for p in load_problems("stories", size=2000, levels=(level, level))
        )
        assert answers.most_common(1)[0][1] <= 40


def test_splits_share_no_story():
    stories = {s: {p.question for p in load_problems("stories", split=s, size=200)} for s in SPLITS}
    for split, other in combinations(SPLITS, 2):
        assert not stories[split] & stories[other]
    assert all(split_of(question) == split for split in SPLITS for question in stories[split])


def test_the_environment_pays_the_reference_and_its_checker_finds_no_error_in_it():
    problems = load_problems("stories", split="test", size=40, levels=(1, 6))
    env = ReasonEnv(problems=problems, granularity="response")
    for problem in problems:
        env.reset(options={"problem": problem.problem_id})
        assert env.step(reference_response(problem))[1] == 1.0
        assert problems.checker(problem, (*problem.solution, f"#### {problem.answer}")) is None


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        (("3 * 5 = 15", "14 + 15 = 29", "29 - 9 = 20", "#### 20"), None),
        (("5 x 3 = 15 eggs in boxes", "15 + 14 = 29, so she has 29 eggs."), None),
        (("14 + 15 = 29", "29 - 9 = 20", "#### 20"), None),  # the product in the head
        (("First, the boxes.", "3 * 5 = 15"), None),
        (("3 * 5 = 16",), 1),
        (("3 + 5 = 8",), 1),
        (("3 * 5 = 15", "14 + 15 = 28"), 2),
        (("29 - 9 = 20", "#### 20"), None),  # the sum in the head
        (("29 - 9 = 20", "14 + 15 = 29"), 2),  # not in this order
        (("14 + 3 * 5 = 29", "29 - 9 = 20"), None),
        (("14 + 3 * 5 - 9 = 20",), None),
        (("14 + 3 * 5 = 85",), 1),
        (("14 + 3 * 4 = 26",), 1),
        (("14 - 9 + 5 = 10",), 1),
        (("3 * 5 = 15", "14 + 15 = 29", "9 - 29 = 20"), 3),
        (("3 * 5 = 15", "14 + 15 = 29", "29 - 9 = 20", "20 * 2 = 40"), 4),
        (("3 * 5 = 15 and 14 + 15 = 30", "29 - 9 = 20"), 1),
        (("3 * 5 = 15", "#### 20"), None),
        (("3 * 5 = 15", "14 + 15 = 29", "29 - 9 = 20", "#### 21"), 4),
        (("14 + 15 = 29", "14 + 15 = 29"), 2),  # said twice
        ((), None),
    ],
)
def test_the_checker_names_the_first_wrong_step(steps, wrong):
    assert first_wrong_step(PROBLEM, steps) == wrong


def test_a_number_with_decimals_is_not_read_as_a_part_of_it():
    assert first_wrong_step(PROBLEM, ("3 * 5 = 15.5", "0.5 * 7 = 3")) is None
    assert first_wrong_step(PROBLEM, ("13 * 5 = 65",)) == 1
