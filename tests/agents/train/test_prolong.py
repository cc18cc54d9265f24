"""A run that is prolonged equals a run that was planned for as long from the start."""

import json
from dataclasses import replace

import pytest
import torch

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.runs import CheckpointConfig, RunDir, config_json, latest_checkpoint
from reason_env.agents.train import (
    Limits,
    TrainConfig,
    build_session,
    progress_of,
    prolonged,
    train,
)
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

SMALL = TrainConfig(
    method=GRPOConfig(group_size=4),
    env=EnvConfig(levels=(3, 3), max_tokens=48),
    eval=EvalConfig(num_problems=4, samples=2, k=2, greedy=False),
    checkpoint=CheckpointConfig(every=1, keep_last=1),
    iterations=1,
    problems_per_iteration=4,
)


def run_to_end(config, path, **options):
    session = build_session(config)
    with RunDir.create(path, config, command=["test"]) as run:
        train(session, run, **options)
    return session


def continued(path, limits, **options):
    with RunDir.open(path) as run:
        config = prolonged(run.config(TrainConfig), limits, run.read_metrics())
        session = build_session(config, checkpoint=latest_checkpoint(run))
        run.resume(session.iteration, command=["test", "--resume"], config=config)
        rows = train(session, run, **options)
    return session, rows


def test_a_prolonged_run_has_the_weights_and_metrics_of_one_planned_for_as_long(tmp_path):
    whole = run_to_end(replace(SMALL, iterations=3), tmp_path / "whole")
    run_to_end(SMALL, tmp_path / "short")
    session, rows = continued(tmp_path / "short", Limits(iterations=2))
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    session, rows = continued(tmp_path / "short", Limits(iterations=3))
    for name, value in whole.policy.model.state_dict().items():
        assert torch.equal(value, session.policy.model.state_dict()[name]), name
    with RunDir.open(tmp_path / "whole") as run:
        expected = run.read_metrics()
    ends = ("time/", "eval/")
    for row, other in zip(rows, expected, strict=True):
        # Only where the short runs ended is there an evaluation more.
        assert ("eval/pass_at_1" in row) == (row["iteration"] in (0, 1, 2, 3))
        kept = [{k: v for k, v in item.items() if not k.startswith(ends)} for item in (row, other)]
        assert kept[0] == kept[1]
    assert rows[-1]["eval/pass_at_1"] == expected[-1]["eval/pass_at_1"]
    config = config_json.load(TrainConfig, (tmp_path / "short" / "config.json").read_text())
    assert (config.iterations, config.prolonged_from) == (3, (1, 2))
    facts = json.loads((tmp_path / "short" / "provenance.json").read_text())
    assert [item["changed"]["iterations"] for item in facts["resumed"]] == [[1, 2], [2, 3]]


def test_a_run_that_the_time_ended_goes_on_and_one_that_its_budget_ended_is_over(tmp_path):
    config = replace(SMALL, iterations=3, max_minutes=1.0)
    session = run_to_end(config, tmp_path / "timed", deadline=0.0)
    assert (session.iteration, session.is_over) == (1, False)
    session, _ = continued(tmp_path / "timed", Limits(), deadline=None)
    assert (session.iteration, session.is_over) == (3, True)
    config = replace(SMALL, iterations=3, max_generated_tokens=16)
    session = run_to_end(config, tmp_path / "spent")
    assert (session.iteration, session.is_over) == (1, True)
    spent = session.sampled_tokens_total
    with pytest.raises(ConfigError, match=f"must be more than the {spent} that were generated"):
        continued(tmp_path / "spent", Limits(max_generated_tokens=spent))
    session, _ = continued(tmp_path / "spent", Limits(max_generated_tokens=spent + 1))
    assert (session.iteration, session.config.prolonged_from) == (2, ())


def test_a_limit_that_leaves_nothing_to_run_is_refused():
    rows = [{"iteration": 0}, {"iteration": 5, "rollout/sampled_tokens_total": 900}]
    config = TrainConfig(iterations=5)
    with pytest.raises(
        ConfigError, match="iterations must be more than the 5 that have run, got 4"
    ):
        prolonged(config, Limits(iterations=4), rows)
    with pytest.raises(
        ConfigError, match="iterations must be more than the 5 that have run, got 5"
    ):
        prolonged(TrainConfig(iterations=9), Limits(iterations=5), rows)
    assert prolonged(config, Limits(iterations=5), rows) == config
    assert prolonged(config, Limits(iterations=6), rows).prolonged_from == (5,)
    assert prolonged(config, Limits(max_minutes=2.0), rows) == replace(config, max_minutes=2.0)
    with pytest.raises(ConfigError, match="max_generated_tokens must be more than the 900"):
        prolonged(config, Limits(max_generated_tokens=900), rows)


def test_tokens_of_the_preparation_count_before_the_first_iteration():
    assert progress_of([]) == (0, 0)
    assert progress_of([{"iteration": 0, "rollout/preparation_tokens": 70}]) == (0, 70)
