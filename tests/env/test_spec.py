"""Every way by which a stored spec reaches the environment refuses foreign code, unimported."""

import json
import sys

import gymnasium as gym
import pytest

from reason_env.agents.runs import RunDir, config_json
from reason_env.agents.train import TrainConfig
from reason_env.cli import main
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, checked_spec
from reason_env.errors import ConfigError
from reason_env.wrappers import stack_from_file, stack_from_json

GOOD = json.loads(gym.make("MathReason-v0", problems="chain", size=2).spec.to_json())
ZEN = {"name": "Zen", "entry_point": "this:Zen", "kwargs": {}}
FOREIGN = {
    "environment": (GOOD | {"entry_point": "this:Zen"}, "of a registered environment, got 'MathR"),
    "wrapper": (GOOD | {"additional_wrappers": [ZEN]}, "must be ours or Gymnasium's, got 'Zen'"),
    "our name": (
        GOOD | {"additional_wrappers": [ZEN | {"name": "Hint"}]},
        "must be ours or Gymnasium's, got 'Hint' at 'this:Zen'",
    ),
}


def from_config(text):
    """Reads a config as `--from-config` does."""
    written = json.loads(config_json.dump(TrainConfig()))
    written["env"]["stack"] = text
    return config_json.load(TrainConfig, json.dumps(written))


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(
    "door", [checked_spec, stack_from_json, lambda text: EnvConfig(stack=text), from_config]
)
def test_a_foreign_entry_point_is_refused_and_not_imported(door, kind):
    spec, message = FOREIGN[kind]
    with pytest.raises(ConfigError, match=message):
        door(json.dumps(spec))
    assert "this" not in sys.modules


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(
    "words",
    [
        ["train", "grpo", "--env", "FILE"],
        ["train", "cpi", "--env", "FILE"],
        ["compare", "grpo", "--env", "FILE"],
        ["eval", "--stack", "TEXT"],
        ["eval", "--env", "FILE"],
        ["play", "--stack", "TEXT"],
    ],
    ids=" ".join,
)
def test_the_command_line_refuses_a_foreign_entry_point(capsys, tmp_path, words, kind):
    spec, message = FOREIGN[kind]
    text = json.dumps(spec)
    path = tmp_path / "spec.json"
    path.write_text(text)
    given = {"FILE": str(path), "TEXT": text}
    with pytest.raises(SystemExit) as stopped:
        main([given.get(word, word) for word in words])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "this" not in sys.modules
    with pytest.raises(ConfigError, match=message):
        stack_from_file(path)


def test_a_run_whose_config_was_changed_is_not_resumed(tmp_path):
    with RunDir.create(
        tmp_path / "run", TrainConfig(), command=[], device="cpu", seeds={}, problem_sets={}
    ) as run:
        path = run.path / "config.json"
        written = json.loads(path.read_text(encoding="utf-8"))
        written["env"]["stack"] = json.dumps(FOREIGN["wrapper"][0])
        path.write_text(json.dumps(written))
        with pytest.raises(ConfigError, match=FOREIGN["wrapper"][1]):
            run.config(TrainConfig)
    assert "this" not in sys.modules


def test_the_vector_environment_comes_from_the_registry_and_not_from_the_spec():
    spec = checked_spec(json.dumps(GOOD | {"vector_entry_point": "this:Zen"}))
    assert spec.vector_entry_point == "reason_env.vector_env:ReasonVectorEnv"


def test_a_spec_of_another_environment_is_no_training_environment():
    text = gym.make("ReasonTree-v0").spec.to_json()
    with pytest.raises(ConfigError, match="a spec must be of MathReason-v0, got 'ReasonTree-v0'"):
        EnvConfig(stack=text)


def test_a_spec_is_the_only_setting():
    with pytest.raises(ConfigError, match="setting of the environment, got max_tokens too;"):
        EnvConfig(stack=json.dumps(GOOD), max_tokens=64)
    assert EnvConfig(stack=json.dumps(GOOD), max_tokens=256).source == "chain"


def test_a_mistyped_argument_of_a_spec_gets_the_nearest_name():
    codec = ByteCodec()
    wrong = GOOD | {"kwargs": {"problms": "chain"}}
    with pytest.raises(ConfigError, match="ReasonEnv has no argument 'problms'; did you mean 'pro"):
        EnvConfig(stack=json.dumps(wrong)).make(codec)
    own = {
        "name": "PrefixRollin",
        "entry_point": "reason_env.wrappers.prefix_rollin:PrefixRollin",
        "kwargs": {"fractoin": [0.5, 0.5]},
    }
    spec = json.dumps(GOOD | {"additional_wrappers": [own]})
    with pytest.raises(ConfigError, match="PrefixRollin has no argument 'fractoin'; did you mean"):
        EnvConfig(stack=spec).make(codec)
    with pytest.raises(ConfigError, match="ReasonEnv has no argument 'level'; did you mean 'lev"):
        gym.make("MathReason-v0", level=(2, 2))
    with pytest.raises(ConfigError, match="ReasonEnv has no argument 'level'; did you mean 'lev"):
        gym.make_vec("MathReason-v0", num_envs=2, level=(2, 2))
