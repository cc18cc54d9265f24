"""Start wrappers under Stable-Baselines3: they act at automatic resets, and start whole groups."""

import gymnasium as gym
import numpy as np
import pytest

import reason_env  # noqa: F401 - registers the ids
from reason_env.wrappers import PrefixRollin, ResetToState

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from reason_env.agents.sb3 import GRPO, TokenPolicy, reset_groups


def make(levels=(3, 3), size=None):
    return gym.make(
        "MathReason-v0",
        problems="chain",
        levels=levels,
        size=size,
        granularity="token",
        format="tokens",
        max_tokens=64,
        max_prompt_tokens=64,
    )


def test_prefixes_begin_every_episode_of_several_environments():
    envs = DummyVecEnv([lambda: PrefixRollin(make(), steps=2)] * 2)
    envs.reset()
    for _ in range(3):
        for state in envs.get_attr("state"):
            assert [step.rstrip() for step in state.steps] == list(state.problem.solution[:2])
            assert set(state.sources) == {"reference"}
        envs.step(np.array([257, 257]))  # both episodes end: automatic resets


def test_the_policy_s_own_failures_become_starts():
    envs = DummyVecEnv([lambda: ResetToState(make(size=1), keep="failures", cut=1)] * 2)
    envs.reset()
    failure = b"A:0+0 x=0\nB:0+0 x=0\n#### 000\n"
    for token in failure:
        _, _, dones, infos = envs.step(np.array([token, 65]))
    assert dones.tolist() == [True, False]
    assert infos[0]["outcome"] == "incorrect"
    first, second = envs.get_attr("state")
    assert first.text == "A:0+0 x=0\n"
    assert second.text == "A" * len(failure)  # its own episode goes on: archives are not shared


@pytest.mark.parametrize("kind", ["prefix", "failures"])
def test_groups_start_where_the_wrapper_of_their_first_environment_starts(kind):
    def wrapped():
        if kind == "prefix":
            return PrefixRollin(make(), steps=(0, 2))
        return ResetToState(make(size=1), keep="failures", cut=1)

    envs = make_vec_env(wrapped, n_envs=4, seed=0)
    seen = set()
    for _ in range(6):
        ids = reset_groups(envs, 2)
        for one, other in ((0, 1), (2, 3)):
            assert np.array_equal(ids[one], ids[other])
            seen.add(envs.get_attr("state", indices=[one])[0].num_steps)
        for token in b"A:0+0 x=0\n#### 1\n":
            envs.step(np.full(4, token))
    assert seen == ({0, 1, 2} if kind == "prefix" else {0, 1})


def test_grpo_trains_on_groups_with_prefixes():
    envs = make_vec_env(lambda: PrefixRollin(make((2, 2)), steps=1), n_envs=4, seed=0)
    model = GRPO(TokenPolicy, envs, n_steps=40, group_size=4, n_epochs=1, device="cpu", seed=0)
    model.learn(100)
    assert len(model.ep_info_buffer) >= 4
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert max(lengths) < 30  # one of two steps is there already
