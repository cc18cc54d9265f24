import json
import re
from pathlib import Path

import pytest

from reason_env.errors import ProblemError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import load_problems, reference_response
from reason_env.problems.files.gsm8k import is_gsm8k_answer, parse_gsm8k_answer
from reason_env.problems.files.reader import load_file
from reason_env.verify import grade_many

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "gsm8k"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="real GSM8K is not at ../shared/data/gsm8k from the repository root"
)

CLIPS = {
    "question": "Natalia sold clips to 48 of her friends ...",
    "answer": "She sold 48/2 = <<48/2=24>>24 in May.\n\n"
    "Altogether 976+24 = $<<976+24=1000>>1,000.\n#### 1,000",
}


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_becomes_steps_without_marks_and_an_answer_without_commas(tmp_path: Path) -> None:
    assert load_file(write(tmp_path / "clips.jsonl", CLIPS))[0] == Problem(
        problem_id="clips/train/0",
        question="Natalia sold clips to 48 of her friends ...",
        answer="1000",
        solution=("She sold 48/2 = 24 in May.", "Altogether 976+24 = $1,000."),
        source="clips.jsonl",
    )


def test_marks_can_be_kept(tmp_path: Path) -> None:
    problem = load_file(write(tmp_path / "x.jsonl", CLIPS), keep_marks=True)[0]
    assert problem.solution[0] == "She sold 48/2 = <<48/2=24>>24 in May."


def test_the_reference_response_restores_the_row_without_marks(tmp_path: Path) -> None:
    problem = load_file(write(tmp_path / "x.jsonl", CLIPS))[0]
    assert reference_response(problem) == (
        "She sold 48/2 = 24 in May.\nAltogether 976+24 = $1,000.\n#### 1000"
    )


def test_a_mapped_column_is_recognised_too(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"q": "1+1=?", "a": "1+1=<<1+1=2>>2\n#### 2"})
    problem = load_file(path, columns={"question": "q", "answer": "a"})[0]
    assert (problem.solution, problem.answer) == (("1+1=2",), "2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### 5", ((), "5")),
        ("a\n####5  \n \n", (("a",), "5")),
        ("a\r\n#### -1,234.5\r\n", (("a",), "-1234.5")),
        ("a\n#### (1,2)", (("a",), "(1,2)")),
        ("a\n#### $1,000,000", (("a",), "$1000000")),
        ("shift 1 << 2 >> 1\n#### 2", (("shift 1 << 2 >> 1",), "2")),
        ("only <<1=1>>\n<<2=2>>\n#### 2", (("only",), "2")),
        ("#### 5\nand more", None),
        ("a\n####", None),
        ("a\n##### 5", None),
        ("a #### 5", None),
        ("5", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_format_is_steps_and_a_last_line(
    text: str, expected: tuple[tuple[str, ...], str] | None
) -> None:
    assert parse_gsm8k_answer(text) == expected
    assert is_gsm8k_answer(text) == (expected is not None)


def test_a_file_that_is_gsm8k_in_part_is_refused_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", CLIPS, {"question": "q", "answer": "5"})
    message = r"x\.jsonl line 2: answer must end in a line '#### n' as in other rows, got '5'"
    with pytest.raises(ProblemError, match=message):
        load_file(path)


def test_loading_by_the_name_gsm8k_requires_its_format_in_every_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "q", "answer": "5"})
    with pytest.raises(ProblemError, match=r"line 1: answer must end in a line '#### n', got '5'"):
        load_problems("gsm8k", path)


def test_rows_with_a_solution_column_are_not_read_as_gsm8k(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "q", "answer": "5", "solution": "2+3=5\n#### 5"}
    path = write(tmp_path / "x.jsonl", row)
    assert load_file(path)[0].solution == ("2+3=5", "#### 5")
    assert reference_response(load_file(path)[0]) == "2+3=5\n#### 5"
    with pytest.raises(ProblemError, match="must have no solution column to be GSM8K, got 'sol"):
        load_problems("gsm8k", path)


def test_an_answer_with_steps_is_refused_if_there_is_a_solution_column(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "x.jsonl", CLIPS | {"solution": "another one"})
    with pytest.raises(ProblemError, match="line 1: answer must grade as correct against itself"):
        load_file(path)


def test_keeping_marks_of_a_plain_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "q", "answer": "5"})
    with pytest.raises(ProblemError, match="must hold GSM8K rows to keep their marks"):
        load_file(path, keep_marks=True)


@pytest.fixture(scope="module")
def gsm8k() -> dict[str, ProblemSet]:
    return {split: load_problems("gsm8k", DATA, split=split) for split in ("train", "test")}


def real_rows(split: str) -> list[dict[str, str]]:
    text = (DATA / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@needs_data
def test_all_8792_rows_of_gsm8k_load_with_steps(gsm8k: dict[str, ProblemSet]) -> None:
    assert {split: len(problems) for split, problems in gsm8k.items()} == {
        "train": 7473,
        "test": 1319,
    }
    assert gsm8k["test"][1318].problem_id == "gsm8k/test/1318"
    for problems in gsm8k.values():
        for problem in problems:
            assert problem.solution
            assert re.fullmatch(r"-?[0-9]+", problem.answer)
            assert not any("<<" in step or "####" in step for step in problem.solution)


@needs_data
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_gsm8k_file_needs_no_name_to_be_recognised(
    gsm8k: dict[str, ProblemSet], split: str
) -> None:
    by_path = load_problems(str(DATA / f"{split}.jsonl"), split=split)
    assert [(p.question, p.answer, p.solution) for p in by_path] == [
        (p.question, p.answer, p.solution) for p in gsm8k[split]
    ]


@needs_data
def test_no_character_of_gsm8k_is_lost(gsm8k: dict[str, ProblemSet]) -> None:
    num_unicode = 0
    for split, problems in gsm8k.items():
        kept = load_file(DATA / f"{split}.jsonl", split=split, keep_marks=True)
        for row, problem, marked in zip(real_rows(split), problems, kept, strict=True):
            assert problem.question == row["question"]
            lines = [line for line in row["answer"].split("\n")[:-1] if line.strip()]
            assert list(marked.solution) == lines
            num_unicode += not (row["question"] + row["answer"]).isascii()
    assert num_unicode == 775


@needs_data
def test_every_reference_response_of_gsm8k_grades_as_correct_and_a_changed_one_does_not(
    gsm8k: dict[str, ProblemSet],
) -> None:
    for problems in gsm8k.values():
        pairs = [(reference_response(problem), problem.answer) for problem in problems]
        assert all(verdict.is_correct for verdict in grade_many(pairs))
        changed = [(response + "1", answer) for response, answer in pairs]
        assert {verdict.outcome.value for verdict in grade_many(changed)} == {"incorrect"}
