"""Files of version 0.1 still load and continue: runs, configs, specs, snapshots, import paths."""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

from reason_env import ReasonState, restore
from reason_env.agents.compare import CompareConfig
from reason_env.agents.methods import RRPOConfig, parts_of
from reason_env.agents.runs import RunDir, config_json, latest_checkpoint
from reason_env.agents.train import TrainConfig, build_session, train
from reason_env.errors import ConfigError
from reason_env.moved import MOVED
from reason_env.wrappers import stack_from_json

WRITTEN = Path(__file__).parent / "fixtures" / "first_house"
STACKS = ("stack", "curriculum", "tabular")


def test_a_run_killed_in_its_second_iteration_ends_as_the_uninterrupted_one(tmp_path):
    path = tmp_path / "run"
    shutil.copytree(WRITTEN / "run", path)
    with RunDir.open(path) as run:
        session = build_session(run.config(TrainConfig), checkpoint=latest_checkpoint(run))
        run.resume(session.iteration)
        rows = train(session, run)
    lines = (WRITTEN / "metrics_to_the_end.jsonl").read_text(encoding="utf-8").splitlines()
    expected = [json.loads(line) for line in lines]
    assert len(rows) == len(expected) == 4
    for row, known in zip(rows, expected, strict=True):
        for name, value in known.items():
            near = value if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)
            assert row[name] == near, name


@pytest.mark.parametrize("path", sorted((WRITTEN / "configs").iterdir()), ids=lambda p: p.stem)
def test_a_config_of_version_0_1_is_read(path):
    config = config_json.load(TrainConfig, path.read_text(encoding="utf-8"))
    assert config.name == path.stem
    assert config.seed == 3
    if config.cpi is not None:
        assert config.cpi.step_size == 0.375
    for part in parts_of(config.method):
        if isinstance(part, RRPOConfig):
            assert (part.source_choice, part.tries_per_round) == ("extra", 3)


def test_the_precision_of_version_0_1_is_read_unless_its_weights_were_in_half_precision():
    written = json.loads((WRITTEN / "configs" / "srpo.json").read_text(encoding="utf-8"))
    assert written["dtype"] == "float32"
    assert config_json.load(TrainConfig, json.dumps(written)).precision == "float32"
    for dtype in ("bfloat16", "float16"):
        with pytest.raises(
            ConfigError,
            match=rf"got '{dtype}', in which .* cannot be resumed: .* --model RUN/checkpoints/",
        ):
            config_json.load(TrainConfig, json.dumps(written | {"dtype": dtype}))


def test_the_comparison_config_of_version_0_1_is_read():
    config = config_json.load(CompareConfig, (WRITTEN / "compare.json").read_text("utf-8"))
    assert list(config.arms) == ["grpo", "srpo+lte:lte.gamma=0.2"]
    assert config.num_seeds == 3


@pytest.mark.parametrize("name", STACKS)
def test_a_snapshot_of_a_stack_made_from_its_spec_continues_as_it_did(name):
    written = json.loads((WRITTEN / f"{name}.json").read_text(encoding="utf-8"))
    env = stack_from_json(written["spec"])
    env.reset(seed=0)
    restore(env, written["snapshot"])
    is_over = written["is_over"]
    for action, seen in zip(written["actions"], written["seen"], strict=True):
        if action is None or is_over:
            obs, _ = env.reset()
            # An episode that a `None` abandons leaves the flag as it is, as in the written run.
            is_over = is_over and action is None
            assert plain(obs) == seen["obs"]
        else:
            obs, reward, terminated, truncated, _ = env.step(action)
            is_over = terminated or truncated
            found = {"reward": reward, "terminated": terminated, "truncated": truncated}
            assert {"obs": plain(obs)} | found == seen


def plain(obs):
    if isinstance(obs, dict):
        return {name: plain(value) for name, value in obs.items()}
    return obs.item() if hasattr(obs, "item") else obs


def test_a_saved_state_is_read_with_an_equal_state_id():
    state = ReasonState.from_json((WRITTEN / "state.json").read_text(encoding="utf-8"))
    assert state.state_id == (WRITTEN / "state_id.txt").read_text(encoding="utf-8").strip()
    env = gym.make("MathReason-v0", problems="chain", split="test", size=3, levels=(2, 2))
    env.reset(options={"state": state})
    assert env.unwrapped.state.text == "A:1\n"


@pytest.mark.parametrize("old", MOVED)
def test_an_old_import_path_is_the_module_at_its_new_place(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        module = import_module(old)
    assert module is import_module(MOVED[old])
    assert module.__spec__.name == MOVED[old]
