"""The same rows in every format of files, and the errors of damaged ones."""

import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reason_env.errors import ProblemError
from reason_env.problems import load_problems
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
def test_a_data_set_in_parts_is_left_to_hub_which_reads_it(
    tmp_path: Path, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_parts(tmp_path / "own" / inner)
    with pytest.raises(ProblemError) as caught:
        load_problems(str(tmp_path / "own"))
    advice = str(caught.value).rpartition(" is ")[2]
    assert advice == f"hub:{tmp_path / 'own'}"
    assert [problem.answer for problem in load_problems(advice)] == ["5", "9"]


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
