"""What the machine refuses is one line too: files, disks, encodings, interrupts."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reason_env import cli
from reason_env.cli import resume

TINY = (
    "train", "grpo", "--size", "2", "--levels", "3", "--problems-per-iteration", "1",
    "--group-size", "2", "--max-tokens", "16", "--iterations", "1", "--eval.num-problems", "1",
    "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
)  # fmt: skip
PROGRAM = (sys.executable, "-c", "from reason_env.cli import main; main()")


def raising(error):
    def command(words):
        raise error

    return command


def test_a_run_directory_below_a_file_or_without_permission_is_refused_at_once(
    refused, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    line = refused(*TINY, "--out", str(tmp_path / "file" / "a" / "b"))
    assert (
        f"must not be below a file, got '{tmp_path}/file/a/b', in which '{tmp_path}/file'" in line
    )
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    line = refused(*TINY, "--out", str(tmp_path / "new"))
    assert f"no permission in '{tmp_path}'; give another --out, or change its permissions" in line
    monkeypatch.chdir(tmp_path)
    assert f"got 'runs': no permission in '{tmp_path}'" in refused(*TINY)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, which Linux has")
def test_a_working_directory_that_cannot_be_written_is_refused(refused, monkeypatch):
    monkeypatch.chdir("/proc")
    line = refused(*TINY)
    assert line.startswith("reason-env: error: ")
    assert "runs" in line
    assert "; give another" in line


def test_what_the_system_refuses_names_the_file_and_what_to_do(refused, monkeypatch):
    denied = PermissionError(errno.EACCES, "Permission denied", "a/b")
    monkeypatch.setattr(cli, "_command", raising(denied))
    assert refused("eval") == (
        "reason-env: error: 'a/b' must be a path that can be used here, got: Permission denied; "
        "give another one, or change its permissions or the working directory"
    )
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(cli, "_command", raising(full))
    assert refused("eval") == (
        "reason-env: error: the disk must have room for a file, got: No space left on device; make "
        "room and resume"
    )
    # What names no file is no mistake of the caller.
    monkeypatch.setattr(cli, "_command", raising(OSError(errno.EIO, "no file")))
    with pytest.raises(OSError, match="no file"):
        cli.main(["eval"])


def test_half_a_surrogate_pair_in_a_row_is_shown_escaped(command, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "a\\ud800b 1+1", "answer": "2", "solution": "1+1=\\udfff2"}\n')
    status, text, _ = command("problems", "show", str(file))
    assert status == 0
    assert "a\\ud800b 1+1" in text
    status, text, _ = command(*TINY[:2], *TINY[6:], "--problems", str(file), "--out",
                              str(tmp_path / "run"))  # fmt: skip
    assert status == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_output_that_is_not_utf_8_shows_other_signs_escaped(tmp_path, encoding):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "\u4e00 + \u221a4", "answer": "3"}\n', encoding="utf-8")
    done = subprocess.run(
        [*PROGRAM, "problems", "show", str(file)],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u4e00 + \\u221a4" in done.stdout


def test_a_reader_that_has_enough_ends_the_command_without_a_word():
    words = [*PROGRAM, "problems", "show", "chain", "--count", "5000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1


def test_an_interrupt_while_a_run_is_read_names_the_command_that_resumes_it(
    command, tmp_path, monkeypatch
):
    run = tmp_path / "my run"
    assert command(*TINY, "--out", str(run))[0] == 0

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "session_of", interrupted)

    def times():
        items = [item for item in run.rglob("*") if item.name != ".lock"]
        return {item: item.stat().st_mtime_ns for item in items}

    before = times()
    status, _, error = command("train", "--resume", str(run), "--iterations", "2")
    assert status == 130
    assert error == (
        "reason-env: interrupted before an iteration; to try again: reason-env train --resume "
        f"'{run}'\n"
    )
    assert times() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "grpo", "--env"), "--env must name a file of text in UTF-8, got 'bytes.json'"),
        (("train", "grpo", "--from-config"), "--from-config must name a file of text in UTF-8"),
        (("eval", "--env"), "--env must name a file of text in UTF-8, got 'bytes.json'"),
        (("compare", "grpo", "--env"), "--env must name a file of text in UTF-8"),
        (("compare", "grpo", "--arms"), "a file of arms must be JSON"),
        (("grade",), "bytes.json must be JSON lines in UTF-8, got invalid start byte at byte 0"),
        (("play", "--template"), "a template must be a JSON file in UTF-8, got 'bytes.json'"),
    ],
)
def test_a_file_that_is_no_text_is_one_line(refused, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("bytes.json").write_bytes(b"\xff\xfe\x00bin")
    assert message in refused(*words, "bytes.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "grpo", "--env"), "a spec must be JSON as env.spec.to_json() writes it"),
        (("train", "grpo", "--from-config"), "a config must be JSON"),
        (("compare", "grpo", "--arms"), "a file of arms must be JSON"),
        (("grade",), "line 1 of deep.json must be JSON"),
        (("play", "--template"), "a template must be a JSON object"),
    ],
)
def test_json_that_is_too_deep_is_one_line(refused, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("deep.json").write_text("[" * 100_000)
    assert message in refused(*words, "deep.json")
