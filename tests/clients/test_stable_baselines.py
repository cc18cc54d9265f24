"""Stable-Baselines3 and sb3-contrib on the token-level environment."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

import reason_env  # noqa: F401 - registers the ids
from reason_env.errors import ActionError

sb3 = pytest.importorskip("stable_baselines3", reason="pip install 'reason-env[sb3]'")
contrib = pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

SMALL = {
    "problems": "chain",
    "levels": (1, 1),
    "granularity": "token",
    "format": "tokens",
    "max_tokens": 24,
    "max_prompt_tokens": 40,
}


def make():
    return gym.make("MathReason-v0", **SMALL)


def test_the_stable_baselines_checker_finds_nothing():
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make().unwrapped, warn=True, skip_render_check=True)


@pytest.mark.parametrize("kind", ["DummyVecEnv", "SubprocVecEnv"])
def test_stable_baselines_vector_environments_run_ours(kind):
    from stable_baselines3.common import vec_env
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env(make, n_envs=2, seed=3, vec_env_cls=getattr(vec_env, kind))
    first = envs.reset()
    assert first.shape == (2, 64)
    ends = 0
    for _ in range(60):
        _, rewards, dones, infos = envs.step(np.array([ord("A"), 257]))
        assert rewards.tolist() == [0.0, 0.0]
        assert [info["outcome"] for info in infos][1] == "no_answer"
        ends += int(dones[0])
    envs.close()
    assert ends == 2  # 60 steps of episodes that 24 tokens truncate


@pytest.mark.filterwarnings("ignore::UserWarning")  # gymnasium says that there are no pictures
def test_make_vec_env_accepts_our_id_although_it_asks_for_rgb_arrays_first():
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("MathReason-v0", n_envs=1, env_kwargs=SMALL)
    assert envs.reset().shape == (1, 64)
    envs.close()


def test_ppo_learns_for_two_thousand_steps():
    from stable_baselines3.common.env_util import make_vec_env

    model = sb3.PPO(
        "MlpPolicy", make_vec_env(make, n_envs=4, seed=0), n_steps=64, batch_size=64, seed=0
    )
    model.learn(2000)
    assert model.num_timesteps >= 2000
    action, _ = model.predict(make().reset(seed=1)[0])
    assert 0 <= int(action) < 258


def test_maskable_ppo_never_samples_padding():
    env = make()
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=32, seed=0)
    model.learn(256, use_masking=True)
    obs, _ = env.reset(seed=2)
    masks = env.unwrapped.action_masks()
    assert masks.sum() == 257
    said = [int(model.predict(obs, action_masks=masks)[0]) for _ in range(300)]
    assert 256 not in said


def test_recurrent_ppo_runs():
    model = contrib.RecurrentPPO("MlpLstmPolicy", make(), n_steps=32, batch_size=32, seed=0)
    model.learn(64)
    assert model.num_timesteps == 64


def test_masks_of_text_actions_are_refused():
    env = gym.make("MathReason-v0", levels=(1, 1))
    with pytest.raises(ActionError, match="must have single ids as actions, got 'step' in 'text'"):
        env.unwrapped.action_masks()


@pytest.mark.parametrize("kind", ["reset", "rollin"])
def test_ppo_learns_on_a_small_mdp_with_our_starts(kind):
    from stable_baselines3.common.env_util import make_vec_env

    from reason_env.wrappers import TabularPrefixRollin, TabularResetToState

    def tree():
        env = gym.make("ReasonTree-v0", num_steps=2, critical_rate=0.0)
        if kind == "reset":
            return TabularResetToState(env, [4], keep="failures", probability=0.5)
        return TabularPrefixRollin(env, steps=1)

    envs = make_vec_env(tree, n_envs=2, seed=0)
    starts = {int(state) for _ in range(10) for state in envs.reset()}
    assert starts == ({0, 4} if kind == "reset" else {4})
    model = sb3.PPO("MlpPolicy", envs, n_steps=32, batch_size=64, seed=0, device="cpu")
    model.learn(128)
    assert model.num_timesteps == 128
