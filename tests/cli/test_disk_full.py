"""A disk that is full ends a command in one line; with room again, the run ends as if nothing was.

`RLIMIT_FSIZE` lets every file grow to a limit and refuses the rest, as a full disk does. Where this
process may mount a small file system, as root outside most containers, a slow test fills one.
"""

import re
import resource
import subprocess
from contextlib import contextmanager

import pytest

from reason_env.agents.runs.files import append, cut_file, write_text

TINY = (
    "train", "grpo", "--size", "2", "--levels", "3", "4", "--problems-per-iteration", "2",
    "--group-size", "4", "--max-tokens", "48", "--iterations", "2", "--checkpoint.every", "1",
    "--eval.num-problems", "1", "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
)  # fmt: skip


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many bytes; returns its folder, and a call that makes room."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def make_room():
        mount("remount,size=100m").check_returncode()

    def mounted(size):
        done = mount(f"size={size}")
        if done.returncode:
            said = done.stderr.strip()
            pytest.skip(f"this process may not mount a disk: make test-slow as root; got {said}")
        return folder, make_room

    yield mounted
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def contents(path):
    wanted = ("*.jsonl", "*.safetensors", "state.json")
    return {
        str(file.relative_to(path)): file.read_bytes()
        for pattern in wanted
        for file in path.rglob(pattern)
        if file.name != "timings.jsonl"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a run that had room."""
    from reason_env import cli

    path = tmp_path_factory.mktemp("whole") / "run"
    cli.main([*TINY, "--out", str(path)])
    found = contents(path)
    # With the moments of the optimizer.
    assert len(found["checkpoints/iteration_000001/state.safetensors"]) > 4_000_000
    return found


@pytest.mark.parametrize(
    ("size", "file", "iteration"),
    [
        (0, ".lock", None),
        (3_000, "provenance.json", None),
        (100_000, "checkpoints/iteration_000001", 1),
        (4_000_000, "checkpoints/iteration_000001", 1),
    ],
)
def test_a_file_that_the_disk_has_no_room_for_is_one_line_and_the_run_goes_on_from_there(
    command, refused, tmp_path, whole, size, file, iteration
):
    run = tmp_path / "run"
    with files_of_at_most(size):
        line = refused(*TINY, "--out", str(run))
    room = rf"the disk must have room for '{run}/{file}', got: File too large; make room and resume"
    end = ""
    if iteration is not None:
        end = (
            f"; the run ended after iteration {iteration}; to continue from the start: "
            f"reason-env train --resume {run}"
        )
    assert re.fullmatch(f"reason-env: error: {room}{end}", line), line
    assert not list(run.rglob(".partial_*"))
    words = (*TINY, "--out", str(run)) if iteration is None else ("train", "--resume", str(run))
    status, _, error = command(*words)
    assert (status, error) == (0, "")
    assert contents(run) == whole


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 12, 20, 24, 40, 60, 2_000, 6_000, 9_850, 13_200, 19_400])
def test_a_small_disk_that_fills_at_any_moment_loses_nothing(
    command, refused, small_disk, whole, kilobytes
):
    folder, make_room = small_disk(kilobytes * 1024)
    run = folder / "run"
    line = refused(*TINY, "--out", str(run))
    assert f"the disk must have room for '{run}/" in line
    assert not list(run.rglob(".partial_*"))
    make_room()
    begun = (run / "config.json").is_file()
    words = ("train", "--resume", str(run)) if begun else (*TINY, "--out", str(run))
    status, _, error = command(*words)
    assert (status, error) == (0, "")
    assert contents(run) == whole


def test_an_append_without_room_takes_back_what_it_wrote(tmp_path):
    file = tmp_path / "lines"
    append(file, b"first\n")
    with files_of_at_most(9), pytest.raises(OSError, match=r"File too large: '.*lines'"):
        append(file, b"second\n")
    assert file.read_bytes() == b"first\n"
    append(file, b"third\n")
    assert file.read_bytes() == b"first\nthird\n"


def test_a_recording_is_not_cut_while_there_is_no_room_for_what_is_cut(tmp_path):
    file, lost = tmp_path / "lines", tmp_path / "lines.lost"
    file.write_bytes(b"1\nsecond\n")
    with files_of_at_most(5), pytest.raises(OSError, match=r"File too large: '.*lines.lost'"):
        cut_file(file, 2)
    assert (file.read_bytes(), lost.read_bytes()) == (b"1\nsecond\n", b"")
    cut_file(file, 2)
    assert (file.read_bytes(), lost.read_bytes()) == (b"1\n", b"second\n")


def test_a_file_that_cannot_be_replaced_stays_and_leaves_no_part(tmp_path):
    file = tmp_path / "report.html"
    write_text(file, "old")
    with files_of_at_most(9), pytest.raises(OSError, match=r"File too large: '.*report.html'"):
        write_text(file, "new and longer")
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    assert file.read_text() == "old"
