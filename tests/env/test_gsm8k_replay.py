"""Every GSM8K reference solution through the environment: reward 1; with another number: 0.

The wrong response shares all tokens before its last line with the right one, so it starts from the
state that the right one had there: replaying from a state is what the environment is for. The step
before it is the same object in both, and the property tests of `test_env.py` show that a restored
state continues identically.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from reason_env.env import ReasonEnv
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import load_problems, reference_response

DATA = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
SIZES = {"train": 7473, "test": 1319}
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="no ../shared/data/gsm8k beside the project: GSM8K is not replayed"
)


@cache
def problems_of(split: str) -> ProblemSet:
    return load_problems("gsm8k", DATA, split=split)


def env_of(problems: ProblemSet, granularity: str, form: str = "tokens") -> ReasonEnv:
    return ReasonEnv(problems, granularity=granularity, format=form, max_tokens=1400)


def with_another_number(line: str, answer: str) -> str:
    """Returns the answer line with one digit of its number changed."""
    match = re.search(r"\d(?=\D*$)", line)
    assert match is not None, answer
    return f"{line[: match.start()]}{(int(match[0]) + 1) % 10}{line[match.end() :]}"


def outcome_of(env: ReasonEnv, text: str) -> tuple[float, bool, bool, bool]:
    """Plays `text` to its end from where `env` is; every turn before the last gives 0."""
    if env.layout.format == "text":
        actions = {"token": text, "response": [text]}.get(env.layout.granularity)
        actions = [*(actions or text.splitlines(keepends=True)), ""]
    else:
        ids = (*env.codec.encode(text), env.codec.eos_id)
        actions = {"token": ids, "response": [ids]}.get(env.layout.granularity) or [
            *map(env.codec.encode, text.splitlines(keepends=True)),
            (),
        ]
    episode_return = 0.0
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        episode_return += reward
        if terminated or truncated:
            return episode_return, terminated, truncated, info["success"]
    raise AssertionError("the episode did not end")


def replay(env: ReasonEnv, problem: Problem) -> tuple[bool, bool]:
    """Returns whether the right response was rewarded and the wrong one was not."""
    text = reference_response(problem)
    head, newline, last = text.rpartition("\n")
    env.reset(options={"problem": problem.problem_id})
    right = outcome_of(env, text)
    prefix = env.codec.encode(head + newline)
    assert env.state.response[: len(prefix)] == prefix
    env.reset(options={"state": env.initial_state(problem).extend(prefix)})
    wrong = outcome_of(env, with_another_number(last, problem.answer))
    return right == (1.0, True, False, True), wrong == (0.0, True, False, False)


@pytest.mark.parametrize(
    ("split", "granularity"),
    [
        ("test", "token"),
        ("test", "step"),
        ("test", "response"),
        pytest.param("train", "token", marks=pytest.mark.slow),
        ("train", "step"),
        pytest.param("train", "response", marks=pytest.mark.slow),
    ],
)
def test_every_solution_is_rewarded_and_no_solution_with_another_number(split, granularity):
    problems = problems_of(split)
    assert len(problems) == SIZES[split]
    env = env_of(problems, granularity)
    found = {problem.problem_id: replay(env, problem) for problem in problems}
    assert [key for key, (right, _) in found.items() if not right] == []
    assert [key for key, (_, wrong) in found.items() if not wrong] == []


@pytest.mark.parametrize("granularity", ["token", "step", "response"])
def test_a_sample_of_every_length_is_rewarded_in_text_too(granularity):
    by_length = sorted(problems_of("test"), key=lambda problem: len(reference_response(problem)))
    env = env_of(problems_of("test"), granularity, "text")
    assert {replay(env, problem) for problem in by_length[::20]} == {(True, True)}
