"""Two processes train what one process trains; a run goes on with another number of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reason_env import cli
from reason_env.agents.methods import method_names
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.processes import launch
from reason_env.agents.runs import model_directory

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parents[2]
OTHERS = ("lora", "bf16-mixed", "lora bf16-mixed opsd", "policy teacher", "checkpointing", "uneven")
TINY = (
    "--levels", "3", "--problems-per-iteration", "4", "--group-size", "4", "--max-tokens", "64",
    "--size", "16",
    "--eval.num-problems", "2", "--eval.samples", "2", "--eval.k", "2", "--eval.greedy", "False",
    "--checkpoint.every", "1", "--micro-batch-tokens", "64", "--learning-rate", "1e-4",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The differences that updates.py finds."""
    path = tmp_path_factory.mktemp("updates") / "rows.json"
    assert launch(2, [str(ROOT / "tests/scale/updates.py"), str(path)]) == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", [*method_names(), *OTHERS])
def test_two_processes_update_as_one_does(rows, name):
    row = rows[name]
    assert row["moved"] > 2e-4
    assert row["apart"] < 1e-5
    assert row["old_apart"] < 1e-4
    assert row["moments_apart"] < 1e-5
    assert row["other_metrics"] == []


def test_two_processes_sample_what_one_does(rows):
    assert rows["sampled"]["equal"]
    assert rows["sampled"]["apart"] < 1e-5
    one, two = rows["sampled"]["counts"]
    assert one[0] == two[0] > 20
    assert one[1] == two[1] == sum(4 * (1 + at % 3) for at in (*range(7), 0))


@pytest.mark.parametrize(
    ("name", "model"),
    [("sdpo", "model/shares/shard"), ("lora bf16-mixed opsd", "model/adapter_model")],
)
def test_what_two_processes_saved_is_loaded_bit_for_bit_by_two_and_by_one(rows, name, model):
    row = rows[f"reloaded {name}"]
    assert row["loaded"] == {"two, two": 0, "two, one": 0, "one, two": 0}
    assert row["further"] < 1e-5 < row["moved"]
    assert sum(file.startswith("shares/shard-0000") for file in row["files"]) == 2
    assert sum(file.startswith(model) for file in row["files"]) == (2 if "shares" in model else 1)


def test_the_others_end_in_silence_when_the_first_one_fails(capfd):
    text = """
from reason_env.cli.devices import first_process
with first_process([]) as processes:
    if processes is not None:
        raise SystemExit(5)
"""
    assert launch(2, ["-c", text]) == 5
    assert capfd.readouterr().err == ""


def start(*words, **environment):
    """Start a command as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "reason_env.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def start_two(*words):
    """Start a command in two processes as torchrun does, which looks up the machine's name."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    return [start(*words, **place, RANK=rank, LOCAL_RANK=rank) for rank in "01"]


def process_of_rank(parent, rank):
    """Find the process of a rank among another one's children."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            # It is another user's, or has ended.
            continue
        if found == parent and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank} below {parent}")


def wait_for_checkpoint(run, iteration, running):
    path = run / "checkpoints" / f"iteration_{iteration:06d}"
    while not path.is_dir():
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)


def weights_in(place):
    return LanguageModelPolicy.load(model_directory(str(place))).model.state_dict()


def weights_after(run, iteration):
    return weights_in(run / f"checkpoints/iteration_{iteration:06d}")


def is_in_shares(run, iteration):
    return (run / f"checkpoints/iteration_{iteration:06d}/shares").is_dir()


def farthest(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def tokens_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row.get("rollout/sampled_tokens_total") for row in rows]


def test_a_killed_process_ends_the_run_with_one_line_and_it_goes_on_in_one_process_and_in_two(
    tmp_path,
):
    whole, run = tmp_path / "whole", tmp_path / "run"
    words = ("train", "grpo", *TINY, "--iterations", "6")
    cli.main([*words, "--out", str(whole)])
    running = start(*words, "--out", str(run), "--devices", "2")
    wait_for_checkpoint(run, 2, running)
    os.kill(process_of_rank(running.pid, 1), signal.SIGKILL)
    _, error = running.communicate(timeout=300)
    assert running.returncode not in (0, None)
    assert len(error.strip().splitlines()) == 1, error
    assert f"reason-env train --resume {run} --devices 2" in error

    done = len(tokens_of(run))
    assert is_in_shares(run, 2)
    cli.main(["train", "--resume", str(run), "--max-minutes", "0.0001"])
    assert len(tokens_of(run)) <= done + 1
    assert not is_in_shares(run, len(tokens_of(run)) - 1)
    assert not (run / "model").exists()
    resumed = start_two("train", "--resume", str(run), "--max-minutes", "10")
    (output, error), others = [one.communicate(timeout=300) for one in resumed]
    assert [one.returncode for one in resumed] == [0, 0], error
    assert f"resuming {run} after iteration" in output
    assert others == ("", "")

    assert tokens_of(run) == tokens_of(whole)
    assert farthest(weights_after(whole, 6), weights_after(run, 6)) < 1e-5
    assert farthest(weights_after(whole, 6), weights_after(whole, 5)) > 1e-5
    assert is_in_shares(run, 6)
    assert (run / "model/model.safetensors").is_file()
    assert farthest(weights_in(run), weights_after(run, 6)) == 0
