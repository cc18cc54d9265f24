"""TorchRL, a CleanRL-shaped loop and Gymnasium's own wrappers, on the same environments."""

import itertools
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import reason_env  # noqa: F401 - registers the ids

SMALL = {
    "problems": "chain",
    "levels": (1, 1),
    "granularity": "token",
    "format": "tokens",
    "max_tokens": 24,
    "max_prompt_tokens": 40,
}


def make(**changes):
    return gym.make("MathReason-v0", **(SMALL | changes))


@pytest.mark.filterwarnings("ignore")  # of torchrl and tensordict themselves, at import
def test_torchrl_s_spec_check_passes():
    envs = pytest.importorskip("torchrl.envs")
    from torchrl.envs.utils import check_env_specs

    wrapped = envs.GymWrapper(make(), categorical_action_encoding=True)
    check_env_specs(wrapped, seed=0, break_when_any_done="both")
    rollout = wrapped.rollout(30, break_when_any_done=False)
    assert rollout["action"].shape == (30,)
    assert int(rollout["next", "done"].sum()) >= 1


def test_a_cleanrl_shaped_ppo_loop_lowers_its_loss_on_vector_environments():
    envs = gym.vector.SyncVectorEnv([make] * 4, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(64, 32), nn.Tanh())
    actor, critic = nn.Linear(32, 258), nn.Linear(32, 1)
    parameters = [*body.parameters(), *actor.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    obs, _ = envs.reset(seed=1)
    done, finals = np.zeros(4), 0
    stored = []
    for _ in range(64):
        x = torch.as_tensor(obs / 257, dtype=torch.float32)
        hidden = body(x)
        distribution = torch.distributions.Categorical(logits=actor(hidden))
        action = distribution.sample()
        obs, reward, terminated, truncated, infos = envs.step(action.numpy())
        stored.append(
            (x, action, distribution.log_prob(action).detach(), reward, done, critic(hidden))
        )
        done = np.logical_or(terminated, truncated).astype(float)
        finals += int("final_info" in infos and infos["_final_info"].sum())
    assert finals >= 4  # 64 steps of episodes of at most 24 tokens, four times
    returns = torch.zeros(4)
    losses = []
    for x, action, log_prob, reward, was_done, _ in reversed(stored):
        returns = torch.as_tensor(reward, dtype=torch.float32) + 0.99 * returns * (
            1 - torch.as_tensor(was_done, dtype=torch.float32)
        )
        hidden = body(x)
        value = critic(hidden)[:, 0]
        ratio = (
            torch.distributions.Categorical(logits=actor(hidden)).log_prob(action) - log_prob
        ).exp()
        advantage = (returns - value).detach()
        surrogate = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        loss = -surrogate + 0.5 * (returns - value).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) + 1e-6


WRAPPERS = (
    lambda env: gym.wrappers.TimeLimit(env, max_episode_steps=20),
    gym.wrappers.RecordEpisodeStatistics,
    lambda env: gym.wrappers.TransformReward(env, lambda reward: reward - 0.5),
    lambda env: gym.wrappers.ClipReward(env, -1.0, 1.0),
    gym.wrappers.Autoreset,
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(WRAPPERS)), 3))[::7])
def test_gymnasium_s_own_wrappers_fit_in_any_order(order):
    env = make()
    for index in order:
        env = WRAPPERS[index](env)
    env.action_space.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(seed=0)
        for _ in range(50):
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert np.isscalar(reward)
            assert "outcome" in info
            if (terminated or truncated) and 4 not in order:
                env.reset()


def test_gymnasium_s_observation_wrappers_take_token_observations():
    for wrap in (
        gym.wrappers.FlattenObservation,
        lambda env: gym.wrappers.DtypeObservation(env, np.float32),
        lambda env: gym.wrappers.FrameStackObservation(env, 2),
    ):
        env = wrap(make())
        obs, _ = env.reset(seed=0)
        assert env.observation_space.contains(obs)


def test_gymnasium_s_own_benchmarks_run():
    from gymnasium.utils import performance

    assert performance.benchmark_step(make(), target_duration=0.2, seed=0) > 1000
    assert performance.benchmark_init(make, target_duration=0.2, seed=0) > 1
