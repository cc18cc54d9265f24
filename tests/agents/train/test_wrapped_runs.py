"""Runs in a stack of wrappers: what the wrappers remember is in the checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import pytest
import torch
from safetensors.torch import load_file

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig, POPEConfig
from reason_env.agents.runs import CheckpointConfig, RunDir, latest_checkpoint
from reason_env.agents.train import (
    TrainConfig,
    build_session,
    estimate,
    iterate,
    prepare,
    train,
)
from reason_env.env import EnvConfig
from reason_env.errors import StateError
from reason_env.snapshot import snapshot
from reason_env.wrappers import (
    Curriculum,
    Hint,
    PrefixRollin,
    RecordEpisodes,
    ResetToState,
    RewardShaping,
    stack_to_json,
)


def bare(**changes):
    arguments = {"problems": "chain", "levels": (3, 6), "size": 4, "max_tokens": 64}
    return gym.make("MathReason-v0", **(arguments | changes))


def all_of(env):
    env = ResetToState(env, keep="failures", probability=0.5)
    env = Hint(env, "mistakes", trigger="after_failure")
    env = PrefixRollin(env, schedule="binary_search", probability=0.5)
    return RewardShaping(Curriculum(env), step_penalty=0.01)


STACKS = {
    "ResetToState": lambda env: ResetToState(env, keep="failures"),
    "ResetToState any": lambda env: ResetToState(env, keep="all", pick="any", capacity=5),
    "Curriculum": lambda env: Curriculum(env, by="level", memory=0.5, floor=0.0),
    "Hint": lambda env: Hint(env, "mistakes", trigger="after_failure"),
    "PrefixRollin schedule": lambda env: PrefixRollin(
        env, schedule={"kind": "linear", "episodes": 60}
    ),
    "PrefixRollin trajectory": lambda env: PrefixRollin(env, "trajectory"),
    "RewardShaping": lambda env: RewardShaping(env, token_penalty=0.001),
    "all": all_of,
    "Gymnasium's": lambda env: gym.wrappers.RecordEpisodeStatistics(
        gym.wrappers.PassiveEnvChecker(
            gym.wrappers.OrderEnforcing(gym.wrappers.TimeLimit(env, 9)),
        ),
        buffer_length=4,
    ),
}


def config_of(stack, **changes):
    arguments = {
        "method": GRPOConfig(group_size=3),
        "env": EnvConfig(stack=stack_to_json(stack)),
        "eval": EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1),
        "learner": LearnerConfig(learning_rate=2e-4),
        "iterations": 3,
        "problems_per_iteration": 3,
    }
    return TrainConfig(**(arguments | changes))


def run_to_end(config, path, **options):
    session = build_session(config)
    with RunDir.create(path, session.config, command=["test"]) as run:
        train(session, run, **options)
    return session


def resumed(path):
    with RunDir.open(path) as run:
        session = build_session(run.config(TrainConfig), checkpoint=latest_checkpoint(run))
        run.resume(session.iteration)
        train(session, run)
    return session


class KilledError(Exception):
    pass


def killed_after_2(row):
    if row["iteration"] == 2:
        raise KilledError


def contents(path):
    files = [path / "metrics.jsonl", *sorted((path / "episodes").iterdir())]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", STACKS)
def test_a_run_in_a_stack_resumes_to_the_same_bits(tmp_path, name):
    config = config_of(STACKS[name](bare()))
    whole = run_to_end(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        run_to_end(config, tmp_path / "killed", on_row=killed_after_2)
    again = resumed(tmp_path / "killed")
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    own, other = (session.policy.model.state_dict() for session in (whole, again))
    assert all(torch.equal(value, other[key]) for key, value in own.items())
    assert snapshot(whole.env) == snapshot(again.env)


def test_starts_from_own_failures_go_on_after_a_kill_of_the_process(tmp_path):
    (tmp_path / "stack.json").write_text(stack_to_json(STACKS["all"](bare())))
    words = [
        "grpo", "--env", str(tmp_path / "stack.json"), "--iterations", "4", "--group-size", "3",
        "--problems-per-iteration", "3", "--checkpoint.every", "1", "--eval.num-problems", "2",
        "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
    ]  # fmt: skip
    program = [sys.executable, "-c", "from reason_env.cli import main; main()", "train"]
    subprocess.run([*program, *words, "--out", str(tmp_path / "whole")], check=True)
    child = subprocess.Popen([*program, *words, "--out", str(tmp_path / "killed")])
    metrics = tmp_path / "killed" / "metrics.jsonl"
    ends = time.monotonic() + 120
    while not metrics.is_file() or metrics.read_bytes().count(b"\n") < 4:
        assert child.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    subprocess.run([*program, "--resume", str(tmp_path / "killed")], check=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    weights = [
        load_file(tmp_path / name / "checkpoints/iteration_000004/model/model.safetensors")
        for name in ("whole", "killed")
    ]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    rows = [
        json.loads(line) for line in contents(tmp_path / "killed")["metrics.jsonl"].splitlines()
    ]
    assert rows[-1]["iteration"] == 4


def test_a_checkpoint_without_a_snapshot_loads_with_a_warning(tmp_path, caplog, monkeypatch):
    config = config_of(STACKS["ResetToState"](bare()), iterations=1)
    with monkeypatch.context() as patch:
        # Earlier versions wrote no snapshot of the stack.
        plain = config_of(bare()).env
        before = build_session(config)
        patch.setattr(
            type(before),
            "progress",
            property(
                lambda own: {
                    "sampled_tokens_total": own.sampled_tokens_total,
                    "policy_version": own.policy.policy_version,
                    "method": own.method.state_dict(),
                }
            ),
        )
        assert plain.stack is not None
        run_to_end(config, tmp_path / "run")
    with RunDir.open(tmp_path / "run") as run:
        session = build_session(config, checkpoint=latest_checkpoint(run))
    assert "after iteration 1 holds no memory of the wrappers" in caplog.text
    prepare(session)
    assert len(session.env.archive) == 0


def test_a_stack_that_no_checkpoint_can_hold_is_refused():
    stack = gym.wrappers.NormalizeReward(bare())
    with pytest.raises(StateError, match=r"got NormalizeReward, whose memory is not known"):
        build_session(config_of(stack))


def test_an_estimate_leaves_the_wrappers_as_they_were(tmp_path):
    config = config_of(STACKS["all"](bare()), iterations=2)
    plain = run_to_end(config, tmp_path / "plain")
    session = build_session(config)
    before = snapshot(session.env)
    estimate(session, seconds=0.1)
    assert snapshot(session.env) == before
    with RunDir.create(tmp_path / "estimated", session.config, command=["test"]) as run:
        train(session, run)
    assert snapshot(session.env) == snapshot(plain.env)


def killed_at(iteration):
    def on_row(row):
        if row["iteration"] == iteration:
            raise KilledError

    return on_row


@pytest.mark.parametrize("killed_in", [0, 1, 2, 3])
@pytest.mark.parametrize("before", ["", '{"of":"an earlier run"}\n'])
def test_recorded_episodes_of_a_killed_run_are_there_once_and_in_order(
    tmp_path, caplog, killed_in, before
):
    files = [tmp_path / name for name in ("whole.jsonl", "killed.jsonl")]
    method = POPEConfig(group_size=2, hard_samples=2, probe_samples=1)
    for file in files:
        file.write_text(before)
    whole, killed = (
        config_of(RecordEpisodes(bare(), file), method=method, checkpoint=CheckpointConfig(every=2))
        for file in files
    )
    run_to_end(whole, tmp_path / "whole")
    with pytest.raises(KilledError):
        run_to_end(killed, tmp_path / "killed", on_row=killed_at(killed_in))
    with files[1].open("a") as file:
        file.write('{"torn')
    resumed(tmp_path / "killed")
    assert files[1].read_bytes() == files[0].read_bytes()
    assert files[0].read_text().startswith(before)
    assert files[0].read_text().count("\n") > 2 * 3 * 3
    assert f"lines of '{files[1]}' are in '{files[1]}.lost'" in caplog.text
    lost = (tmp_path / "killed.jsonl.lost").read_text()
    assert lost.endswith('{"torn')


def test_a_run_is_resumed_twice_and_appends_to_the_file_of_another(tmp_path):
    file = tmp_path / "episodes.jsonl"
    config = config_of(RecordEpisodes(bare(), file), iterations=2)
    run_to_end(config, tmp_path / "first")
    first = file.read_bytes()
    assert first.count(b"\n") == 2 * 3 * 3
    with pytest.raises(KilledError):
        run_to_end(config, tmp_path / "second", on_row=killed_at(1))
    with RunDir.open(tmp_path / "second") as run:
        session = build_session(run.config(TrainConfig))
        run.resume(0)
        with pytest.raises(KilledError):
            train(session, run, on_row=killed_at(1))
    resumed(tmp_path / "second")
    assert file.read_bytes() == first * 2


def test_an_estimate_records_no_episode_and_the_run_after_it_all_of_its_own(tmp_path):
    file = tmp_path / "episodes.jsonl"
    session = build_session(config_of(RecordEpisodes(bare(), file), iterations=1))
    estimate(session, seconds=0.1)
    assert file.read_bytes() == b""
    iterate(session)
    assert file.read_bytes().count(b"\n") == 3 * 3
