import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reason_env.agents.runs import (
    CheckpointWriter,
    checkpoint,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from reason_env.agents.runs.checkpoint import checkpoints
from tests.agents.runs.test_checkpoint import TinyPolicy, resumed_after_a_kill, run_with, saved

KILLED_WRITER = """
import sys, time
from reason_env.agents.runs import CheckpointWriter, RunDir, checkpoint, save_checkpoint

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
    save_checkpoint(run, 2, Policy(), {}, {}, writer=writer)
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
    with CheckpointWriter() as writer:
        path = save_checkpoint(run, 2, TinyPolicy(7), {}, {"n": 5}, writer=writer)
        assert gate.has_begun.wait(30)
        assert not path.exists()
        assert newest(run).name == "iteration_000001"
        gate.is_open.set()
        writer.wait()
        assert newest(run) == path
    assert load_checkpoint(path).iteration == 2
    assert load_checkpoint(path).progress == {"n": 5}


def test_what_changes_before_the_thread_begins_is_in_no_file(tmp_path, monkeypatch):
    run = run_with(tmp_path, iterations=2)
    policy, writes = TinyPolicy(7), []
    moment, counts, progress = torch.full((2,), 0.25), np.array([3, 4]), {"n": 5}
    with CheckpointWriter() as writer:
        monkeypatch.setattr(writer, "begin", writes.append)
        state = {"moment": moment, "counts": counts}
        path = save_checkpoint(run, 2, policy, state, progress, writer=writer)
    for changed in (policy.weight, moment):
        changed.zero_()
    counts[:] = 0
    progress["n"] = 6
    state.clear()
    (write,) = writes
    write()
    found = load_checkpoint(path)
    assert found.progress == {"n": 5}
    assert found.learner_state["moment"].tolist() == [0.25, 0.25]
    assert found.learner_state["counts"].tolist() == [3, 4]
    assert load_file(found.model_dir / "model.safetensors")["weight"].unique().tolist() == [7]


def test_leaving_the_block_waits_for_the_checkpoint_even_after_an_error(tmp_path, monkeypatch):
    run = saved(tmp_path, 1)
    run.write_metrics(2, {})
    gate = Gate(monkeypatch)
    threading.Timer(0.2, gate.is_open.set).start()

    def interrupted():
        with CheckpointWriter() as writer:
            save_checkpoint(run, 2, TinyPolicy(7), {}, {}, writer=writer)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(checkpoints(run)) == [1, 2]


def test_a_second_checkpoint_waits_for_the_first(tmp_path, monkeypatch):
    run = run_with(tmp_path, iterations=2)
    gate = Gate(monkeypatch)
    threading.Timer(0.2, gate.is_open.set).start()
    with CheckpointWriter() as writer:
        save_checkpoint(run, 1, TinyPolicy(1), {}, {}, writer=writer)
        save_checkpoint(run, 2, TinyPolicy(2), {}, {}, writer=writer)
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
        save_checkpoint(run, 2, TinyPolicy(7), {}, {}, writer=writer)
        with pytest.raises(OSError, match="no space left on device"):
            writer.wait()
        # Once is enough.
        writer.wait()
    assert list(checkpoints(run)) == [1]


def test_a_kill_while_the_thread_writes_leaves_the_older_checkpoint(tmp_path):
    resumed_after_a_kill(KILLED_WRITER, saved(tmp_path, 1))
