"""`reason-env train sb3-*`: the algorithms of Stable-Baselines3 as a user starts them."""

import json
import sys
from dataclasses import replace

import pytest

from reason_env.agents.methods import columns_of, method_config, method_names, sb3_names

SMALL = (
    "--size 6 --levels 1 1 --max-tokens 24 --problems-per-iteration 4 --iterations 3 "
    "--eval.num-problems 2 --eval.samples 1 --eval.k 1 --eval.greedy False"
).split()
NUMBERS = dict.fromkeys(sb3_names(), ("--num-steps", "12")) | {"sb3-grpo": ("--group-size", "2")}


@pytest.fixture
def installed():
    pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")


@pytest.mark.parametrize("name", sb3_names())
def test_three_iterations_give_a_run_with_metrics_and_a_report(installed, command, tmp_path, name):
    place = tmp_path / "run"
    status, printed, error = command("train", name, *SMALL, *NUMBERS[name], "--out", str(place))
    assert status == 0, error
    assert f"{name} on chain: 6 problems, model base" in printed
    assert "iteration   3/3" in printed
    rows = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    steps = [row["rollout/sampled_tokens"] for row in rows[1:]]
    assert f"generated {sum(steps):,} tokens in 3 iterations" in printed
    assert steps == [48, 48, 48] or name == "sb3-grpo"
    assert (place / "report.html").stat().st_size > 10_000
    config = json.loads((place / "config.json").read_text())
    assert config["method"]["kind"] == name
    assert config["learner"]["learning_rate"] == 2e-4


def test_a_run_is_prolonged_reported_and_evaluated_like_any_other(installed, command, tmp_path):
    place = str(tmp_path / "run")
    assert command("train", "sb3-ppo", *SMALL, *NUMBERS["sb3-ppo"], "--out", place)[0] == 0
    status, printed, error = command("train", "--resume", place, "--iterations", "4")
    assert status == 0, error
    assert f"resuming {place} after iteration 3" in printed
    assert "iteration   4/4" in printed
    status, printed, error = command("eval", "--model", place)
    assert status == 0, error
    assert "pass@1" in printed
    assert command("report", place)[0] == 0


@pytest.mark.parametrize("name", ["sb3-maskable-ppo", "sb3-grpo"])
def test_a_dry_run_prints_the_cost_and_writes_nothing(
    installed, command, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    status, printed, error = command("train", name, *SMALL, *NUMBERS[name], "--dry-run")
    assert status == 0, error
    lines = {line[:22].strip(): line[23:] for line in printed.splitlines()}
    assert lines["weights"] == lines["gradients"] == "3.3 MB"
    assert lines["step buffer"].endswith("B")
    assert lines["an iteration"].endswith("2 updates" if name == "sb3-maskable-ppo" else "1 update")
    assert "measured on 4 of 4 problems" in printed
    assert ("of the samples had a signal" in printed) == (name == "sb3-grpo")
    assert lines["the run"].startswith("3 iterations, ")
    assert list(tmp_path.iterdir()) == []


def test_what_it_cannot_do_is_one_line(refused):
    assert (
        "learner.epochs must be 1 with sb3-a2c, got 2; "
        "give num_epochs (sb3-a2c takes one update an iteration)"
    ) in refused("train", "sb3-a2c", "--epochs", "2")
    assert "sb3-grpo must be used alone" in refused("train", "lte+sb3-grpo")
    assert "cpi must be None with sb3-ppo" in refused("train", "cpi", "--restart", "sb3-ppo")


def test_help_and_table_list_the_algorithms_apart_from_the_methods(command):
    assert not set(sb3_names()) & set(method_names())
    _, printed, _ = command("train", "--help")
    assert all(f"  {name}\n" in printed for name in sb3_names())
    _, printed, _ = command("train", "sb3-grpo", "--help")
    assert "--weights" in printed
    assert "--group-size" in printed


def test_a_missing_extra_is_one_line(installed, refused, monkeypatch):
    from reason_env.agents import sb3

    monkeypatch.setattr(sb3.installed, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "reason_env.agents.sb3")
    message = refused("train", "sb3-ppo", *SMALL)
    assert "got no stable_baselines3 and no sb3_contrib; install the extra: pip install" in message


def test_the_table_follows_the_numbers():
    ppo = replace(method_config("sb3-ppo"), clip_range=0.1, gae_lambda=0.95, discount=0.99)
    columns = columns_of(ppo)
    assert columns.estimator == "GAE, lambda 0.95, discount 0.99"
    assert columns.update == (
        "clipped ratio [0.9, 1.1], mean over tokens; critic: 0.5 (V - return)^2"
    )
    a2c = columns_of(replace(method_config("sb3-a2c"), value_coefficient=0.25))
    assert a2c.update == "-A log pi, mean over tokens; critic: 0.25 (V - return)^2"
    assert columns_of(method_config("sb3-grpo")).estimator == "(r - mean) / (std + eps)"
