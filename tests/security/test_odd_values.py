"""Values that broke a reader or its one line: found by benchmarks.security.fuzz."""

import json

import pytest

from reason_env import ByteCodec, ReasonState
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.runs import config_json
from reason_env.agents.train import TrainConfig
from reason_env.agents.train.evaluation_cache import read_entry
from reason_env.errors import ConfigError, ProblemError, ReasonEnvError
from reason_env.problem import Problem
from reason_env.problems import load_problems

NAME = "questio\nn"


def test_a_field_s_name_with_a_line_end_keeps_the_message_on_one_line(tmp_path):
    problem = Problem(problem_id="a/train/0", question="1+1", answer="2")
    data = json.loads(ReasonState(problem=problem, codec=ByteCodec()).to_json())
    data["problem"][NAME] = data["problem"].pop("question")
    with pytest.raises(ReasonEnvError, match="a problem must be a dict") as told:
        ReasonState.from_json(json.dumps(data))
    assert "\n" not in str(told.value)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"a\nb": "1+1", "answer": "2"}) + "\n")
    with pytest.raises(ProblemError, match="must have a column 'question'") as told:
        load_problems(str(file))
    assert "\n" not in str(told.value)
    with pytest.raises(ConfigError, match="unknown key 'config") as told:
        config_json.load(TrainConfig, json.dumps({NAME: 1}))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("number", [10**30, 10**400])
def test_integers_beyond_any_float_are_read_or_refused(number):
    text = json.loads(config_json.dump(TrainConfig()))
    text["learner"]["max_grad_norm"] = number
    if number < 10**300:
        assert config_json.load(TrainConfig, json.dumps(text)).learner.max_grad_norm == 1e30
        assert LearnerConfig(max_grad_norm=number).max_grad_norm == number
        return
    with pytest.raises(ConfigError, match="max_grad_norm"):
        config_json.load(TrainConfig, json.dumps(text))


def test_a_cached_evaluation_that_is_too_deep_is_refused(tmp_path):
    path = tmp_path / "entry.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="a cached evaluation must be unchanged"):
        read_entry(path)
