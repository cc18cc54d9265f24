"""`train --resume`: by the run alone, prolonging, finished runs, interrupts."""

import json
import os
import signal
import sys

import gymnasium as gym
import pytest

from reason_env.cli import running

TINY = (
    "--levels", "3", "--problems-per-iteration", "2", "--group-size", "2", "--max-tokens", "24",
    "--eval.num-problems", "2", "--eval.samples", "2", "--eval.k", "2", "--eval.greedy", "False",
)  # fmt: skip


def train(command, path, *words):
    return command("train", "grpo", *TINY, "--out", str(path), *words)


def test_a_finished_run_says_how_to_prolong_it_and_that_command_does(command, tmp_path):
    run = tmp_path / "run"
    assert train(command, run, "--iterations", "1")[0] == 0
    before = (run / "provenance.json").read_bytes()
    status, text, _ = command("train", "--resume", str(run))
    assert status == 0
    assert (
        f"{run} is finished: all 1 iterations have run; to train longer: "
        f"reason-env train --resume {run} --iterations 2"
    ) in text
    assert (run / "provenance.json").read_bytes() == before
    status, text, _ = command("train", "--resume", str(run), "--iterations", "2")
    assert status == 0
    assert f"resuming {run} after iteration 1" in text
    assert json.loads((run / "config.json").read_text())["prolonged_from"] == [1]
    facts = json.loads((run / "provenance.json").read_text())
    assert facts["resumed"][0]["command"][-2:] == ["--iterations", "2"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_schedule_that_a_longer_run_stretches_is_announced(command, tmp_path):
    run = tmp_path / "run"
    train(command, run, "--iterations", "1", "--schedule", "linear")
    _, text, _ = command("train", "--resume", str(run), "--iterations", "2")
    assert (
        "the linear schedule of the learning rate ends at iteration 2 from here on; it was "
        "planned for 1"
    ) in text


def test_a_run_whose_newest_checkpoint_is_damaged_ends_as_if_it_was_whole(command, tmp_path):
    run = tmp_path / "run"
    assert train(command, run, "--iterations", "3", "--checkpoint.every", "1")[0] == 0
    files = ("metrics.jsonl", "checkpoints/iteration_000003/state.safetensors",
             "checkpoints/iteration_000003/model/model.safetensors")  # fmt: skip
    before = [(run / name).read_bytes() for name in files]
    weights = run / files[-1]
    weights.write_bytes(before[-1][:-1] + bytes([before[-1][-1] ^ 1]))
    status, text, error = command("train", "--resume", str(run))
    assert status == 0, error
    assert f"resuming {run} after iteration 2" in text
    assert [(run / name).read_bytes() for name in files] == before


def test_sigterm_ends_a_run_as_ctrl_c_does_and_the_run_goes_on(command, tmp_path, monkeypatch):
    whole, run = tmp_path / "whole", tmp_path / "run"
    words = ("--iterations", "3", "--checkpoint.every", "1")
    assert train(command, whole, *words)[0] == 0
    real = running.tables.row_line

    def row_line(row, *rest):
        if row["iteration"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(row, *rest)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(running.tables, "row_line", row_line)
        status, _, error = train(command, run, *words)
    assert status == 130
    assert error == (
        "reason-env: interrupted after iteration 2; to continue after its checkpoint "
        f"iteration_000001: reason-env train --resume {run}\n"
    )
    assert signal.getsignal(signal.SIGTERM) == before
    assert command("train", "--resume", str(run))[0] == 0
    rows = [(path / "metrics.jsonl").read_bytes() for path in (whole, run)]
    assert rows[0] == rows[1]


def test_the_method_before_resume_must_be_the_runs(command, refused, tmp_path):
    run = tmp_path / "run"
    train(command, run, "--iterations", "1")
    assert command("train", "grpo", "--resume", str(run))[0] == 0
    line = refused("train", "lte", "--resume", str(run))
    assert "--resume must name a run of 'lte', got one of 'grpo'; use: reason-env train" in line
    line = refused("train", "--resume", str(run), "--iterations", "0")
    assert "iterations must be more than the 1 that have run, got 0" in line


def test_a_spent_budget_says_how_to_go_on(command, tmp_path):
    run = tmp_path / "run"
    train(command, run, "--iterations", "9", "--max-generated-tokens", "30")
    status, text, _ = command("train", "--resume", str(run))
    assert status == 0
    assert "of 30 tokens are generated; to train longer:" in text
    assert f"--resume {run} --max-generated-tokens 60" in text


def test_a_run_that_max_minutes_ended_says_so_and_goes_on_for_as_long_again(command, tmp_path):
    run = tmp_path / "run"
    status, text, _ = train(command, run, "--iterations", "9", "--max-minutes", "1e-6")
    assert status == 0
    assert "--max-minutes ended the run after iteration 1 of 9; to go on for as long" in text
    _, text, _ = command("train", "--resume", str(run))
    assert "--max-minutes ended the run after iteration 2 of 9" in text
    _, text, _ = command("train", "--resume", str(run), "--max-minutes", "9", "--iterations", "3")
    assert "--max-minutes ended" not in text
    assert "generated" in text


@pytest.mark.parametrize(
    ("every", "where"), [("1", "after its checkpoint iteration_000001"), ("5", "from the start")]
)
def test_an_interrupt_says_how_to_resume(command, tmp_path, monkeypatch, every, where):
    def interrupted(row, iterations):
        if row["iteration"] == 2:
            raise KeyboardInterrupt
        return "a row"

    monkeypatch.setattr(running.tables, "row_line", interrupted)
    run = tmp_path / "run"
    status, _, error = train(command, run, "--iterations", "3", "--checkpoint.every", every)
    assert status == 130
    assert error == (
        f"reason-env: interrupted after iteration 2; to continue {where}: "
        f"reason-env train --resume {run}\n"
    )
    monkeypatch.undo()
    status, text, _ = command("train", "--resume", str(run))
    assert status == 0
    assert f"after iteration {1 if every == '1' else 0}" in text


def test_an_interrupt_before_the_first_iteration_leaves_nothing(command, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reason_env.cli.train.prepare_shown", interrupted)
    status, _, error = command("train", "grpo", *TINY)
    assert status == 130
    assert "interrupted before the first iteration; nothing was written" in error
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_whose_file_changed_is_not_resumed_unless_that_is_accepted(
    command, refused, tmp_path
):
    file, run = tmp_path / "sums.jsonl", tmp_path / "run"

    def write(count, term):
        rows = [{"question": f"{n}+{term}=", "answer": str(n + term)} for n in range(count)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(24, 1)
    words = [*TINY[2:], "--problems", str(file), "--iterations", "1"]
    assert command("train", "grpo", *words, "--out", str(run))[0] == 0
    before = (run / "metrics.jsonl").read_bytes()
    write(10, 2)
    prolong = ("train", "--resume", str(run), "--iterations", "2")
    line = refused(*prolong)
    assert "the train problems of a run must stay as they were, got content " in line
    assert line.endswith("or go on with what is there now: --accept-changed-data")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert command(*prolong, "--accept-changed-data")[0] == 0
    write(24, 1)
    assert refused(*prolong[:-1], "3").endswith("--accept-changed-data")


OWN = '''
from reason_env.state import with_reference_prefix
from reason_env.wrappers import StartWrapper


class EveryOther(StartWrapper):
    """Shows the first step in every second episode."""

    number = 0

    def start(self, state, rng):
        self.number += 1
        return with_reference_prefix(state, 1) if self.number % 2 else state

    def memory(self):
        return super().memory() | {"number": self.number}

    def read_memory(self, data):
        base, number = super().read_memory(data), int(data["number"])

        def commit():
            base()
            self.number = number

        return commit
'''


def write_own(folder, module, monkeypatch):
    """Write a module with a wrapper of one's own, and stack.json, a spec that names it."""
    (folder / f"{module}.py").write_text(OWN)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr("reason_env.env.spec._trusted", set())
    bare = gym.make("MathReason-v0", problems="chain", size=3, levels=(3, 3), max_tokens=24)
    spec = json.loads(bare.spec.to_json())
    own = {"name": "EveryOther", "entry_point": f"{module}:EveryOther", "kwargs": {}}
    text = json.dumps(spec | {"additional_wrappers": [own]})
    (folder / "stack.json").write_text(text)
    return text


def test_a_wrapper_of_ones_own_is_trained_resumed_measured_and_played_if_trusted(
    command, refused, tmp_path, monkeypatch
):
    text = write_own(tmp_path, "own_starts", monkeypatch)
    words = [*TINY[2:6], *TINY[8:], "--env", "stack.json", "--checkpoint.every", "1"]
    assert refused("train", "grpo", *words).endswith("trust_module('own_starts')")
    trusted = ("--trust", "own_starts")
    status, _, error = command(
        "train", "grpo", *words, *trusted, "--iterations", "3", "--out", "whole"
    )
    assert status == 0, error
    assert command("train", "grpo", *words, *trusted, "--iterations", "2", "--out", "run")[0] == 0
    assert command("train", "--resume", "run", "--iterations", "3", *trusted)[0] == 0
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "run")
    ]
    # The prolonged run has one more evaluation, of its iteration 2.
    kept = {name: value for name, value in rows[1][2].items() if not name.startswith("eval/")}
    assert [rows[1][0], rows[1][1], kept, rows[1][3]] == rows[0]
    few = ("--num-problems", "2", "--samples", "1", "--k", "1")
    assert command("eval", "--stack", text, *few, *trusted)[0] == 0
    monkeypatch.setattr("builtins.input", lambda prompt: ":end")
    status, shown, _ = command("play", "--stack", text, *trusted)
    assert status == 0
    assert "1  " in shown


def test_a_wrapper_of_ones_own_is_compared_if_trusted(command, refused, tmp_path, monkeypatch):
    write_own(tmp_path, "own_compared", monkeypatch)
    words = (
        "compare", "grpo", "--env", "stack.json", "--budget", "200", "--seeds", "1", "--workers",
        "1", "--out", "compared", "--group-size", "2", "--problems-per-iteration", "2",
        "--eval.num-problems", "1", "--eval.samples", "1", "--eval.k", "1", "--eval.greedy",
        "False",
    )  # fmt: skip
    assert refused(*words).endswith("trust_module('own_compared')")
    assert not (tmp_path / "compared").exists()
    status, shown, error = command(*words, "--trust", "own_compared")
    assert (status, error) == (0, ""), shown
    rows = (tmp_path / "compared/runs/chain/grpo/seed_0/metrics.jsonl").read_text().splitlines()
    # The wrapper begins every other episode with a step of the reference.
    assert json.loads(rows[-1])["rollout/sampled_tokens_total"] >= 200
    status, _, error = command("compare", "--resume", "compared", "--trust", "own_compared")
    assert (status, error) == (0, "")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("reason_env.agents.compare.Comparison.run", interrupted)
    status, shown, _ = command("compare", "--resume", "compared", "--trust=own_compared")
    assert status == 130
    assert "compare --resume compared --trust own_compared" in " ".join(shown.split())


@pytest.mark.parametrize("name", ["bench", "probe"])
def test_a_wrapper_of_ones_own_is_refused_by_measurements_unless_trusted(
    refused, tmp_path, monkeypatch, name
):
    text = write_own(tmp_path, f"own_of_{name}", monkeypatch)
    assert refused(name, "--stack", text).endswith(f"trust_module('own_of_{name}')")
    # The spec is accepted; the flag after it is not.
    line = refused(name, "--stack", text, "--trust", f"own_of_{name}", "--max-batch-size", "0")
    assert "max_batch_size must be at least 1" in line
