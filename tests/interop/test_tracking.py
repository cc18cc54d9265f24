"""Trackio and wandb themselves, without a network: what they have of runs that were killed."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.interop("trackio", "wandb"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
BLOCK = 32768
TRAIN = (
    "train", "grpo", "--problems", "chain", "--levels", "3", "4", "--iterations", "8",
    "--problems-per-iteration", "2", "--group-size", "2", "--max-tokens", "64",
    "--eval.num-problems", "4", "--eval.samples", "1", "--eval.k", "1", "--eval.every", "4",
    "--checkpoint.every", "3", "--track", "trackio,wandb",
)  # fmt: skip


def reason_env(words, folder):
    """Start the command; its output goes to a file."""
    environment = {
        **{key: own for key, own in os.environ.items() if not key.startswith(("WANDB", "TRACKIO"))},
        "TRACKIO_DIR": str(folder / "trackio"),
        "HOME": str(folder),
        # Nothing is reached by the network, not even to look.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    code = "from reason_env.cli import main; main()"
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def killed_and_resumed(folder):
    """Train, kill the process after some iterations, and resume."""
    run = folder / "run"
    process = reason_env([*TRAIN, "--out", str(run)], folder)
    metrics = run / "metrics.jsonl"
    while process.poll() is None:
        if metrics.is_file() and metrics.read_bytes().count(b"\n") > 5:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL, (folder / "output").read_text()
    again = reason_env(["train", "--resume", str(run)], folder)
    status = again.wait(timeout=600)
    output = (folder / "output").read_text()
    assert status == 0, output
    assert f"wandb sync {run}/wandb/offline-run-*" in output
    assert "trackio show --project reason-env" in output
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def run(folder):
    return killed_and_resumed(folder)


def rows_of(run):
    lines = [(run / name).read_text().splitlines() for name in ("metrics.jsonl", "timings.jsonl")]
    return [json.loads(a) | json.loads(b) for a, b in zip(*lines, strict=True)]


def values_of(row):
    """The numbers that a tracker should have."""
    return {key: own for key, own in row.items() if key != "iteration" and own is not None}


def test_trackio_has_each_iteration_of_a_killed_and_resumed_run_once(run, folder, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    storage = import_module("trackio.sqlite_storage").SQLiteStorage
    (record,) = storage.get_run_records("reason-env")
    assert record["name"].startswith("run-")
    logs = storage.get_logs("reason-env", record["name"])
    assert [log["step"] for log in logs] == list(range(9))
    for log, row in zip(logs, rows_of(run), strict=True):
        own = {key: log.get(key) for key in values_of(row)}
        # Timings of iterations that the kill repeats are those of the first time.
        same = {key: number for key, number in values_of(row).items() if "time/" not in key}
        assert {key: own[key] for key in same} == pytest.approx(same)
    config = storage.get_run_config("reason-env", record["name"])
    assert config["method"]["kind"] == "grpo"
    assert config["method"]["group_size"] == 2


def test_wandb_has_each_iteration_of_a_killed_and_resumed_run_once(run):
    (folder,) = (run / "wandb").glob("offline-run-*")
    assert json.loads((run / "tracking.json").read_text())["wandb"] == folder.name[-8:]
    history = list(history_of(next(folder.glob("run-*.wandb"))))
    assert [step for step, _ in history] == list(range(9))
    for (_, own), row in zip(history, rows_of(run), strict=True):
        same = {key: number for key, number in values_of(row).items() if "time/" not in key}
        assert {key: own[key] for key in same} == pytest.approx(same)


def test_nothing_of_a_tracker_is_imported_unless_it_is_asked_for(tmp_path):
    code = (
        "import sys; from reason_env.cli import main; main(); "
        "print(sorted({'trackio', 'wandb'} & set(sys.modules)))"
    )
    words = [word for word in TRAIN if word not in ("--track", "trackio,wandb")]
    words[words.index("--iterations") + 1] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def history_of(path: Path):
    """Read the history of wandb's own file: records in blocks, as LevelDB's log has them."""
    record_of = import_module("wandb.proto.wandb_internal_pb2").Record
    data = path.read_bytes()
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0:
            at += left
            continue
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = record_of.FromString(parts)
            parts = b""
            if record.HasField("history"):
                items = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                yield record.history.step.num, items
