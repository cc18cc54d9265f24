"""`train --dry-run`: what a run would cost, and nothing written."""

import pytest

from reason_env.agents.train import Estimate, Memory, TrainConfig
from reason_env.cli.dry_run import _cost_lines

TINY = (
    "--levels", "3", "--problems-per-iteration", "2", "--group-size", "2", "--max-tokens", "24",
    "--eval.num-problems", "2", "--eval.samples", "2", "--eval.k", "2",
)  # fmt: skip


def test_a_dry_run_prints_memory_tokens_and_time_and_writes_nothing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text, error = command("train", "grpo", *TINY, "--iterations", "3", "--dry-run")
    assert status == 0, error
    lines = {line[:22].strip(): line[23:] for line in text.splitlines()}
    assert lines["weights"] == lines["gradients"] == "3.3 MB"
    assert lines["optimizer"] == "6.6 MB"
    assert "tokens generated" in lines["an iteration"]
    assert "2 prompts, 1 update" in lines["an iteration"]
    assert lines["the run"].startswith("3 iterations, 3 updates, ")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_cannot_hold_an_iteration_is_refused_before_anything_runs(refused):
    line = refused("train", "grpo", *TINY, "--dry-run", "--max-generated-tokens", "3")
    assert "max_generated_tokens must hold an iteration and what comes before it, got 3" in line


def estimated(**changes):
    memory = Memory(
        weights=1,
        gradients=1,
        optimizer=2,
        reference=0,
        kv_cache=1,
        activations=1,
        process_peak=1,
        device_peak=None,
    )
    numbers = {
        "num_measured": 2,
        "num_problems": 32,
        "prompts": 32.0,
        "generated_tokens": 1000.0,
        "trained_tokens": 900.0,
        "signal_fraction": 0.5,
        "sampling_s": 20.0,
        "update_s": 10.0,
        "updates_per_iteration": 2,
        "prepared_tokens": 0.0,
        "preparation_s": 0.0,
        "evaluation_s": 60.0,
        "num_evaluations": 2,
        "iterations": 40,
        "memory": memory,
    }
    return Estimate(**numbers | changes)


@pytest.mark.parametrize(
    ("limits", "changes", "line"),
    [
        (
            {"max_generated_tokens": 5000},
            {"iterations": 5},
            "--max-generated-tokens 5,000 ends the run after 5 of 40 iterations",
        ),
        (
            {"max_generated_tokens": 1200},
            {"iterations": 1, "prepared_tokens": 500.0},
            "--max-generated-tokens 1,200 is less than one iteration and what comes before it: at "
            "least 1,500",
        ),
        # 60 s of evaluation and 4 iterations of 30 s fill 3 minutes; the fifth still begins.
        ({"max_minutes": 3.0}, {}, "--max-minutes 3 ends the run after about 5 of 40 iterations"),
    ],
)
def test_a_limit_says_what_it_buys(limits, changes, line):
    lines = _cost_lines(estimated(**changes), TrainConfig(**limits))
    assert ("limit", line) in lines


def test_without_a_limit_the_planned_run_is_shown():
    lines = dict(_cost_lines(estimated(), TrainConfig()))
    assert lines["the run"] == "40 iterations, 80 updates, 40,000 tokens, 22.0 minutes"
    assert "limit" not in lines
    enough = TrainConfig(max_generated_tokens=10**6, max_minutes=60.0)
    assert "limit" not in dict(_cost_lines(estimated(), enough))
