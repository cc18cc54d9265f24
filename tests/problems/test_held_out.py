"""Held-out parts of a file: disjoint by question, determined by questions and seed alone."""

import json

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import load_problems
from reason_env.problems.held_out import part_of


def problems_of(questions):
    return ProblemSet(
        "mine",
        tuple(
            Problem(problem_id=f"mine/train/{at}", question=text, answer="1")
            for at, text in enumerate(questions)
        ),
    )


def write(path, questions):
    rows = [{"question": text, "answer": str(at)} for at, text in enumerate(questions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=40),
    st.one_of(st.floats(0.01, 0.99), st.integers(1, 30)),
    st.integers(0, 3),
)
def test_the_parts_are_disjoint_by_question_and_complete(numbers, hold_out, seed):
    whole = problems_of([f"{number}+1=?" for number in numbers])
    different = len(set(numbers))
    count = max(1, round(hold_out * different)) if hold_out < 1 else hold_out
    if count >= different:
        with pytest.raises(ConfigError, match="must leave questions to train on, got"):
            part_of(whole, "test", hold_out=hold_out, seed=seed)
        return
    train, test = (part_of(whole, name, hold_out=hold_out, seed=seed) for name in ("train", "test"))
    assert len(train) + len(test) == len(whole)
    assert not {item.question for item in train} & {item.question for item in test}
    assert len({item.question for item in test}) == count
    assert [item for item in whole if item in tuple(test)] == list(test)


def test_the_choice_depends_on_the_questions_and_the_seed_but_not_on_their_order():
    questions = [f"{number}*7=?" for number in range(20)]
    held = {item.question for item in part_of(problems_of(questions), "test", hold_out=5, seed=0)}
    backwards = part_of(problems_of(questions[::-1]), "test", hold_out=5, seed=0)
    assert {item.question for item in backwards} == held
    other = part_of(problems_of(questions), "test", hold_out=5, seed=1)
    assert {item.question for item in other} != held
    # sha256 of "0\\0<question>" ranks them: the same in every process and version.
    assert sorted(held) == sorted(f"{number}*7=?" for number in (10, 18, 12, 15, 1))


def test_rows_that_differ_in_spacing_alone_are_on_one_side():
    whole = problems_of(["a  b", "a b ", "c", "d", "e"])
    test = part_of(whole, "test", hold_out=1, seed=3)
    train = part_of(whole, "train", hold_out=1, seed=3)
    sides = [{item.question for item in part} & {"a  b", "a b "} for part in (train, test)]
    assert sorted(map(len, sides)) == [0, 2]


def test_size_and_levels_act_after_the_split_so_the_held_out_problems_stay(tmp_path):
    path = write(tmp_path / "mine.jsonl", [f"What is {number}?" for number in range(10)])
    test = load_problems(path, split="test", hold_out=0.3)
    assert len(test) == 3
    few = load_problems(path, split="train", hold_out=0.3, size=2)
    assert [item.problem_id for item in few] == [
        item.problem_id for item in load_problems(path, split="train", hold_out=0.3)
    ][:2]
    assert load_problems(path, split="test", hold_out=0.3, size=2).problems == test.problems[:2]
    assert all(item.problem_id.startswith("mine/train/") for item in test)


def test_an_environment_and_its_evaluation_have_disjoint_problems(tmp_path):
    path = write(tmp_path / "mine.jsonl", [f"What is {number}?" for number in range(10)])
    config = EnvConfig(problems=path, hold_out=4, problem_seed=2)
    assert config.has_split("test")
    assert not config.has_split("validation")
    own = reason_env_of(config.make(ByteCodec())).problems
    held = reason_env_of(config.make_bare(ByteCodec(), split="test")).problems
    assert (len(own), len(held)) == (6, 4)
    env = gym.make("MathReason-v0", problems=path, hold_out=4, problem_seed=2, split="test")
    assert reason_env_of(env).problems.content_hash == held.content_hash
    stacked = EnvConfig(stack=env.spec.to_json())
    assert stacked.has_split("test")
    assert reason_env_of(stacked.make_bare(ByteCodec(), split="train")).problems.content_hash == (
        own.content_hash
    )


@pytest.mark.parametrize("wrong", [0, 1.0, -0.5, 1.5, True, "0.1", float("nan")])
def test_a_hold_out_that_is_no_fraction_and_no_count_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"hold_out must be a fraction in 0..1 or a number of"):
        EnvConfig(problems="mine.jsonl", hold_out=wrong)


def test_sources_with_a_test_split_hold_nothing_out(tmp_path):
    with pytest.raises(ConfigError, match="hold_out must be None for 'chain', which has disjoint"):
        load_problems("chain", hold_out=0.1)
    for name in ("train", "test"):
        write(tmp_path / f"{name}.jsonl", ["What is 1?", "What is 2?"])
    with pytest.raises(ConfigError, match="which has a test split, got 1; leave it out, or name"):
        load_problems(str(tmp_path), hold_out=1)
    path = str(tmp_path / "train.jsonl")
    assert len(load_problems(path, split="test", hold_out=1)) == 1
    with pytest.raises(ConfigError, match="split must be train or test with hold_out, got 'dev'"):
        load_problems(path, split="dev", hold_out=1)


@pytest.mark.parametrize("levels", [np.array([2, 3]), [2, 3], (np.int64(2), 3)])
def test_any_pair_of_whole_numbers_is_a_range_of_levels(levels):
    env = gym.make("MathReason-v0", problems="chain", levels=levels, size=4)
    assert {item.level for item in reason_env_of(env).problems} == {2, 3}


@pytest.mark.parametrize("levels", [4, (1, 2, 3), np.array([2.5, 3.0]), "45", {2, 3}, "4"])
def test_other_levels_are_refused(levels):
    with pytest.raises(ConfigError, match=r"levels must be \(lowest, highest\), got .*; for one"):
        gym.make("MathReason-v0", problems="chain", levels=levels)
