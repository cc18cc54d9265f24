import copy
import pickle

import gymnasium as gym
import pytest
from gymnasium.utils.env_match import check_environments_match

import reason_env  # noqa: F401 - registers the ids
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.tabular_starts import TabularResetToState


def stack():
    env = gym.make("MathReason-v0", problems="chain", split="test", size=20, levels=(3, 3))
    env = ResetToState(env, keep="all", cut=1, probability=0.5)
    env = PrefixRollin(env, fraction=(0.0, 0.5), probability=0.5)
    return RewardShaping(Curriculum(Hint(env, kind="answer", trigger=0.5)), progress=1.0)


def tabular():
    env = gym.make("ReasonTree-v0", num_steps=3)
    return TabularResetToState(env, states=[5, 3], probability=0.5, cut=None)


def played(env):
    """Some episodes, so that archives, counters and generators are not fresh."""
    env.reset(seed=3)
    for _ in range(3):
        env.action_space.seed(1)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
        env.reset()
    return env


@pytest.mark.parametrize("make", [stack, tabular])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copied_stack_continues_as_the_original(make, copied):
    env = played(make())
    other = copied(env)
    assert type(other) is type(env)
    assert other is not env
    assert other.unwrapped is not env.unwrapped
    for _ in range(6):
        (seen, info), (seen_too, info_too) = env.reset(), other.reset()
        assert str(seen) == str(seen_too)
        assert info == info_too
    check_environments_match(env, other, num_steps=20, seed=5, info_comparison="equivalence")
