import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.errors import ProblemError, UnknownNameError
from reason_env.problem import Problem, ProblemSet


def problem(row: int = 0, **changes) -> Problem:
    fields = {"problem_id": f"toy/train/{row}", "question": "12*3=?", "answer": "36"}
    return Problem(**(fields | changes))


TEXT = st.text(min_size=1, max_size=20).filter(str.strip)


@given(TEXT, TEXT, st.lists(st.text(max_size=9), max_size=3), st.integers(), st.text(max_size=9))
@settings(deadline=None)
def test_a_problem_round_trips_through_its_dict(question, answer, solution, level, source):
    first = problem(
        question=question, answer=answer, solution=tuple(solution), level=level, source=source
    )
    again = Problem.from_dict(first.to_dict())
    assert again == first
    assert hash(again) == hash(first)
    assert isinstance(first.to_dict()["solution"], list)


def test_a_problem_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem().answer = "37"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"problem_id": ""},
            r"^problem_id must not be empty, got ''; name it '<set>/<split>/<row>'",
        ),
        (
            {"question": " \n"},
            r"^question of 'toy/train/0' must hold text, got ' \\n'; drop the row",
        ),
        ({"answer": ""}, r"^answer of 'toy/train/0' must hold text, got ''; drop the row"),
    ],
)
def test_a_problem_without_text_is_refused(changes, message):
    with pytest.raises(ProblemError, match=message):
        problem(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"question": None},
        {"question": 12},
        {"problem_id": 7},
        {"solution": "12*3=36"},
        {"solution": [1]},
        {"solution": None},
        {"level": "2"},
        {"level": True},
        {"level": 1.0},
        {"source": None},
        {"colour": "red"},
    ],
)
def test_a_dict_with_a_field_of_the_wrong_type_is_refused(changes):
    message = r"^a problem('s fields)? must be .*, got \{'problem_id'"
    with pytest.raises(ProblemError, match=message):
        Problem.from_dict(problem().to_dict() | changes)


@pytest.mark.parametrize("data", [[], "text", None, 3, {}, {"question": "?"}])
def test_a_malformed_problem_dict_is_refused(data):
    with pytest.raises(ProblemError, match=r"^a problem must be a dict as to_dict\(\) writes it"):
        Problem.from_dict(data)


def test_a_set_is_a_sequence_in_the_given_order():
    first, second, third = problem(0), problem(1, answer="37"), problem(2)
    toy = ProblemSet("toy", (first, second, third))
    assert list(toy) == [first, second, third]
    assert (len(toy), toy[1], toy[-1], toy[1:]) == (3, second, third, (second, third))
    assert toy.by_id("toy/train/1") is second


def test_changing_the_original_list_does_not_change_a_problem_set():
    rows = [problem(0), problem(1)]
    toy = ProblemSet("toy", rows)
    rows.pop()
    assert toy.problems == (problem(0), problem(1))


def test_a_wrong_id_names_the_nearest_one():
    toy = ProblemSet("toy", tuple(problem(row) for row in range(4)))
    message = r"^no problem 'toy/tran/3' among 4; did you mean 'toy/train/3'\?$"
    with pytest.raises(UnknownNameError, match=message):
        toy.by_id("toy/tran/3")


def test_a_set_must_hold_problems_with_different_ids():
    with pytest.raises(ProblemError, match=r"^problem set 'toy' must hold at least one problem"):
        ProblemSet("toy", ())
    message = r"^problem ids of 'toy' must be unique, got 'toy/train/0' twice; rename one of them$"
    with pytest.raises(ProblemError, match=message):
        ProblemSet("toy", (problem(0), problem(1), problem(0, answer="7")))


def test_the_content_hash_depends_on_every_field_and_on_the_order():
    plain = (problem(0), problem(1))
    sets = [plain, plain[::-1], (plain[0],)]
    for name, value in [
        ("question", "?"),
        ("answer", "7"),
        ("solution", ("a",)),
        ("level", 1),
        ("source", "s"),
        ("problem_id", "x"),
    ]:
        sets.append((problem(0), problem(1, **{name: value})))
    hashes = {ProblemSet("toy", problems).content_hash for problems in sets}
    assert len(hashes) == len(sets)
    assert ProblemSet("other name", plain).content_hash == ProblemSet("toy", plain).content_hash


def test_the_content_hash_is_equal_under_other_hash_seeds():
    program = (
        "from reason_env import Problem, ProblemSet\n"
        "p = Problem(problem_id='t/0', question='√?', answer='2', solution=('a', 'b'))\n"
        "print(ProblemSet('t', (p,)).content_hash)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "123")
    }
    here = Problem(problem_id="t/0", question="√?", answer="2", solution=("a", "b"))
    assert found == {ProblemSet("t", (here,)).content_hash}
