"""The tabular environments: contract, toy_text convention, sampled values against exact ones."""

import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from reason_env.agents.tabular.exact import TabularMDP
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.sampled.estimates import mean_interval
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ActionError, ConfigError, StateError
from reason_env.tabular import (
    CRITICAL,
    RECOVERABLE,
    TabularEnv,
    TabularModel,
    combination_lock,
    reason_tree,
    register_tabular,
    restart_chain,
)
from reason_env.tabular.env import ENTRY_POINTS
from reason_env.tabular.model import WRONG

register_tabular()


@pytest.mark.parametrize("env_id", ENTRY_POINTS)
def test_gymnasium_s_checker_finds_nothing(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, render_mode="ansi")
        check_env(env.unwrapped, skip_render_check=False)
        check_env(gym.make(env_id).unwrapped)


@pytest.mark.parametrize("env_id", ENTRY_POINTS)
def test_stable_baselines_checker_finds_nothing(env_id):
    checker = pytest.importorskip(
        "stable_baselines3.common.env_checker", reason="pip install 'reason-env[sb3]'"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.make(env_id).unwrapped, warn=True, skip_render_check=True)


def test_stable_baselines_makes_many_by_id_and_learns_in_them():
    pytest.importorskip("stable_baselines3", reason="pip install 'reason-env[sb3]'")
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("ReasonTree-v0", n_envs=2, env_kwargs={"num_steps": 3}, seed=0)
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, device="cpu", seed=0)
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(64)
    after = [value.clone() for value in model.policy.parameters()]
    assert model.num_timesteps == 64
    assert all(value.isfinite().all() for value in after)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))


def test_registering_twice_changes_nothing():
    before = dict(gym.registry)
    register_tabular()
    assert gym.registry == before


@pytest.mark.parametrize("env_id", ENTRY_POINTS)
def test_transitions_and_start_follow_the_toy_text_convention(env_id):
    env = gym.make(env_id).unwrapped
    model = env.model
    assert env.initial_state_distrib.sum() == pytest.approx(1)
    for state in range(model.num_states):
        for action in range(model.num_actions):
            outcomes = env.P[state][action]
            assert sum(outcome[0] for outcome in outcomes) == pytest.approx(1)
            for probability, after, reward, terminated in outcomes:
                assert probability == model.transition[state, action, after] > 0
                assert reward == model.reward[state, action]
                assert terminated == model.terminal[after]
                kinds = (type(probability), type(after), type(reward), type(terminated))
                assert kinds == (float, int, float, bool)


def test_p_of_one_lock_is_the_one_written_out():
    env = gym.make("CombinationLock-v0", num_steps=2, num_actions=2, seed=0).unwrapped
    first, second = env.model.reference_action[:2]
    assert env.P[0][first] == [(1.0, 1, 0.0, False)]
    assert env.P[0][1 - first] == [(1.0, 3, 0.0, True)]
    assert env.P[1][second] == [(1.0, 2, 1.0, True)]
    assert env.P[1][1 - second] == [(1.0, 3, 0.0, True)]
    assert env.P[2][0] == [(1.0, 2, 0.0, True)]


def episode_returns(env, policy_HSA, num, rng, options=None):
    """Returns of episodes through reset and step alone."""
    total = np.zeros(num)
    env.reset(seed=0)
    for index in range(num):
        state, _ = env.reset(options=options)
        step, over = 0, False
        while not over:
            action = rng.choice(env.action_space.n, p=policy_HSA[step, state])
            state, reward, terminated, truncated, _ = env.step(int(action))
            total[index] += reward
            over, step = terminated or truncated, step + 1
    return total


def test_monte_carlo_through_gymnasium_agrees_with_exact_values_from_start_and_from_a_state():
    env = gym.make("ReasonTree-v0", num_steps=4, critical_rate=0.5, ceiling=0.9, floor=0.1)
    model = env.unwrapped.model
    mdp = TabularMDP.from_model(model, horizon=5)
    policy = finite.checked_policy(mdp, families.tree_policy(model, right=0.5, repair=0.4))
    exact = finite.evaluate(mdp, policy)
    rng = np.random.default_rng(0)
    got = mean_interval(episode_returns(env, policy, 3000, rng), 0.9999)
    assert got.low <= exact.performance <= got.high
    assert got.high - got.low < 0.1
    # A reset to "2 steps, recoverable" acts for two more steps and the answer.
    middle = 4 * 2 + RECOVERABLE
    late = np.concatenate([policy[2:], policy[:2]])
    got = mean_interval(episode_returns(env, late, 2000, rng, {"state": middle}), 0.9999)
    assert got.low <= exact.value_HS[2, middle] <= got.high


def test_reset_starts_at_a_given_state_or_samples_the_start_distribution():
    env = gym.make("ReasonTree-v0", critical_rate=0.25)
    assert env.reset(options={"state": 9})[0] == 9 == env.unwrapped.state
    env.reset(seed=3)
    starts = [int(env.reset()[0]) for _ in range(2000)]
    # Five standard errors: 5 * 0.433 / 44.7
    assert np.mean(np.array(starts) == CRITICAL) == pytest.approx(0.25, abs=0.05)
    assert set(starts) == {0, CRITICAL}


def test_the_same_seed_and_actions_give_the_same_episode_in_a_used_and_in_a_fresh_env():
    used = gym.make("ReasonTree-v0")
    used.reset(seed=5)
    used.step(0)

    def trace(env):
        seen = [env.reset(seed=9)]
        for action in (1, 0, 3, 2):
            seen.append(env.step(action))
        return seen

    assert trace(used) == trace(gym.make("ReasonTree-v0"))
    assert trace(pickle.loads(pickle.dumps(used))) == trace(used)


def test_the_budget_truncates_and_an_answer_on_the_last_step_terminates():
    chain = gym.make("RestartChain-v0", num_states=4, max_steps=3)
    chain.reset(seed=0)
    ends = [chain.step(0)[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]
    lock = gym.make("CombinationLock-v0", num_steps=2, max_steps=2)
    lock.reset(seed=0)
    codes = lock.unwrapped.model.reference_action
    lock.step(codes[0])
    _, reward, terminated, truncated, info = lock.step(codes[1])
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    with pytest.raises(StateError, match=r"must be open to step, got one that is over"):
        lock.unwrapped.step(0)


def test_a_wrong_chain_continues_to_its_answer_and_fails():
    env = TabularEnv(reason_tree(num_steps=3, seed=1), render_mode="ansi")
    env.reset(seed=0, options={"state": WRONG})
    steps = [env.step(0) for _ in range(4)]
    assert [step[2] for step in steps] == [False, False, False, True]
    assert not steps[-1][4]["success"]
    assert env.render() == "end"


def test_an_environment_is_one_json_string():
    env = gym.make("ReasonTree-v0", num_steps=3, critical_rate=0.5, seed=4)
    text = env.spec.to_json()
    again = gym.make(gym.envs.registration.EnvSpec.from_json(text))
    assert json.loads(text)["kwargs"]["num_steps"] == 3
    assert (again.unwrapped.model.transition == env.unwrapped.model.transition).all()


def test_a_model_s_arrays_cannot_be_written_and_are_not_the_caller_s():
    reward = np.zeros((2, 2))
    model = TabularModel(**(arrays() | {"reward": reward}))
    with pytest.raises(ValueError, match="read-only"):
        model.transition[0, 0, 0] = 1
    reward[0, 0] = 5
    assert model.reward[0, 0] == 0


def arrays():
    return {
        "transition": np.array([[[0.5, 0.5], [0, 1]], [[0, 1], [0, 1]]]),
        "reward": np.array([[0.0, 1.0], [0, 0]]),
        "start": np.array([1.0, 0]),
        "terminal": np.array([False, True]),
        "reference_action": np.array([1, 0]),
        "state_names": ("open", "end"),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"transition": np.array([[[0.5, 0.4], [0, 1]], [[0, 1], [0, 1]]])},
            r"transition must sum to 1, got 0\.9 in row \(0, 0\) \(1 of 4 rows\); correct",
        ),
        ({"start": np.array([0.5, 0.4])}, r"start must sum to 1, got 0\.9; correct the array"),
        ({"start": np.array([1.5, -0.5])}, r"start must be finite and >= 0, got -0\.5"),
        ({"reward": np.full((2, 2), np.nan)}, "reward must be finite, got nan"),
        ({"reward": np.ones((2, 2))}, r"terminal states must lead to themselves with reward 0"),
        ({"terminal": np.array([True, True])}, r"terminal states must lead to themselves"),
        ({"start": np.ones(1)}, r"start must have shape \(2,\), got \(1,\); reward is \[S, A\]"),
        ({"state_names": ("one",)}, "state_names must have 2 names, got 1"),
    ],
)
def test_a_model_that_is_no_mdp_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TabularModel(**(arrays() | changes))


def test_wrong_actions_states_and_options_are_refused():
    env = TabularEnv(reason_tree(num_steps=1))
    with pytest.raises(StateError, match="must be reset before it has a state"):
        env.step(0)
    env.reset(seed=0)
    for action in (4, -1, 0.5, "0"):
        with pytest.raises(ActionError, match=r"action must be an integer in 0\.\.3, got"):
            env.step(action)
    for state, message in (
        (7, r"must be in 0\.\.6, got 7"),
        (-1, r"must be in 0\.\.6, got -1"),
        (6, r"must be open, got 6 \('end'\), which is terminal"),
        ("0", "must be an integer, got '0'"),
        (True, "must be an integer, got True"),
    ):
        with pytest.raises(StateError, match=message):
            env.reset(options={"state": state})
    with pytest.raises(ConfigError, match=r"got 'sate'; did you mean 'state'\?"):
        env.reset(options={"sate": 0})
    with pytest.raises(ConfigError, match="max_steps must be at least 1, got 0"):
        TabularEnv(restart_chain(), max_steps=0)
    with pytest.raises(ConfigError, match="render_mode must be 'ansi' or None, got 'human'"):
        TabularEnv(combination_lock(), render_mode="human")
    with pytest.raises(TypeError, match="render_mode must be 'ansi' or None, got 'rgb_array'"):
        gym.make("ReasonTree-v0", render_mode="rgb_array", disable_env_checker=True)
    with pytest.raises(ConfigError, match="num_states must be at least 2, got 1"):
        restart_chain(num_states=1)
