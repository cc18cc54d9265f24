import json
from dataclasses import replace

import pytest

from reason_env.agents.compare import (
    CompareConfig,
    Comparison,
    arms_of,
    run_here,
    shared_settings,
)
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.runs import CheckpointConfig, locked
from reason_env.agents.train import loop
from reason_env.env import EnvConfig

ARMS = ("grpo", "rrpo:learner.learning_rate=1e-3")
FILES = ("metrics.jsonl", "config.json")


def make(path, arms=ARMS, **changes):
    shared = replace(
        shared_settings(),
        env=EnvConfig(size=4, max_tokens=48),
        eval=EvalConfig(num_problems=3, samples=2, k=2, greedy=False),
        checkpoint=CheckpointConfig(every=1, keep_last=1),
        problems_per_iteration=2,
        episodes_per_iteration=0,
    )
    settings = {"sources": ("mix:chain@1-2",), "num_seeds": 1, "budget": 900} | changes
    return Comparison.open_or_create(path, CompareConfig(arms=arms_of(arms, shared), **settings))


def contents(comparison):
    return {
        (run.arm, run.seed, name): (run.path / name)
        .read_text()
        .replace(str(comparison.path), "HERE")
        for run in comparison.runs
        for name in FILES
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    comparison = make(tmp_path_factory.mktemp("here") / "cmp")
    ended = []
    run_here([comparison], on_end=lambda run, status: ended.append((run.arm, status)))
    return comparison, ended


def test_runs_of_one_process_end_one_after_the_other_and_are_not_run_again(whole):
    comparison, ended = whole
    arms = [run.arm for run in comparison.runs]
    assert ended == [(arm, "finished") for arm in arms]
    for run in comparison.runs:
        assert run.is_finished
        assert run.metrics()[-1]["rollout/sampled_tokens_total"] >= 900
        words = json.loads((run.path / "provenance.json").read_text())["command"]
        assert words[:4] == ["reason-env", "train", run.arm.partition(":")[0], "--from-config"]
    again = []
    run_here([Comparison.open(comparison.path)], on_end=lambda run, status: again.append(run))
    assert again == []


def test_a_run_does_not_depend_on_the_runs_before_it(whole, tmp_path):
    comparison, _ = whole
    other = make(tmp_path / "cmp", arms=tuple(reversed(ARMS)))
    run_here([other])
    assert contents(other) == contents(comparison)


def test_a_run_that_was_interrupted_goes_on_from_its_checkpoint(whole, tmp_path, monkeypatch):
    comparison, _ = whole
    killed = make(tmp_path / "cmp")
    write = loop._write

    def stop_after_two(run, iteration, metrics, on_row):
        write(run, iteration, metrics, on_row)
        if iteration == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_write", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        run_here([killed])
    monkeypatch.undo()
    assert [run.end for run in killed.runs] == [None, None]
    run_here([killed])
    facts = [json.loads((run.path / "provenance.json").read_text()) for run in killed.runs]
    assert [len(own["resumed"]) for own in facts] == [1, 0]
    assert contents(killed) == contents(comparison)


def test_a_run_that_another_process_holds_is_left_to_it(tmp_path):
    comparison = make(tmp_path / "cmp", arms=("grpo",))
    (run,) = comparison.runs
    run.folder.mkdir(parents=True)
    ended = []
    with locked(run.lock) as handle:
        assert handle is not None
        run_here([comparison], on_end=lambda run, status: ended.append(run))
    assert ended == []
    assert not run.is_finished


def test_a_run_that_its_settings_end_is_recorded_as_failed_and_the_next_one_starts(tmp_path):
    # 200 tokens hold an iteration, but not POPE's search.
    arms = ("pope:problems_per_iteration=1", "grpo:problems_per_iteration=1")
    comparison = make(tmp_path / "cmp", arms=arms, budget=200)
    ended = []
    run_here([comparison], on_end=lambda run, status: ended.append(status))
    assert ended == ["failed", "finished"]
    failed = comparison.runs[0]
    assert failed.end == {"status": "failed", "exit_status": 1}
    assert "max_generated_tokens must hold an iteration and what comes" in failed.log_tail()
