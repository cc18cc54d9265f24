"""The native vector environment as a `VecEnv`, against `DummyVecEnv`."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

import reason_env  # noqa: F401 - registers the ids
from reason_env.errors import ConfigError, StateError
from reason_env.vector_env import ReasonVectorEnv

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from reason_env.agents.sb3 import TokenVecEnv

SMALL = {"problems": "chain", "levels": (1, 1), "max_tokens": 24, "max_prompt_tokens": 40}
SINGLE = SMALL | {"granularity": "token", "format": "tokens"}


def make_one():
    return gym.make("MathReason-v0", **SINGLE)


def reference_actions(states):
    """The next token of the reference solution where there is one, else the end token."""
    found = []
    for state in states:
        text = f"{state.problem.solution[0]}\n#### {state.problem.answer}\n".encode()
        rest = (*text, 257)[len(state.response) :]
        found.append(rest[0] if rest else 257)
    return np.array(found)


def test_it_equals_dummy_vec_env_step_for_step():
    ours, theirs = TokenVecEnv.make(3, **SMALL), DummyVecEnv([make_one] * 3)
    for envs in (ours, theirs):
        envs.seed(7)
    assert np.array_equal(ours.reset(), theirs.reset())
    assert ours.reset_infos == theirs.reset_infos
    rng = np.random.default_rng(0)
    ends, wins = 0, 0
    for step in range(150):
        actions = reference_actions(ours.get_attr("state"))
        if step % 40 > 20:
            actions = np.where(rng.random(3) < 0.9, rng.integers(32, 127, 3), 257)
        ids, rewards, dones, infos = ours.step(actions)
        other_ids, other_rewards, other_dones, other_infos = theirs.step(actions)
        assert np.array_equal(ids, other_ids)
        assert (rewards.dtype, rewards.tolist()) == (np.float32, other_rewards.tolist())
        assert dones.tolist() == other_dones.tolist()
        for done, info, other in zip(dones, infos, other_infos, strict=True):
            assert (info.pop("is_success", None) == other["success"]) == done
            last, other_last = (one.pop("terminal_observation", None) for one in (info, other))
            assert (last is None) == (other_last is None) == (not done)
            assert not done or np.array_equal(last, other_last)
            assert info == other
        assert ours.reset_infos == theirs.reset_infos
        ends, wins = ends + int(dones.sum()), wins + int(rewards.sum())
    assert ends > 12
    assert wins > 3


def test_a_budget_that_ends_an_episode_is_a_truncation():
    envs = TokenVecEnv.make(2, **SMALL)
    envs.reset()
    for _ in range(23):
        _, _, dones, infos = envs.step(np.array([65, 65]))
        assert not dones.any()
    first = envs.get_attr("state")[0].problem.problem_id
    _, _, dones, infos = envs.step(np.array([65, 257]))
    assert dones.tolist() == [True, True]
    assert [info["TimeLimit.truncated"] for info in infos] == [True, False]
    assert [info["outcome"] for info in infos] == ["truncated", "no_answer"]
    assert infos[0]["problem_id"] == first
    assert (infos[0]["terminal_observation"] == 65).sum() == 24
    assert [state.response for state in envs.get_attr("state")] == [(), ()]


def test_all_episodes_start_from_one_state():
    envs = TokenVecEnv.make(4, **SMALL)
    envs.seed(1)
    envs.reset()
    for _ in range(3):
        ids, *_ = envs.step(np.array([65, 66, 67, 68]))
    state = envs.get_attr("state", indices=[2])[0]
    envs.set_options({"state": state})
    assert np.array_equal(envs.reset(), np.stack([ids[2]] * 4))
    assert envs.get_attr("state") == [state] * 4
    assert [info["num_tokens"] for info in envs.reset_infos] == [3] * 4
    assert not np.array_equal(envs.reset(), np.stack([ids[2]] * 4))  # options count once


def test_each_episode_may_have_its_own_start():
    envs = TokenVecEnv.make(3, **SMALL)
    envs.set_options([{}, {"problem": "chain/train/5"}, {"problem": "chain/train/2"}])
    envs.seed(3)
    envs.reset()
    names = [state.problem.problem_id for state in envs.get_attr("state")]
    assert names[1:] == ["chain/train/5", "chain/train/2"]
    envs.seed(3)
    first = envs.reset()
    assert envs.get_attr("state")[0].problem.problem_id == names[0]
    assert not np.array_equal(envs.reset(), first)  # seeds count once


def test_a_state_is_set_in_one_episode():
    envs = TokenVecEnv.make(3, **SMALL)
    envs.seed(0)
    envs.reset()
    ids, *_ = envs.step(np.array([65, 66, 67]))
    (state,) = envs.env_method("get_state", indices=1)
    assert state.text == "B"
    found = envs.env_method("set_state", state, indices=[0, 2])
    assert np.array_equal(found, [ids[1], ids[1]])
    assert envs.get_attr("state") == [state] * 3


def test_starts_act_at_automatic_resets_too_and_a_given_state_wins():
    def begun(state):
        return state.extend((65,), "reference")

    envs = TokenVecEnv.make(2, starts=(begun, begun), **SMALL)
    envs.reset()
    assert [state.text for state in envs.get_attr("state")] == ["AA", "AA"]
    plain = envs.get_attr("state")[0].cut(0)
    envs.step(np.array([257, 66]))
    assert [state.text for state in envs.get_attr("state")] == ["AA", "AAB"]
    envs.set_options([{"state": plain}, {}])
    envs.reset()
    assert [state.text for state in envs.get_attr("state")] == ["", "AA"]


def test_masks_are_those_of_the_environment():
    envs = TokenVecEnv.make(2, **SMALL)
    assert is_masking_supported(envs)
    masks = get_action_masks(envs)
    assert masks.shape == (2, 258)
    assert np.flatnonzero(~masks[0]).tolist() == [256]
    (mask,) = envs.env_method("action_masks", indices=0)
    mask[:] = False
    assert get_action_masks(envs).sum() == 514


def test_attributes_are_those_of_the_list():
    envs = TokenVecEnv.make(2, **SMALL)
    assert envs.get_attr("rules", indices=1)[0].max_tokens == 24
    assert envs.get_attr("render_mode") == [None, None]
    assert not envs.has_attr("np_random")
    with pytest.raises(AttributeError, match="an episode has the attributes state, action_space"):
        envs.get_attr("np_random")
    with pytest.raises(AttributeError, match=r"an episode has the methods .*, got 'step'"):
        envs.env_method("step", 65)
    with pytest.raises(ConfigError, match="attributes must be set when the environments are made"):
        envs.set_attr("rules", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"autoreset_mode": "SameStep"}, "must be 'Disabled', got 'SameStep'"),
        ({"autoreset_mode": "Disabled", "copy": False}, "must return copies, got copy=False"),
    ],
)
def test_other_vector_environments_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TokenVecEnv(ReasonVectorEnv(2, **SMALL, **changes))


def test_wrong_options_are_refused():
    envs = TokenVecEnv.make(2, **SMALL)
    envs.reset()
    with pytest.raises(ConfigError, match="one dict for each of the 2 episodes, got 1"):
        envs.set_options([{}])
    for wrong in ({"starts": ()}, {"state": envs.get_attr("state")[0], "problem": "x"}):
        envs.set_options(wrong)
        with pytest.raises(ConfigError, match="options of an episode must be one of state or prob"):
            envs.reset()
    envs.set_options({"state": "no state"})
    with pytest.raises(StateError):
        envs.reset()


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_algorithms_wrappers_evaluation_and_callbacks_work_unchanged(tmp_path):
    check_env(make_one().unwrapped, skip_render_check=True)
    envs = VecNormalize(VecMonitor(TokenVecEnv.make(4, **SMALL)), norm_obs=False)
    eval_envs = VecNormalize(
        VecMonitor(TokenVecEnv.make(2, **SMALL)), norm_obs=False, training=False
    )
    callback = EvalCallback(
        eval_envs, n_eval_episodes=4, eval_freq=32, log_path=str(tmp_path), verbose=0
    )
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(256, callback=callback)
    written = np.load(tmp_path / "evaluations.npz")
    assert written["timesteps"].tolist() == [128, 256]
    assert written["successes"].shape == (2, 4)
    assert {episode["l"] for episode in model.ep_info_buffer} <= set(range(1, 25))
    for envs in (TokenVecEnv.make(2, **SMALL), Monitor(make_one())):
        mean, _ = evaluate_policy(model, envs, n_eval_episodes=3)
        assert mean == 0.0
    model.save(tmp_path / "ppo.zip")
    again = PPO.load(tmp_path / "ppo.zip", env=TokenVecEnv.make(4, **SMALL), device="cpu")
    ids = make_one().reset(seed=1)[0]
    assert model.predict(ids, deterministic=True)[0] == again.predict(ids, deterministic=True)[0]
    again.learn(128)


def test_maskable_ppo_and_a2c_learn_on_it():
    envs = TokenVecEnv.make(2, **SMALL)
    model = MaskablePPO("MlpPolicy", envs, n_steps=32, batch_size=32, n_epochs=1, device="cpu")
    model.learn(64)
    assert (model.rollout_buffer.actions != 256).all()
    assert A2C("MlpPolicy", envs, device="cpu").learn(20).num_timesteps == 20


def test_without_the_extra_a_line_says_what_to_install():
    program = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "sb3_contrib" else found(name)
import reason_env.agents.sb3
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "reason_env.errors.ConfigError: agents of Stable-Baselines3 must have stable_baselines3 "
        "and sb3_contrib installed, got no sb3_contrib; install the extra: "
        "pip install 'reason-env[sb3]'"
    )


def test_importing_the_core_and_the_command_line_loads_no_stable_baselines():
    program = "import sys, reason_env, reason_env.cli; print('stable_baselines3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n"


def test_masks_of_states_narrow_those_of_the_environment():
    def digits_first(state):
        mask = np.ones(258, dtype=np.bool_)
        if not state.response:
            mask[:] = False
            mask[[*b"0123456789", 256]] = True
        return mask

    envs = TokenVecEnv.make(
        2, masks=digits_first, levels=(1, 1), size=6, max_tokens=24, max_prompt_tokens=40
    )
    envs.seed(0)
    envs.reset()
    assert get_action_masks(envs).sum(axis=1).tolist() == [10, 10]  # padding stays excluded
    envs.step(np.array([*b"7", 257]))
    assert get_action_masks(envs).sum(axis=1).tolist() == [257, 10]


def test_masks_without_any_id_are_refused():
    envs = TokenVecEnv.make(
        1,
        masks=lambda state: np.zeros(258, dtype=np.bool_),
        levels=(1, 1),
        size=6,
        max_tokens=24,
        max_prompt_tokens=40,
    )
    envs.reset()
    with pytest.raises(ConfigError, match="must allow an id in every open state, got none after"):
        envs.env_method("action_masks")
