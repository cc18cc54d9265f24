"""Checks of whole sets: every row that fails is named, in order, under the options of the check."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from reason_env.errors import ConfigError, ProblemError
from reason_env.problems import ProblemCheck, check_problems
from reason_env.verify import GradeOptions

ROWS: list[dict[str, Any]] = [
    {"question": "1+1", "answer": "2"},
    {"question": "1/0", "answer": "\\frac{1}{"},
    {"question": "Prove it.", "answer": "proof"},
    {"question": 5, "answer": "7"},
    {"question": "2-0", "answer": "2"},
    {"question": "1/(1-1)", "answer": "\\frac{1}{"},
]
FAILED = [
    (1, "answer must grade as correct against itself, got '\\\\frac{1}{'"),
    (2, "answer must be a final answer, got 'proof': the row holds a proof"),
    (3, "question must hold text, got 5; drop the row, or map another column to question"),
    (5, "answer must grade as correct against itself, got '\\\\frac{1}{'"),
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def failed(check: ProblemCheck) -> list[tuple[str, str]]:
    return [(row.place, row.reason) for row in check.failed]


def test_every_row_of_a_file_that_fails_is_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", ROWS)
    for source in (path, f"file:{path}"):
        check = check_problems(source, num_constants=0)
        assert failed(check) == [(f"line {at + 1}", reason) for at, reason in FAILED]
        assert (check.num_rows, check.num_problems, check.passed) == (6, 4, False)


def test_every_row_of_a_hub_set_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "own").mkdir()
    rows = [row for row in ROWS if row["question"] != 5]
    write(tmp_path / "own" / "test.jsonl", rows)
    check = check_problems(f"hub:{tmp_path / 'own'}", split="test", num_constants=0)
    assert [place for place, _ in failed(check)] == ["row 1", "row 2", "row 4"]
    assert dict(check.columns) == {"question": "question", "answer": "answer"}
    assert check.num_rows == 5


def test_gsm8k_has_to_have_its_own_form(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [ROWS[0]])
    with pytest.raises(ProblemError, match="line 1: answer must end in a line '#### n', got '2'"):
        check_problems(f"gsm8k:{path}", num_constants=0)


@pytest.mark.parametrize(
    ("answer", "options", "fails"),
    [("answer: 5", "strict", False), ("answer: 5", "dapo", True), ("<answer>5", "r1+math", True)],
)
def test_answers_are_checked_under_the_options_of_the_check(
    tmp_path: Path, answer: str, options: str, fails: bool
) -> None:
    path = write(tmp_path / "x.jsonl", [{"question": "2+3", "answer": answer}])
    check = check_problems(path, options=options, num_constants=0)
    reason = f"answer must grade as correct against itself, got {answer!r}"
    assert failed(check) == ([("line 1", reason)] if fails else [])


def test_rows_that_accept_another_answer_or_are_texts_fail(tmp_path: Path) -> None:
    seven, eight = "one two three four five six seven", "one two three four five six seven eight"
    answers = ("12", "51.2", seven, eight)
    path = write(tmp_path / "x.jsonl", [{"question": "q", "answer": text} for text in answers])
    near = GradeOptions(relative_tolerance=0.02)
    lenient = "answer must refuse another digit, got '51.2', which accepts '52.2'"
    long = f"answer must be a final answer, got {eight!r}: a response has to repeat its 8 words; "
    advice = "take what it states with columns={'answer': 'stated(COLUMN)'}"
    check = check_problems(path, options=near, num_constants=0)
    assert failed(check) == [("line 2", lenient), ("line 4", long + advice)]
    assert failed(check_problems(path, num_constants=0)) == [("line 4", long + advice)]


def test_a_family_is_no_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chain").mkdir()
    write(tmp_path / "chain" / "train.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    check = check_problems("chain", size=3, num_constants=0)
    assert (check.num_rows, check.failed, dict(check.columns)) == (3, (), {})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_constants": -1}, "num_constants must be at least 0, got -1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"size": 0}, "size must be at least 1, got 0; leave it out for all rows"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, numbers: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        check_problems(write(tmp_path / "x.jsonl", ROWS), **numbers)  # type: ignore[arg-type]
