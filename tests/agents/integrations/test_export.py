"""Rows for other trainers, without the trainers."""

import json

import gymnasium as gym
import pyarrow.parquet
import pytest

from reason_env.agents.integrations.export import (
    environment_of,
    environment_text,
    verl_rows,
    write_parquet,
)
from reason_env.cli import main
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, RewardConfig, reason_env_of
from reason_env.problem import ProblemSet
from reason_env.problems import load_problems
from reason_env.state import ReasonState
from reason_env.wrappers import PrefixRollin

CODEC = ByteCodec()


def test_a_row_holds_its_problem_its_state_and_the_settings_of_its_environment():
    config = EnvConfig(
        problems="chain", size=3, levels=(2, 3), max_tokens=90, max_steps=7,
        reward=RewardConfig(truncated=-0.5), grading="math",
    )  # fmt: skip
    rows = verl_rows(config, CODEC)
    problems = load_problems("chain", split="train", size=3, levels=(2, 3))
    assert [row["extra_info"]["index"] for row in rows] == [0, 1, 2]
    for row, problem in zip(rows, problems, strict=True):
        info = row["extra_info"]
        state = ReasonState.from_json(info["state"], CODEC)
        assert state == ReasonState(problem=problem, codec=CODEC)
        assert row["reward_model"]["ground_truth"] == problem.answer
        assert (row["data_source"], row["agent_name"]) == ("chain", "reason_env")
        # Another process makes the same environment around the one problem.
        env = environment_of(info["env"]).make(CODEC, problems=ProblemSet("one", (problem,)))
        inner = reason_env_of(env)
        env.reset(options={"state": state})
        assert (inner.rules.max_tokens, inner.rules.max_steps) == (90, 7)
        assert inner.reward_config == RewardConfig(truncated=-0.5)
        assert inner.grade_options == reason_env_of(config.make(CODEC)).grade_options
        assert row["prompt"] == [{"role": "user", "content": inner.prompt.text(state)}]


def test_the_starts_of_a_stack_are_drawn_by_the_seed():
    env = gym.make(
        "MathReason-v0", problems="chain", size=8, levels=(6, 8), granularity="response",
        format="tokens",
    )  # fmt: skip
    config = EnvConfig(stack=PrefixRollin(env, fraction=(0.0, 1.0)).spec.to_json())

    def states(seed):
        return [row["extra_info"]["state"] for row in verl_rows(config, CODEC, seed=seed)]

    assert states(3) == states(3)
    assert states(3) != states(4)


def test_examples_of_the_training_problems_stay_in_a_row_s_template():
    config = EnvConfig(problems="chain", size=2, template="gsm8k-fewshot", num_examples=2)
    (row, _) = verl_rows(config, CODEC)
    kept = environment_of(row["extra_info"]["env"])
    state = ReasonState.from_json(row["extra_info"]["state"], CODEC)
    one = ProblemSet("one", (state.problem,))
    inner = reason_env_of(kept.make(CODEC, problems=one))
    assert inner.prompt.text(state) == reason_env_of(config.make(CODEC)).prompt.text(state)
    assert environment_text(kept.resolved(CODEC)) == row["extra_info"]["env"]


def test_the_command_writes_the_rows(tmp_path, capsys):
    path = tmp_path / "data" / "test.parquet"
    main(
        ["export", "verl", "--problems", "chain", "--split", "test", "--size", "4",
         "--evaluation", "True", "--out", str(path)]
    )  # fmt: skip
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert rows == verl_rows(
        EnvConfig(problems="chain", split="test", size=4), CODEC, agent_loop="reason_env_evaluation"
    )
    assert {json.loads(row["extra_info"]["state"])["problem"]["problem_id"] for row in rows} == {
        f"chain/test/{number}" for number in range(4)
    }
    assert "4 problems for the agent loop reason_env_evaluation" in capsys.readouterr().out


def test_another_trainer_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", "trl"])
    assert ended.value.code == 2
    assert "export must name a trainer, verl; for example" in capsys.readouterr().err


def test_a_file_is_written_as_it_was_given(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "1+1=?"}], "extra_info": {"index": 0}}]
    write_parquet(rows, tmp_path / "one.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "one.parquet").to_pylist() == rows
