"""Every way by which a stored spec reaches the environment refuses foreign code, unimported."""

import json
import sys

import gymnasium as gym
import pytest

from reason_env.agents.runs import RunDir, config_json
from reason_env.agents.train import TrainConfig
from reason_env.check.suite import check_env_id
from reason_env.cli import main
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, checked_spec, trust_module
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


STOCK = "gymnasium.wrappers.common:TimeLimit"
BROKEN = {
    "a name that is no wrapper of gymnasium": (
        {"entry_point": "gymnasium.wrappers.common:logger"},
        r"got 'X' at 'gymnasium.wrappers.common:logger'; gymnasium.wrappers has no such class",
    ),
    "a module that gymnasium lacks": (
        {"entry_point": "gymnasium.wrappers.none:X"},
        r"at 'gymnasium.wrappers.none:X'; gymnasium.wrappers has no such class",
    ),
    "no entry point": ({"entry_point": None}, "must be ours or Gymnasium's, got 'X' at None"),
    "a list as name": ({"name": ["Hint"]}, r"must be ours or Gymnasium's, got \['Hint'\] at"),
    "no recorded arguments": (
        {"entry_point": STOCK, "kwargs": None},
        "must hold the arguments of its wrapper 'X', got None",
    ),
    "another argument": (
        {"entry_point": STOCK, "kwargs": {"max_steps": 2}},
        "TimeLimit has no argument 'max_steps'",
    ),
    "an argument of another type": (
        {"entry_point": STOCK, "kwargs": {"max_episode_steps": "many"}},
        "a spec must describe a stack that can be built, got ",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_spec_with_a_broken_wrapper_is_refused_in_one_line(kind):
    changes, message = BROKEN[kind]
    wrapper = {"name": "X", "entry_point": "x:X", "kwargs": {}} | changes
    text = json.dumps(GOOD | {"additional_wrappers": [wrapper]})
    with pytest.raises(ConfigError, match=message):
        stack_from_json(text)


def test_every_wrapper_of_gymnasium_that_needs_no_other_package_is_on_the_list():
    from reason_env.env.spec import STOCK as LISTED

    assert STOCK in LISTED
    names = {entry.partition(":")[2] for entry in LISTED}
    assert {"TransformReward", "RecordEpisodeStatistics", "TimeLimit", "RescaleAction"} <= names
    assert all(entry.startswith("gymnasium.wrappers.") for entry in LISTED)


def test_a_module_is_trusted_only_by_an_explicit_call(tmp_path, monkeypatch):
    (tmp_path / "own_trust.py").write_text(
        "import gymnasium as gym\n"
        "from reason_env.wrappers import StartWrapper\n"
        "class Own(StartWrapper):\n"
        "    def start(self, state, rng):\n"
        "        return state\n"
        "no_wrapper = print\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def text(attribute):
        own = {"name": "Own", "entry_point": f"own_trust:{attribute}", "kwargs": {}}
        return json.dumps(GOOD | {"additional_wrappers": [own]})

    with pytest.raises(ConfigError, match=r"is your own, trust its module: --trust own_trust, or"):
        checked_spec(text("Own"))
    assert "own_trust" not in sys.modules
    trust_module("own_trust")
    assert type(stack_from_json(text("Own"))).__name__ == "Own"
    for attribute, message in (
        ("no_wrapper", "must be a class of gymnasium.Wrapper, got 'own_trust:no_wrapper'"),
        ("Missing", "wrapper 'Own' must exist, got none"),
        ("gym.Wrapper", "must be ours or Gymnasium's"),
    ):
        with pytest.raises(ConfigError, match=message):
            stack_from_json(text(attribute))
    with pytest.raises(ConfigError, match=r"must be importable, got 'own_trus': ModuleNotFound"):
        trust_module("own_trus")
    with pytest.raises(ConfigError, match=r"must be named as in `import`, got 'own/trust.py'"):
        trust_module("own/trust.py")


def test_check_imports_no_module_that_is_not_trusted():
    with pytest.raises(ConfigError, match=r"got 'this:Zen-v0', which imports 'this'; if it is"):
        check_env_id("this:Zen-v0")
    assert "this" not in sys.modules


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
