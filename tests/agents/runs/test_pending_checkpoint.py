import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import reason_env
from reason_env.agents.runs import CheckpointWriter, checkpoint, latest_checkpoint, load_checkpoint
from reason_env.agents.runs.checkpoint import checkpoints
from reason_env.agents.runs.run_dir import RunDir
from tests.agents.runs.test_checkpoint import TinyPolicy, run_with, saved

KILLED_WRITER = """
import sys, time
from reason_env.agents.runs import CheckpointWriter, RunDir, checkpoint

class Policy:
    def save(self, path):
        path.mkdir()
        (path / "config.json").write_text("{}")

def slow(*args):
    print("writing", flush=True)
    time.sleep(60)

checkpoint._write_checkpoint = slow
run = RunDir.open(sys.argv[1])
run.resume(1)
run.write_metrics(2, {})
with CheckpointWriter() as writer:
    writer.begin(run, 2, Policy(), {}, {})
"""


class Gate:
    """Holds the writing of a checkpoint until it is opened."""

    def __init__(self, monkeypatch):
        self.write, self.has_begun, self.is_open = (
            checkpoint._write_checkpoint,
            threading.Event(),
            threading.Event(),
        )
        monkeypatch.setattr(checkpoint, "_write_checkpoint", self)

    def __call__(self, *args):
        self.has_begun.set()
        assert self.is_open.wait(30)
        self.write(*args)


def newest(run):
    path = latest_checkpoint(run)
    assert path is not None
    return path


def test_readers_see_the_older_checkpoint_until_the_new_one_is_whole(tmp_path, monkeypatch):
    run = saved(tmp_path, 1)
    run.write_metrics(2, {})
    gate = Gate(monkeypatch)
    progress, moment = {"n": 5}, torch.full((2,), 0.25)
    with CheckpointWriter() as writer:
        writer.begin(run, 2, TinyPolicy(7), {"moment": moment}, progress)
        assert gate.has_begun.wait(30)
        assert newest(run).name == "iteration_000001"
        # What the next iteration changes was copied.
        progress["n"] = 6
        moment.zero_()
        gate.is_open.set()
        writer.wait()
        found = load_checkpoint(newest(run))
    assert found.iteration == 2
    assert found.progress == {"n": 5}
    assert torch.equal(found.learner_state["moment"], torch.full((2,), 0.25))
    assert (found.model_dir / "model.safetensors").exists()


def test_leaving_the_block_waits_for_the_checkpoint_even_after_an_error(tmp_path, monkeypatch):
    run = saved(tmp_path, 1)
    run.write_metrics(2, {})
    gate = Gate(monkeypatch)
    threading.Timer(0.2, gate.is_open.set).start()

    def interrupted():
        with CheckpointWriter() as writer:
            writer.begin(run, 2, TinyPolicy(7), {}, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(checkpoints(run)) == [1, 2]


def test_a_second_checkpoint_waits_for_the_first(tmp_path, monkeypatch):
    run = run_with(tmp_path, iterations=2)
    gate = Gate(monkeypatch)
    threading.Timer(0.2, gate.is_open.set).start()
    with CheckpointWriter() as writer:
        writer.begin(run, 1, TinyPolicy(1), {}, {})
        writer.begin(run, 2, TinyPolicy(2), {}, {})
        # Had it not waited, it would have removed the first one's partial files.
        assert 1 in checkpoints(run)
    assert list(checkpoints(run)) == [1, 2]


def test_an_error_of_the_thread_is_raised_by_wait_and_keeps_the_older_checkpoint(
    tmp_path, monkeypatch
):
    run = saved(tmp_path, 1)
    run.write_metrics(2, {})

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "_write_checkpoint", full)
    with CheckpointWriter() as writer:
        writer.begin(run, 2, TinyPolicy(7), {}, {})
        with pytest.raises(OSError, match="no space left on device"):
            writer.wait()
        # Once is enough.
        writer.wait()
    assert list(checkpoints(run)) == [1]


def test_a_kill_while_the_thread_writes_leaves_the_older_checkpoint(tmp_path):
    run = saved(tmp_path, 1)
    run.close()
    root = str(Path(reason_env.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, str(run.path)],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.kill()
    assert (run.path / "checkpoints/.partial_iteration_000002/model/config.json").exists()
    again = RunDir.open(run.path)
    assert newest(again).name == "iteration_000001"
    again.resume(load_checkpoint(newest(again)).iteration)
    assert os.listdir(run.path / "checkpoints") == ["iteration_000001"]
