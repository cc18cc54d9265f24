"""How many reference solutions fit into a response."""

import logging
from pathlib import Path

import gymnasium as gym
import pytest

from reason_env.codec import ByteCodec
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.budget import solution_budget


def problem(name: str, *steps: str, answer: str = "36") -> Problem:
    return Problem(problem_id=name, question="q", answer=answer, solution=steps)


# "2*3=6\n#### 36" has 5 + 1 + 7 = 13 bytes, and an end token: 14.
SHORT = problem("a", "2*3=6")
# "2*3=6\n6*6=36\n#### 36" has 5 + 1 + 6 + 1 + 7 = 20 bytes, and an end token: 21.
LONG = problem("b", "2*3=6", "6*6=36")


@pytest.mark.parametrize(
    ("max_tokens", "too_long", "longest"), [(13, 2, 21), (14, 1, 21), (20, 1, 21), (21, 0, 0)]
)
def test_solutions_are_counted_with_their_answer_line_and_end_token(
    max_tokens: int, too_long: int, longest: int
) -> None:
    found = solution_budget([SHORT, LONG, problem("c")], ByteCodec(), max_tokens)
    assert (found.num_solutions, found.num_too_long, found.longest) == (2, too_long, longest)


def test_the_answer_counts_in_the_form_of_the_layout() -> None:
    # " 2*3=6 so 36!" has 1 + 5 + 4 + 2 + 1 = 13 bytes, and an end token: 14.
    layout = " {solution} so {answer}!\n\n"
    assert solution_budget([SHORT], ByteCodec(), 14, layout=layout).line == ""
    assert solution_budget([SHORT], ByteCodec(), 13, layout=layout).longest == 14


def test_characters_of_several_bytes_count_as_bytes() -> None:
    # "π" has 2 bytes: 80 + 1 + 7 and an end token are 89, of 48 characters.
    found = solution_budget([problem("d", "π" * 40)], ByteCodec(), 88)
    assert (found.num_too_long, found.longest) == (1, 89)
    assert solution_budget([problem("d", "π" * 40)], ByteCodec(), 89).line == ""


def test_an_environment_says_once_how_many_solutions_do_not_fit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = ProblemSet("short budget", (SHORT, LONG))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            gym.make("MathReason-v0", problems=problems, max_tokens=20)
        gym.make("MathReason-v0", problems=problems, max_tokens=21)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "short budget: 1 of 2 reference solutions do not fit max_tokens=20; 21 would hold all"
    ]


GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"


@pytest.mark.skipif(
    not GSM8K.is_dir(),
    reason="no ../shared/data/gsm8k beside the project: the budget is not measured on GSM8K",
)
def test_58_solutions_of_gsm8k_do_not_fit_the_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        gym.make("MathReason-v0", problems=f"gsm8k:{GSM8K}", split="test")
    assert "58 of 1,319 reference solutions do not fit max_tokens=512; 952 would" in caplog.text
