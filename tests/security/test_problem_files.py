"""Problem files that mean harm: one line, within bounded time and memory, and nothing executes."""

import gzip
import json
import zipfile

import pytest

from reason_env.errors import ProblemError, ReasonEnvError
from reason_env.problems import load_problems
from reason_env.problems.files import formats

GOOD = b'{"question": "1+1", "answer": "2"}\n'


def refused(path, match):
    with pytest.raises(ProblemError, match=match) as told:
        load_problems(str(path))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000


def test_a_line_that_never_ends_is_refused_after_a_bounded_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_LINE", 1000)
    file = tmp_path / "rows.jsonl"
    row = {"question": "x" * 2000, "answer": "2"}
    for text in (json.dumps(row).encode(), GOOD + json.dumps(row).encode()):
        file.write_bytes(text)
        refused(file, "must have at most 1,000 bytes, got more, which begin with b'{\"question")
    file.write_bytes(GOOD.rstrip() + b" " * (1000 - len(GOOD)) + b"\n" + GOOD)
    assert len(load_problems(str(file))) == 2


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.json.gz", "rows.csv.gz", "rows.jsonl"])
def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path, name):
    file = tmp_path / name
    with gzip.open(file, "wb") as out:
        for _ in range(200):
            out.write(b" " * 2**20)
    assert file.stat().st_size < 2**20
    refused(file, "must unpack to at most 100 times its size, got more than [0-9,]+ bytes of")


def test_gzip_files_of_ordinary_text_are_read(tmp_path):
    file = tmp_path / "rows.jsonl.gz"
    with gzip.open(file, "wb") as out:
        out.write(b"".join(GOOD.replace(b"1+1", b"%d+1-%d+1" % (n, n)) for n in range(2000)))
    assert len(load_problems(str(file))) == 2000


def test_parquet_bombs_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    many = tmp_path / "many.parquet"
    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 3_000_000, pyarrow.int32()), ["1+1"]
    ).cast(kind)
    parquet.write_table(pyarrow.table({"question": column, "answer": column}), many)
    assert many.stat().st_size < 20_000
    refused(many, "must unpack to at most 100 times its size, got 3,000,000 rows of")
    long = tmp_path / "long.parquet"
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 400, pyarrow.int32()), ["x" * 2**20]
    )
    parquet.write_table(
        pyarrow.table({"question": texts, "answer": texts}), long, compression="zstd"
    )
    assert long.stat().st_size < 2**18
    refused(long, "must unpack to at most 100 times its size, got more than [0-9,]+ bytes")


def zipped(path):
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("train.jsonl", GOOD * 10)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_bytes_in_another_form_than_the_name_says_are_one_line(tmp_path, name):
    archive = zipped(tmp_path / "a.zip")
    file = tmp_path / name
    for data in (
        archive, b"\x00" * 1000, b"\xff\xfe\xfa", b"\x80abc\n", b"question,answer\n1+1\n",
        b"[" * 200_000, b'{"a":' * 100_000, b'{"question": "1+1", "answer": NaN}\n', b"PAR1PAR1",
        GOOD + b"\x00\n", GOOD + b'{"question": "a\x00b", "answer": "2"}\n', b"\x1f\x8b\x08\x00",
        GOOD + b'{"question": "\xff", "answer": "2"}\n', b"!!python/object/apply:os.system [id]\n",
        b"cos\nsystem\n(S'touch ran'\ntR.", b"[]", b"{}", b"null\n", b"", b"\xef\xbb\xbf",
        b"1" * 5000, b'{"question": ' + b"9" * 5000 + b', "answer": "2"}',
    ):  # fmt: skip
        file.write_bytes(data)
        refused(file, ".")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", name]


def test_csv_that_poses_as_json_lines_is_one_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("question,answer\n1+1,2\n")
    refused(file, "must be one JSON object")


def test_ids_that_come_twice_are_refused_where_they_are_asked_for(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"id": "a", "question": f"{at}+1", "answer": str(at + 1)} for at in range(2)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [own.problem_id for own in load_problems(str(file))] == ["rows/train/0", "rows/train/1"]
    with pytest.raises(ReasonEnvError, match="'a'"):
        load_problems(str(file), columns={"problem_id": "id"})
