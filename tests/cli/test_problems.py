"""`reason-env problems show | check` on files."""

import gzip
import json

import pytest

from reason_env.verify import options

ROWS = [
    {"problem": "1+1", "final_answer": "2"},
    {"problem": "Prove it.", "final_answer": "proof"},
    {"problem": "1/0", "final_answer": "\\frac{1}{"},
    {"problem": "2+5", "final_answer": "7"},
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_check_names_every_row_that_fails_and_exits_with_1(command, source):
    status, text, _ = command("problems", "check", source, "--constants", "90")
    assert status == 1
    assert "mine.jsonl: 4 rows, 3 problems" in text
    assert "columns: question from problem, answer from final_answer" in text
    assert "2 rows failed" in text
    words = " ".join(text.split())
    assert "line 2 answer must be a final answer, got 'proof': the row holds a proof" in words
    assert "line 3 answer must grade as correct against itself, got" in words
    assert "none above their share" in text


def test_check_passes_a_sound_file_by_the_columns_it_is_told(command, tmp_path):
    path = tmp_path / "sound.csv"
    path.write_text("text,gold\n1+1,2\n2+5,7\n")
    words = ("--columns", "question", "text", "answer", "gold", "--constants", "0")
    status, text, _ = command("problems", "check", str(path), *words)
    assert status == 0
    assert "every row passed" in text
    assert "constants:" not in text


def test_check_tells_the_rows_that_accept_a_changed_copy(command, tmp_path, monkeypatch):
    path = tmp_path / "near.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "51.2"}) + "\n")
    monkeypatch.setitem(options._CHANGES, "near", {"relative_tolerance": 0.2})
    words = ("--grading", "near", "--constants", "0")
    status, text, _ = command("problems", "check", str(path), *words)
    assert status == 1
    assert "line 1 answer must refuse another digit, got '51.2'" in " ".join(text.split())


def test_a_constant_above_its_share_is_listed_and_exits_with_1(command, tmp_path, monkeypatch):
    path = tmp_path / "near.jsonl"
    answers = ("3.5", "3.5", "3.6")
    path.write_text("".join(json.dumps({"question": "q", "answer": a}) + "\n" for a in answers))
    # 3.5 and 3.6 are within 5 % of each other, 3.5 and its mutated copy 4.5 are not.
    monkeypatch.setitem(options._CHANGES, "nearer", {"relative_tolerance": 0.05})
    status, text, _ = command("problems", "check", str(path), "--grading", "nearer", "--show", "1")
    assert status == 1
    assert "every row passed" in text
    assert "with 3 of 3 problems; 2 above their share" in text
    assert "'3.6' earns 3, its share is 1: also '3.5'" in text
    assert "'3.5' earns" not in text


def test_check_counts_the_solutions_that_do_not_fit(command, tmp_path):
    path = tmp_path / "solved.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "36", "solution": "2*3=6"}) + "\n")
    words = ("problems", "check", str(path), "--constants", "0")
    assert "all 1 reference solutions fit max_tokens=14" in command(*words, "--max-tokens", "14")[1]
    status, text, _ = command(*words, "--max-tokens", "13")
    assert "1 of 1 reference solutions do not fit max_tokens=13; 14 would hold all" in text
    assert status == 0


def test_check_takes_generated_problems(command):
    words = ("problems", "check", "chain", "--size", "5", "--constants", "0")
    status, text, _ = command(*words)
    assert status == 0
    assert "5 problems" in text


def test_show_takes_columns_and_drops_rows(command, source):
    status, text, error = command("problems", "show", source, "--drop-ungradable")
    assert status == 0
    assert "2 problems, content hash" in text
    words = ("--columns", "answer", "problem", "question", "final_answer")
    status, text, error = command("problems", "show", source, *words, "--count", "1")
    assert status == 0, error
    assert "1+1" in text


def test_a_refused_row_gets_the_flag_that_drops_it(refused, source):
    line = refused("problems", "show", source)
    assert "line 2: answer must be a final answer, got 'proof'" in line
    assert "--drop-ungradable leaves them out" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "--constants", "-1"), "--constants must be at least 0, got -1"),
        (("check", "--show", "-1"), "show must be at least 0, got -1"),
        (("show", "--count", "-1"), "count must be at least 0, got -1"),
    ],
)
def test_a_number_below_zero_is_refused(refused, source, words, message):
    assert refused("problems", words[0], source, *words[1:]).endswith(message)


def test_check_must_name_a_source(refused):
    assert "problems check must name a source" in refused("problems", "check", "--size", "3")
    assert "must be followed by list, show or check" in refused("problems", "chek")


ROW = '{"question": "q", "answer": "1"}\n'
CUT = gzip.compress(ROW.encode() * 99, mtime=0)[:-20]
BAD_FILES = [
    ("x.jsonl.gz", CUT, "must be a readable gzip file"),
    ("x.jsonl", b"", "must hold at least one row, got none; check the file and the split"),
    ("x.parquet", b"", "must be a readable Parquet file, got"),
    ("x.jsonl", bytes(range(256)), "must be text in UTF-8, got b"),
    (
        "x.csv",
        b"question,answer\nq,1,2\n",
        "line 2: must have 2 cells as the first line has, got 3;",
    ),
    ("x.csv", b"question,answer,answer\nq,1,2\n", "line 1: names of columns must be unique"),
    ("x.json", b'{"name": "x"}', "map them with --columns question NAME answer NAME"),
    ("x.json", b'[["q", "1"]]', "row 0: must be one JSON object, got ['q', '1']; wr"),
    ("x.jsonl", '{"question": "gro\xdf"}'.encode("latin-1"), "; save the file again as UTF-8"),
    ("x.txt", ROW.encode(), "problem file must end in .jsonl, .json, .csv"),
    ("d/notes.md", b"", "or the like, got 0 problem files; files that are read end in .jsonl"),
    (
        "x.jsonl",
        (ROW * 3).replace("1", "proof").encode(),
        "a proof (3 of 3 rows do not); --drop-ungradable",
    ),
    ("x.jsonl", b'{"question": "q"}\n', "must have a column 'answer', got columns question"),
]
COMMANDS = [
    ("problems", "show"),
    ("problems", "check"),
    ("train", "grpo", "--dry-run", "--problems"),
    ("eval", "--problems"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD_FILES)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_bad_file_is_one_line_in_every_command(
    command, refused, tmp_path, words, name, data, message
):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    source = str(path.parent if name.startswith("d/") else path)
    if words[1] == "check" and "proof" in message:
        status, text, _ = command(*words, source)
        assert status == 1
        assert "the row holds a proof" in " ".join(text.split())
        return
    assert message in refused(*words, source)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_columns_and_presets_that_cannot_be_are_one_line_in_every_command(refused, source, words):
    line = refused(*words, source, "--columns", "question", "nope")
    assert "must have the column 'nope' that 'question' is mapped to, got columns problem, " in line
    if words != ("problems", "show"):
        for names, message in (
            ("dapo+dapo", "must name each preset once, got 'dapo+dapo'; write dapo once"),
            ("dapo+math+mcq", "a letter has no percent sign: write dapo+mcq"),
            ("daop", "got 'daop'; did you mean 'dapo'?"),
        ):
            assert message in refused(*words, source, "--grading", names)


def test_the_table_of_failed_rows_never_cuts_the_name_of_a_file(command, tmp_path):
    path = tmp_path / "a_name_of_a_file_that_is_longer_than_most.jsonl"
    path.write_text('{"question": "q", "answer": "proof"}\n')
    status, text, _ = command("problems", "check", str(path))
    assert status == 1
    assert "\u2026" not in text
