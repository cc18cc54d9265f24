import json
import logging
import random
import string
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.problems import reference_response
from reason_env.problems.files.reader import load_file
from reason_env.verify import grade

ROWS = [
    {"question": "2+3=?", "answer": "5", "solution": ["2+3=5"], "level": 1, "problem_id": "a"},
    {
        "question": "2*√9=?",
        "answer": "6",
        "solution": ["√9=3", "2*3=6"],
        "level": 4,
        "problem_id": "b",
    },
]


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    return write_parquet(path, rows) if path.suffix == ".parquet" else write_lines(path, rows)


@pytest.mark.parametrize("name", ["sums.jsonl", "sums.json", "sums.parquet"])
def test_every_field_of_a_row_reaches_its_problem(tmp_path: Path, name: str) -> None:
    problems = load_file(write(tmp_path / name, ROWS))
    assert problems.name == "sums"
    assert problems[1] == Problem(
        problem_id="b",
        question="2*√9=?",
        answer="6",
        solution=("√9=3", "2*3=6"),
        level=4,
        source=name,
    )


def test_the_same_rows_have_one_content_in_lines_and_in_parquet(tmp_path: Path) -> None:
    rows = [row | {"source": "sums"} for row in ROWS]
    lines = load_file(write_lines(tmp_path / "sums.jsonl", rows))
    assert lines.content_hash == load_file(write(tmp_path / "x.parquet", rows)).content_hash


def test_the_content_hash_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    here = load_file(write_lines(tmp_path / "sums.jsonl", ROWS))
    there = load_file(write_lines(tmp_path / "deep" / "sums.jsonl", ROWS))
    assert here.content_hash == there.content_hash


def test_columns_are_mapped_by_name_and_other_columns_are_ignored(tmp_path: Path) -> None:
    row = {
        "problem": "7-9=?",
        "final": -2,
        "steps": "7-9\n= -2\n",
        "difficulty": "Level 3",
        "uid": 9,
    }
    columns = {
        "question": "problem",
        "answer": "final",
        "solution": "steps",
        "level": "difficulty",
        "problem_id": "uid",
    }
    rows: list[dict[str, object]] = [row | {"question": "not this one", "note": None}]
    problem = load_file(write_lines(tmp_path / "x.jsonl", rows), columns=columns)[0]
    assert problem == Problem(
        problem_id="9",
        question="7-9=?",
        answer="-2",
        solution=("7-9", "= -2"),
        level=3,
        source="x.jsonl",
    )


def test_problems_written_as_dicts_load_back_equal(tmp_path: Path) -> None:
    written = [
        Problem(problem_id="p/1", question=" a\nb ", answer=r"\frac{1}{2}", solution=("x", " y")),
        Problem(problem_id="p/2", question="\ud800 \U0001f986", answer="7", level=2, source="me"),
    ]
    path = write_lines(tmp_path / "p.jsonl", [problem.to_dict() for problem in written])
    assert list(load_file(path)) == written


def test_default_ids_count_rows_from_zero_and_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text('\n{"question": "1+1=?", "answer": 2}\n\r\n{"question": "2+2=?", "answer": 4}')
    ids = [problem.problem_id for problem in load_file(path, split="test")]
    assert ids == ["sums/test/0", "sums/test/1"]
    assert load_file(path, set_name="mine")[0].problem_id == "mine/train/0"


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"question": "1+1=?", "answer": "2"}')
    assert load_file(path)[0].question == "1+1=?"


def test_line_separators_of_unicode_do_not_end_a_row_or_a_step(tmp_path: Path) -> None:
    text = '{"question": "a\u2028b\x85c", "answer": "2", "solution": "one\u2028still one"}\n'
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8")
    problem = load_file(path)[0]
    assert problem.question == "a\u2028b\x85c"
    assert problem.solution == ("one\u2028still one",)


@settings(max_examples=40, deadline=None)
@given(question=st.text(min_size=1).filter(str.strip), escaped=st.booleans())
def test_any_question_survives_a_file(
    tmp_path_factory: pytest.TempPathFactory, question: str, escaped: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    row = {"question": question, "answer": "2"}
    path.write_text(json.dumps(row, ensure_ascii=escaped), encoding="utf-8")
    assert load_file(path)[0].question == question


@pytest.mark.parametrize(
    ("written", "answer"),
    [("7", "7"), ("-0.5", "-0.5"), ("2.0", "2.0"), ("1e22", "1" + 22 * "0"), ('" 8 "', "8"),
     ("12345678901234567890", "12345678901234567890")],
)  # fmt: skip
def test_numbers_become_answers_without_scientific_notation(
    tmp_path: Path, written: str, answer: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"question": "q", "answer": {written}}}')
    assert load_file(path)[0].answer == answer


@pytest.mark.parametrize(
    ("level", "expected"),
    [(3, 3), (3.0, 3), ("3", 3), ("Level 5", 5), ("level 2", 2), (None, 0), ("", 0),
     ("Level ?", 0)],
)  # fmt: skip
def test_levels_are_whole_numbers_in_the_usual_spellings(
    tmp_path: Path, level: object, expected: int
) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"question": "q", "answer": "1", "level": level}])
    assert load_file(path)[0].level == expected


@pytest.mark.parametrize("level", [-1, 2.5, True, "hard", "Level -1", [1], "٣"])
def test_another_level_is_refused(tmp_path: Path, level: object) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"question": "q", "answer": "1", "hard": level}])
    with pytest.raises(ProblemError, match=r"x\.jsonl line 1: level must be a whole number"):
        load_file(path, columns={"level": "hard"})


@pytest.mark.parametrize("name", ["level", "solution"])
def test_a_column_that_was_not_asked_for_and_holds_something_else_is_left_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"question": "q", "answer": "1", name: 2.5}
    (problem,) = load_file(write_lines(tmp_path / "x.jsonl", [row]))
    assert (problem.level, problem.solution) == (0, ())
    assert f"columns by their names; without {name!r}, which holds something else" in caplog.text


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_a_limit_reads_the_first_rows_only(tmp_path: Path, name: str) -> None:
    rows: list[dict[str, object]] = [
        {"question": "q", "answer": "1"},
        {"question": "r", "answer": "2"},
    ]
    path = write(tmp_path / name, [*rows, {"question": "", "answer": ""}])
    assert [problem.question for problem in load_file(path, limit=2)] == ["q", "r"]
    assert len(load_file(path, limit=1)) == 1


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="limit must be at least 1, got 0"):
        load_file(tmp_path / "x.jsonl", limit=0)


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"answer": "1"}, "question must hold text, got None"),
    ({"question": " \n", "answer": "1"}, "question must hold text, got ' .n'"),
    ({"question": "q"}, "answer must be text or a number, got None"),
    ({"question": "q", "answer": " "}, "answer must be text or a number, got ' '"),
    ({"question": "q", "answer": r"\frac{1}{"}, "answer must grade as correct against itself"),
    ({"question": "q", "answer": "1", "solution": 5}, "solution must be a text or a list of texts"),
]
REFUSED_IN_LINES: list[tuple[dict[str, object], str]] = [
    ({"question": 5, "answer": "1"}, "question must hold text, got 5"),
    ({"question": "q", "answer": True}, "answer must be text or a number, got True"),
    ({"question": "q", "answer": ["1", "2"]}, "answer must be text or a number, got .'1', '2'."),
    ({"question": "q", "answer": "Proof"}, "answer must be a final answer, got 'Proof'.*a proof"),
    ({"question": "q", "answer": "notfound"}, "answer must be a final answer.*the row holds none"),
    ({"question": "q", "answer": "1", "solution": ["a", 5]}, "solution must be a text or a list"),
]
"""A Parquet column has one type, so that such a row cannot stand beside a good one."""


@pytest.mark.parametrize(
    ("name", "place", "row", "message"),
    [("x.jsonl", "line 2", *case) for case in [*REFUSED, *REFUSED_IN_LINES]]
    + [("x.parquet", "row 1", *case) for case in REFUSED],
)
def test_a_row_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, name: str, place: str, row: dict[str, object], message: str
) -> None:
    path = write(tmp_path / name, [{"question": "first", "answer": "1"}, row])
    with pytest.raises(ProblemError, match=rf"{name} {place}: {message}"):
        load_file(path)


@pytest.mark.parametrize(("name", "places"), [("x.jsonl", (3, 1)), ("x.parquet", (2, 0))])
def test_a_duplicate_id_names_both_rows(tmp_path: Path, name: str, places: tuple[int, int]) -> None:
    rows = [{"question": "q", "answer": "1", "problem_id": key} for key in ("a", "b", "a")]
    word = "line" if name == "x.jsonl" else "row"
    message = f"{word} {places[0]}: problem_id must be unique, got 'a' as in {word} {places[1]}"
    with pytest.raises(ProblemError, match=message):
        load_file(write(tmp_path / name, rows))


def test_if_some_rows_have_an_id_every_row_must(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "1", "problem_id": "a"}, {"question": "q", "answer": "1"}]
    with pytest.raises(ProblemError, match="line 2: problem_id must be text or a number, got None"):
        load_file(write_lines(tmp_path / "x.jsonl", rows))


def test_ungradable_rows_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    answers = ["1", r"\frac{1}{", "2", r"\sqrt{"]
    path = write_lines(tmp_path / "x.jsonl", [{"question": "q", "answer": a} for a in answers])
    with pytest.raises(ProblemError, match=r"line 2: answer .* \(2 of 4 rows do not\)"):
        load_file(path)
    assert [problem.answer for problem in load_file(path, drop_ungradable=True)] == ["1", "2"]
    write_lines(path, [{"question": "q", "answer": r"\sqrt{"}])
    with pytest.raises(ProblemError, match=r"at least one answer that can be graded, got 1 of 1"):
        load_file(path, drop_ungradable=True)


def test_ungradable_rows_are_kept_or_dropped_but_not_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be either kept or dropped, got allow_ungradable"):
        load_file(tmp_path / "x.jsonl", allow_ungradable=True, drop_ungradable=True)


def test_ungradable_rows_can_be_kept_and_are_then_counted_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"question": "q", "answer": a} for a in ("1", r"\frac{1}{")]
    with caplog.at_level(logging.WARNING):
        problems = load_file(write_lines(tmp_path / "x.jsonl", rows), allow_ungradable=True)
    assert [problem.answer for problem in problems] == ["1", r"\frac{1}{"]
    assert "1 of 2 answers" in caplog.text
    assert "line 2" in caplog.text


@pytest.mark.parametrize(
    "line",
    [b'{"question": ', b"\xff\xfe", b'{"question": "q", "answer": NaN}', b"[" * 100_000,
     b"1" * 5000],
    ids=["cut", "not UTF-8", "NaN", "deep", "long number"],
)  # fmt: skip
def test_invalid_json_is_named_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"question": "q", "answer": "1"}\n\n' + line + b"\n")
    with pytest.raises(
        ProblemError, match=r"x\.jsonl line 3: must be (?:one JSON object|text) in UTF-8"
    ):
        load_file(path)


def test_a_json_value_that_is_no_object_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"question": "q", "answer": "1"}\n["q", "1"]')
    with pytest.raises(ProblemError, match=r"x\.jsonl line 2: must be one JSON object, got \["):
        load_file(path)
    path.write_text('[{"question": "q", "answer": "1"}, 5]')
    with pytest.raises(ProblemError, match=r"x\.jsonl row 1: must be one JSON object, got 5"):
        load_file(path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.jsonl":
        path.write_text("\n \n")
    else:
        pq.write_table(pa.table({"question": pa.array([], pa.string())}), path)
    with pytest.raises(ProblemError, match=rf"{name} must hold at least one row, got none"):
        load_file(path)


def test_a_missing_file_gets_the_near_match(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(ProblemError, match=r"must exist, got .*did you mean 'train\.jsonl'\?"):
        load_file(tmp_path / "trian.jsonl")
    with pytest.raises(ProblemError, match=r"must exist, got .*check the path$"):
        load_file(tmp_path / "no" / "such.jsonl")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text("<problems/>")
    with pytest.raises(ProblemError, match=r"must end in \.jsonl, \.json, \.csv, .*got .*x\.xml"):
        load_file(path)


def test_a_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write_lines(tmp_path / "x.jsonl", ROWS)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ProblemError, match=r"must be readable, got .*Permission denied"):
        load_file(path)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ProblemError, match=r"x\.parquet must be a readable Parquet file"):
        load_file(path)


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "x.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ProblemError, match=r"must have pyarrow .*pip install 'reason-env\[data\]'"):
        load_file(path)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"anwser": "answer"}, ConfigError, r"map problem fields \(problem_id, question, answer.*"
                                            r"\(question, final\), got field 'anwser'.*'answer'\?"),
        ({"final": "answer"}, ConfigError, r"the problem's field first: \{'answer': 'final'\}"),
        ({"answer": "fnal"}, ProblemError, r"column 'fnal' that 'answer' is mapped to, got columns "
                                           r"question, final; did you mean 'final'\?"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_a_wrong_column_gets_the_near_match_and_the_columns(
    tmp_path: Path,
    columns: dict[str, str],
    error: type[Exception],
    message: str,
    name: str,
) -> None:
    path = write(tmp_path / name, [{"question": "q", "final": "1"}])
    with pytest.raises(error, match=message):
        load_file(path, columns=columns)


def test_a_wrong_row_format_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", ROWS)
    with pytest.raises(
        ConfigError, match="row_format must be one of auto, plain, gsm8k, got 'csv'"
    ):
        load_file(path, row_format="csv")  # type: ignore[arg-type]


def test_a_directory_gives_the_file_of_the_split_and_names_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "sums"
    folder.mkdir()
    write_lines(folder / "train.jsonl", [{"question": "q", "answer": "1"}])
    write_parquet(folder / "test.parquet", [{"question": "r", "answer": "2"}])
    assert load_file(folder)[0].problem_id == "sums/train/0"
    assert load_file(folder, split="test")[0].question == "r"
    with pytest.raises(ProblemError, match=r"must hold tset.jsonl, .* its splits: train, test$"):
        load_file(folder, split="tset")


def test_a_file_named_after_another_split_is_loaded_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path / "train.jsonl", ROWS)
    with caplog.at_level(logging.WARNING):
        load_file(path)
        assert not caplog.records
        load_file(path, split="test")
    assert "as split 'test'; pass the directory" in caplog.text


def test_the_checks_of_many_rows_take_seconds_at_most(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": str(number)} for number in range(8792)]
    path = write_lines(tmp_path / "x.jsonl", rows)
    start = time.process_time()
    assert len(load_file(path)) == 8792
    # A tenth of a second on an idle core; the bound only catches a grader started for each row.
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("solution", "answer", "delimiter", "expected"),
    [
        ((), "36", "\n", "#### 36"),
        (("2*3=6",), "6", "\n", "2*3=6\n#### 6"),
        (("2*3=6", "#### 6"), "6", "\n", "2*3=6\n#### 6"),
        (("2*3=6", r"So \boxed{1,000}."), "1000", "\n\n", "2*3=6\n\nSo \\boxed{1,000}."),
        ((r"Not \boxed{5}", "2*3=6"), "6", "; ", "Not \\boxed{5}; 2*3=6; #### 6"),
        (("2*3=6\n",), "6", "\n", "2*3=6\n#### 6"),
        (("a",), "\\begin{pmatrix}1\\\\\n2\\end{pmatrix}", "\n",
         "a\n#### \\begin{pmatrix}1\\\\ 2\\end{pmatrix}"),
    ],
)  # fmt: skip
def test_the_reference_response_states_the_answer_once_and_ends_without_delimiter(
    solution: tuple[str, ...], answer: str, delimiter: str, expected: str
) -> None:
    problem = Problem(problem_id="t/0", question="q", answer=answer, solution=solution)
    assert reference_response(problem, delimiter) == expected


def test_a_last_step_with_another_answer_does_not_hide_the_reference() -> None:
    problem = Problem(problem_id="t/0", question="q", answer="6", solution=("#### 7",))
    assert reference_response(problem) == "#### 7\n#### 6"
    assert grade(reference_response(problem), "6").is_correct


def test_an_empty_delimiter_is_refused() -> None:
    problem = Problem(problem_id="t/0", question="q", answer="6")
    with pytest.raises(ConfigError, match="delimiter must not be empty"):
        reference_response(problem, "")


def test_reference_responses_of_random_numeric_problems_grade_as_correct() -> None:
    rng = random.Random(0)
    for _ in range(200):
        number = f"{rng.choice(['', '-'])}{rng.randrange(10**6)}{rng.choice(['', '.5', '/7'])}"
        steps = tuple(rng.choice(string.ascii_letters) for _ in range(rng.randrange(3)))
        problem = Problem(problem_id="t/0", question="q", answer=number, solution=steps)
        assert grade(reference_response(problem), number).is_correct
