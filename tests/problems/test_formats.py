"""The same rows in every format of files, and the errors of damaged ones."""

import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reason_env.errors import ProblemError
from reason_env.problems import has_split, load_problems
from reason_env.problems.files.reader import has_split_file, load_file

ROWS = [
    {"question": "2+3, as a sum?", "answer": "5", "solution": "2+3\n=5"},
    {"question": 'Say "9".', "answer": "9", "solution": "nine"},
]
BOM = b"\xef\xbb\xbf"


def as_lines() -> bytes:
    return "\n".join(json.dumps(row) for row in ROWS).encode()


def as_csv(delimiter: str = ",", end: str = "\n") -> bytes:
    cells = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in record] for record in cells]
    return end.join(delimiter.join(record) for record in quoted).encode()


WRITTEN: dict[str, bytes] = {
    "lines.jsonl": as_lines(),
    "lines.json": as_lines(),
    "array.json": json.dumps(ROWS).encode(),
    "indented.json": json.dumps(ROWS, indent=2).encode(),
    "array.jsonl": json.dumps(ROWS).encode(),
    "blank first.json": b"\n\n" + json.dumps(ROWS, indent=1).encode(),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "wrapped and indented.json": json.dumps({"data": ROWS}, indent=1).encode(),
    "cells.csv": as_csv(),
    "windows.csv": as_csv(end="\r\n"),
    "semicolons.csv": as_csv(";"),
    "tabs.tsv": as_csv("\t"),
    "UPPER.CSV": as_csv(),
    "lines.ndjson": as_lines(),
    "bars.csv": as_csv("|"),
}


@pytest.mark.parametrize("mark", [b"", BOM], ids=["", "with a byte order mark"])
@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_same_rows_load_from_every_format(
    tmp_path: Path, name: str, ending: str, mark: bytes
) -> None:
    path = tmp_path / (name + ending)
    data = mark + WRITTEN[name]
    path.write_bytes(gzip.compress(data) if ending else data)
    problems = load_file(path)
    assert [(p.question, p.answer, p.solution) for p in problems] == [
        ("2+3, as a sum?", "5", ("2+3", "=5")),
        ('Say "9".', "9", ("nine",)),
    ]
    assert problems.name == name.rpartition(".")[0]
    assert len(load_file(path, limit=1)) == 1


def test_an_object_that_is_one_problem_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_text(json.dumps(ROWS[0], indent=2))
    assert load_file(path)[0].answer == "5"


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_the_first_problem_of_several_lines_is_no_wrapper_of_what_it_lists(
    tmp_path: Path, name: str
) -> None:
    rows = [{"question": "2+5", "answer": "7", "hints": [{"text": "add"}]}, ROWS[1]]
    path = tmp_path / name
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    assert [problem.answer for problem in load_file(path)] == ["7", "9"]
    assert [problem.answer for problem in load_file(path, limit=1)] == ["7"]
    path.write_text(json.dumps({"data": rows}) + "\n\n")
    assert [problem.answer for problem in load_file(path, limit=1)] == ["7"]


def test_a_long_cell_is_read_and_the_limit_of_the_csv_module_stays(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    path = tmp_path / "x.csv"
    path.write_text(f"question,answer\n{'long ' * 60_000},7\n")
    assert len(load_file(path)[0].question) == 5 * 60_000
    assert csv.field_size_limit() == before


def test_a_directory_may_hold_compressed_splits(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(as_lines()))
    assert has_split_file(tmp_path, "test")
    assert load_file(tmp_path, split="test")[0].problem_id == f"{tmp_path.name}/test/0"


def write_parts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for part, row in enumerate(ROWS):
        file = folder / f"train-{part:05}-of-00002.parquet"
        pq.write_table(pa.Table.from_pylist([row]), file)
    return folder


@pytest.mark.parametrize("inner", [".", "data"])
def test_the_parts_of_a_split_are_read_in_order(tmp_path: Path, inner: str) -> None:
    folder = write_parts(tmp_path / "own" / inner)
    (folder / "test.jsonl").write_bytes(as_lines())
    problems = load_problems(str(tmp_path / "own"))
    assert [problem.answer for problem in problems] == ["5", "9"]
    assert [problem.problem_id for problem in problems] == ["own/train/0", "own/train/1"]
    assert {problem.source for problem in problems} == {"own"}
    assert len(load_problems(str(tmp_path / "own"), size=1)) == 1
    assert has_split(str(tmp_path / "own"), "test")
    assert not has_split(str(tmp_path / "own"), "dev")
    with pytest.raises(ProblemError, match=r"must hold dev\.jsonl, .* its splits: train, test$"):
        load_problems(str(tmp_path / "own"), split="dev")


def test_a_row_of_a_part_is_named_with_its_file(tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "own" / "data")
    pq.write_table(
        pa.Table.from_pylist([{"question": "q"}]), folder / "train-00001-of-00002.parquet"
    )
    with pytest.raises(
        ProblemError, match=r"own data/train-00001-of-00002\.parquet row 0: answer must be text"
    ):
        load_problems(str(tmp_path / "own"))


def test_missing_parts_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_parts(tmp_path / "own")
    for part in (2, 3):
        (folder / f"train-0000{part}-of-00005.jsonl").write_bytes(as_lines())
    (folder / "train-00000-of-00002.parquet").unlink()
    (folder / "train-00001-of-00002.parquet").unlink()
    assert len(load_problems(str(folder))) == 4
    assert f"reading 2 of 5 parts of train in {folder}" in caplog.text


def test_a_folder_named_after_a_split_is_read_with_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "MATH" / "train" / "algebra"
    folder.mkdir(parents=True)
    for number in (10, 9, 2):
        row = {"problem": f"Find {number}.", "solution": f"So $\\boxed{{{number}}}$."}
        (folder / f"{number}.json").write_text(json.dumps(row))
    problems = load_file(tmp_path / "MATH", columns={"answer": "boxed(solution)"})
    assert [problem.answer for problem in problems] == ["2", "9", "10"]
    with pytest.raises(
        ProblemError, match=r"got 3 problem files; name a file, as .*algebra/10\.json"
    ):
        load_file(folder)
    with pytest.raises(ProblemError, match=r"got 0 problem files; choose one of its splits: train"):
        load_file(tmp_path / "MATH", split="test")


def test_a_directory_of_folders_with_splits_names_them(tmp_path: Path) -> None:
    for name in ("main", "socratic"):
        write_parts(tmp_path / name)
    with pytest.raises(ProblemError, match=r"name one of its folders: \S+/main, \S+/socratic$"):
        load_file(tmp_path)
    assert len(load_file(tmp_path / "main")) == 2


def test_a_directory_of_save_to_disk_is_read_by_its_path(tmp_path: Path) -> None:
    both = datasets.DatasetDict(
        train=datasets.Dataset.from_list(ROWS[:1]), test=datasets.Dataset.from_list(ROWS[1:])
    )
    both.save_to_disk(tmp_path / "own")
    assert load_problems(str(tmp_path / "own"), split="test")[0].answer == "9"
    assert has_split(f"file:{tmp_path / 'own'}", "test")
    assert not has_split(str(tmp_path / "own"), "validation")


ROW = {"question": "2+3", "answer": "5"}


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ({"a1": ROW, "a2": ROW | {"answer": "4"}}, ["5", "4"]),
        ({"question": ["2+3", "1+3"], "answer": ["5", "4"]}, ["5", "4"]),
        ({"question": {"0": "2+3", "1": "1+3"}, "answer": {"0": "5", "1": "4"}}, ["5", "4"]),
        ({"question": "2+3", "answer": ["5"]}, ["5"]),
        ({"prompt": [{"role": "user", "content": "2+3"}], "answer": ["5"]}, ["5"]),
        (
            {
                "prompt": [{"role": "user", "content": "2+3"}],
                "reward_model": {"ground_truth": "5"},
                "extra_info": {"index": 3},
            },
            ["5"],
        ),
    ],
)
def test_an_object_holds_rows_columns_or_one_problem(
    tmp_path: Path, value: object, answers: list[str]
) -> None:
    for indent in (None, 1):
        (tmp_path / "x.json").write_text(json.dumps(value, indent=indent))
        assert [problem.answer for problem in load_file(tmp_path / "x.json")] == answers


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["cells.csv", "tabs.tsv", "lines.jsonl", "indented.json"])
def test_utf_16_is_read_by_its_mark(tmp_path: Path, name: str, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    data = (mark + WRITTEN[name].decode()).encode(encoding)
    (tmp_path / name).write_bytes(data)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    for ending in ("", ".gz"):
        assert [problem.answer for problem in load_file(tmp_path / (name + ending))] == ["5", "9"]


def test_gzip_is_known_by_its_bytes_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(gzip.compress(as_lines()))
    assert [problem.answer for problem in load_file(tmp_path / "x.jsonl")] == ["5", "9"]


def test_parquet_may_be_compressed(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    assert [problem.answer for problem in load_file(tmp_path / "x.parquet.gz")] == ["5", "9"]


def test_objects_that_cells_hold_as_text_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "prompt,reward_model\n"
        "\"[{'role': 'user', 'content': 'Find 2+3.'}]\",\"{'ground_truth': '5'}\"\n"
        '"[{""role"": ""user"", ""content"": ""Find 2+7.""}]","{""ground_truth"": ""9""}"\n'
    )
    problems = load_file(tmp_path / "x.csv")
    assert [(problem.question, problem.answer) for problem in problems] == [
        ("Find 2+3.", "5"), ("Find 2+7.", "9"),
    ]  # fmt: skip


def test_a_chat_that_is_no_json_is_refused_and_no_question(tmp_path: Path) -> None:
    numpy = "[{'role': 'system', 'content': 's'}\n {'role': 'user', 'content': 'q'}]"
    (tmp_path / "x.csv").write_text(f'prompt,answer\n"{numpy}",5\n')
    with pytest.raises(
        ProblemError, match=r"x\.csv line 2: question must hold text or messages as"
    ):
        load_file(tmp_path / "x.csv")


def test_a_directory_without_files_that_are_read_gets_their_endings(tmp_path: Path) -> None:
    (tmp_path / "ASDiv.xml").write_text("<problems/>")
    with pytest.raises(
        ProblemError,
        match=r"must hold train\.jsonl, .* got 0 problem files; files that are read end",
    ):
        load_file(tmp_path)


# Without the time of day, which would give the test another name in each process.
CUT = gzip.compress(b"question,answer\nq,1\n" * 99, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.json", b'[{"question": "q"', r"x\.json must be one JSON object per line, an array"),
        ("x.json", b'[\n{"question": "q"\n', r"got b'\[' at its beginning; Expecting"),
        ("x.jsonl", b'{"question": "q"\n', r"x\.jsonl line 1: must be one JSON object in UTF-8"),
        ("x.json", b'{"a": [{"q": 1}], "b": [{"q": 2}]}', r"must hold one list of rows, got a, b"),
        ("x.json", b"[]", r"x\.json must hold at least one row, got none"),
        ("x.json", b'[{"question": NaN}]', r"NaN is not JSON"),
        ("x.csv", b"question,answer\nq,1,2\n", r"line 2: must have 2 cells .*, got 3; put quotes"),
        ("x.csv", b"question,answer\nq\n", r"line 2: must have 2 cells .*, got 1"),
        ("x.csv", b'question,answer\n"a\nb",1\nq\n', r"line 4: must have 2 cells"),
        (
            "x.csv",
            b"answer,answer\n1,2\n",
            r"line 1: names of columns must be unique, got 'answer'",
        ),
        ("x.csv", b'question,answer\n"q,1\n', r"x\.csv must be CSV in UTF-8, got"),
        ("x.csv", b"question,answer\n\xff\xfe,1\n", r"CSV in UTF-8, got .*save it again as UTF-8"),
        ("x.csv", b"question,answer\n", r"x\.csv must hold at least one row, got none"),
        ("x.csv", b"", r"x\.csv must hold at least one row, got none"),
        (
            "x.jsonl",
            '{"question": "gro\xdf"}'.encode("latin-1"),
            r"x\.jsonl must be text in UTF-8, .*; save",
        ),
        (
            "x.json",
            '[\n"gro\xdf"]'.encode("latin-1"),
            r"x\.json must be text in UTF-8, got .*; save",
        ),
        ("x.csv", b"\xff\xfea", r"x\.csv must be text in UTF-8, got"),
        ("x.parquet.gz", gzip.compress(b"PAR1", mtime=0), r"must be a readable Parquet file"),
        ("x.jsonl.gz", b"not compressed", r"x\.jsonl\.gz must be a readable gzip file"),
        ("x.csv.gz", CUT, r"a readable gzip file"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ProblemError, match=message):
        load_file(path)


def test_a_row_of_cells_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('question,answer\n"a\nb",1\n\nq,\n')
    with pytest.raises(ProblemError, match=r"x\.csv line 5: answer must be text or a number"):
        load_file(path)


def test_nested_columns_of_json_and_parquet_are_equal(tmp_path: Path) -> None:
    rows = [{"q": {"text": f"{n}+1"}, "a": {"gold": [{"v": str(n + 1)}]}} for n in range(3)]
    columns = {"question": "q.text", "answer": "a.gold.0.v"}
    (tmp_path / "x.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name in ("x.json", "x.parquet"):
        problems = load_file(tmp_path / name, columns=columns)
        assert [(p.question, p.answer) for p in problems] == [
            ("0+1", "1"), ("1+1", "2"), ("2+1", "3"),
        ]  # fmt: skip
