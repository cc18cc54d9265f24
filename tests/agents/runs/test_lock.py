import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import make_dataclass

import pytest

from reason_env.agents.runs import RunDir, save_checkpoint
from reason_env.agents.runs.lock import Lock, locked
from reason_env.errors import CheckpointError

HOLDS = """
import fcntl, os, sys, time
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate()
print(os.getpid(), file=file, flush=True)
print("locked", flush=True)
time.sleep(60)
"""
"""Holds the lock of a run, as `Lock` does, without the time that torch takes to import."""


def create(path):
    return RunDir.create(path, make_dataclass("Config", [])(), command=[])


def test_a_run_is_written_by_one_process_and_a_crash_of_it_leaves_no_lock(tmp_path):
    create(tmp_path / "run").close()
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "run" / ".lock")]
    before = (tmp_path / "run" / "provenance.json").read_bytes()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with RunDir.open(tmp_path / "run") as run:
            message = rf"one process, got '.*run', which process {other.pid} is writing; wait for"
            with pytest.raises(CheckpointError, match=message):
                run.resume(None)
            with pytest.raises(CheckpointError, match="must be resumed before it is written"):
                run.write_metrics(1, {})
        assert (tmp_path / "run" / "provenance.json").read_bytes() == before
        os.kill(other.pid, signal.SIGKILL)
    with RunDir.open(tmp_path / "run") as run:
        run.resume(None)
        run.write_metrics(1, {"rollout/pass_rate": 0.25})
        with pytest.raises(CheckpointError, match="which process"):
            RunDir.open(tmp_path / "run").resume(None)
    assert len(RunDir.open(tmp_path / "run").read_metrics()) == 1


def test_of_two_processes_that_begin_one_run_the_second_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / ".lock"), pytest.raises(CheckpointError, match="one process"):
        create(tmp_path / "run")
    assert [item.name for item in (tmp_path / "run").iterdir()] == [".lock"]
    with create(tmp_path / "run"), pytest.raises(CheckpointError, match="hold a run already"):
        create(tmp_path / "run")


def test_a_lock_is_given_back_when_it_is_closed_or_collected(tmp_path):
    lock = Lock(tmp_path / "lock")
    with locked(tmp_path / "lock") as handle:
        assert handle is None
    lock.close()
    lock = Lock(tmp_path / "lock")
    del lock
    with locked(tmp_path / "lock") as handle:
        assert handle is not None


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with create(tmp_path / "run") as run:
        run.write_metrics(0, {})
    assert "has no locks (No locks available): a second run there would not be noticed" in (
        caplog.text
    )

    def fail(handle, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=r"Input/output error: '.*lock'"):
        Lock(tmp_path / "lock")


@pytest.mark.parametrize("what", ["removed", "moved", "replaced", "metrics"])
def test_a_run_whose_files_are_gone_is_written_no_further(tmp_path, what):
    with create(tmp_path / "run") as run:
        run.write_metrics(1, {})
        if what == "metrics":
            (tmp_path / "run" / "metrics.jsonl").unlink()
        else:
            shutil.move(tmp_path / "run", tmp_path / "moved")
        if what == "removed":
            shutil.rmtree(tmp_path / "moved")
        if what == "replaced":
            create(tmp_path / "run").close()
        before = sorted(tmp_path.rglob("*"))
        message = r"must stay while it goes on, got '.*run' removed, moved or replaced; put them"
        for write in (
            lambda: run.write_metrics(2, {}),
            lambda: run.write_episodes(2, []),
            lambda: save_checkpoint(run, 1, None, {}, {}),  # type: ignore[arg-type]
        ):
            with pytest.raises(CheckpointError, match=message):
                write()
        assert sorted(tmp_path.rglob("*")) == before
