"""GRPO on Stable-Baselines3 against numbers worked out by hand; save, load, callbacks."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

import reason_env  # noqa: F401 - registers the ids
from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.errors import ConfigError, StateError

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecMonitor,
    VecNormalize,
)

from reason_env.agents.sb3 import (
    GRPO,
    CopiedState,
    StateOption,
    TokenPolicy,
    TokenVecEnv,
    reset_groups,
)


class Corridor(gym.Env):
    """Three actions; rewards action - 0.5 at each of up to `length` steps; 2 ends the episode."""

    observation_space = gym.spaces.Box(0, 9, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, length=3):
        self.length = length
        self.state = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        given = (options or {}).get("state")
        self.state = (int(self.np_random.integers(5)), 0) if given is None else given
        return np.array(self.state, dtype=np.float32), {}

    def step(self, action):
        self.state = (self.state[0], self.state[1] + 1)
        is_end = action == 2
        is_cut = not is_end and self.state[1] >= self.length
        return np.array(self.state, dtype=np.float32), float(action) - 0.5, is_end, is_cut, {}


class Target(gym.Env):
    """One step; the reward is how near a Box action comes to the observed number."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-0.5, 0.5, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        given = (options or {}).get("state")
        self.state = self.np_random.uniform(-0.5, 0.5) if given is None else given
        return np.array([self.state], dtype=np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        reward = -float(np.abs(action - np.array([self.state, -self.state])).sum())
        return np.array([self.state], dtype=np.float32), reward, True, False, {}


class Scripted(BaseCallback):
    """Replaces sampled actions by given ones, [T, B]; log-probabilities stay the policy's own."""

    def __init__(self, model, actions_TB):
        super().__init__()
        forward, steps = model.policy.forward, iter(actions_TB)

        def scripted(obs, deterministic=False):
            _, values, _ = forward(obs)
            actions = torch.tensor(next(steps))
            log_probs = model.policy.get_distribution(obs).log_prob(actions)
            return actions, values, log_probs

        model.policy.forward = scripted

    def _on_step(self):
        return True


def scripted_model(actions_TB, *, num_envs, **settings):
    envs = DummyVecEnv([Corridor] * num_envs)
    settings = {"n_steps": 3, "group_size": 2, "n_epochs": 1, "max_grad_norm": 1e9} | settings
    model = GRPO("MlpPolicy", envs, seed=0, device="cpu", **settings)
    callback = Scripted(model, actions_TB)
    callback.init_callback(model)
    model._setup_learn(10, callback)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, 3)
    return model


ACTIONS = [[2, 0, 1, 1], [0, 1, 1, 2], [0, 0, 1, 1]]


def test_advantages_are_those_of_the_returns_within_each_group():
    model = scripted_model(ACTIONS, num_envs=4)
    assert model.rollout_buffer.is_step_TB.T.tolist() == [
        [True, False, False],
        [True, True, True],
        [True, True, True],
        [True, True, False],
    ]
    returns = model.rollout_buffer.episode_returns(1.0)
    # 2 - 0.5; 0 + 1 + 0 - 1.5; 1 + 1 + 1 - 1.5; 1 + 2 - 1.
    assert returns.tolist() == [1.5, -0.5, 1.5, 2.0]
    # (r - mean) / (std + 1e-4) of two: +-d / (sqrt(2) d + 1e-4) with half the difference d.
    high, low = 1.0 / (2**0.5 * 1.0 + 1e-4), 0.25 / (2**0.5 * 0.25 + 1e-4)
    np.testing.assert_allclose(model.advantages_B, [high, -high, -low, low], rtol=1e-12)
    assert model.num_timesteps == 12  # all environments go on until the slowest is over
    assert model.rollout_buffer.episode_returns(0.5).tolist() == [
        1.5,
        -0.5 + 0.5 * 0.5 - 0.25 * 0.5,
        0.5 * (1 + 0.5 + 0.25),
        0.5 + 0.5 * 1.5,
    ]


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean_token_mean", "seq_mean_token_sum"])
def test_the_first_step_is_the_policy_gradient_by_hand(aggregation):
    loss = LossConfig(importance_weight_cap=None, aggregation=aggregation)
    model = scripted_model(ACTIONS, num_envs=4, loss=loss)
    lengths, advantages = [1, 3, 3, 2], model.advantages_B
    expected = 0.0
    for row in range(4):
        for step in range(lengths[row]):
            obs = torch.as_tensor(model.rollout_buffer.observations[step, row][None])
            action = torch.tensor([ACTIONS[step][row]])
            log_prob = model.policy.get_distribution(obs).log_prob(action)[0]
            weight = {
                "token_mean": 1 / 9,
                "seq_mean_token_mean": 1 / (4 * lengths[row]),
                "seq_mean_token_sum": 1 / (4 * 3),
            }[aggregation]
            expected = expected - weight * advantages[row] * log_prob
    actor = [
        *model.policy.mlp_extractor.policy_net.parameters(),
        *model.policy.action_net.parameters(),
    ]
    wanted = torch.autograd.grad(expected, actor)
    before = copy.deepcopy(model.policy.state_dict())
    model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.1)
    model.lr_schedule = lambda _: 0.1
    model.train()
    for value, own in zip(actor, wanted, strict=True):
        name = next(n for n, other in model.policy.named_parameters() if other is value)
        torch.testing.assert_close(before[name] - value.detach(), 0.1 * own, atol=1e-7, rtol=1e-4)
    assert torch.equal(model.policy.value_net.weight, before["value_net.weight"])


def test_a_ratio_beyond_the_clip_has_no_gradient():
    model = scripted_model(ACTIONS, num_envs=4, loss=LossConfig(importance_weight_cap=None))
    buffer = model.rollout_buffer
    signs = np.sign(model.advantages_B)
    # As if the policy had moved by a factor e^0.5 in the direction of each advantage.
    buffer.log_probs -= 0.5 * signs
    before = copy.deepcopy(model.policy.state_dict())
    model.train()
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.logger.name_to_value["train/clip_fraction"] == pytest.approx(1.0)


def test_micro_batches_change_no_gradient():
    found = []
    for size in (1, 4, 4096):
        model = scripted_model(ACTIONS, num_envs=4, micro_batch_size=size)
        model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.1)
        model.lr_schedule = lambda _: 0.1
        model.train()
        found.append(torch.cat([value.flatten() for value in model.policy.parameters()]))
    torch.testing.assert_close(found[0], found[2], atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(found[1], found[2], atol=1e-7, rtol=1e-5)


def test_groups_with_equal_returns_change_nothing():
    model = scripted_model([[2] * 4] * 3, num_envs=4, n_epochs=3)
    before = copy.deepcopy(model.policy.state_dict())
    model.train()
    assert model.logger.name_to_value["rollout/groups_without_signal_fraction"] == 1.0
    assert model.logger.name_to_value["train/n_updates"] == 0
    assert all(torch.equal(own, before[name]) for name, own in model.policy.state_dict().items())


def test_an_entropy_bonus_trains_without_signal():
    loss = LossConfig(importance_weight_cap=None, entropy_coefficient=0.1)
    model = scripted_model([[2] * 4] * 3, num_envs=4, loss=loss, batch_size=2, n_epochs=2)
    before = model.policy.action_net.weight.detach().clone()
    model.train()
    assert not torch.equal(model.policy.action_net.weight, before)
    assert model.logger.name_to_value["train/n_updates"] == 4


@pytest.mark.parametrize("kind", [DummyVecEnv, pytest.param(SubprocVecEnv, marks=pytest.mark.slow)])
def test_groups_start_in_one_state_and_differ_from_each_other(kind):
    envs = VecMonitor(kind([Corridor] * 6))
    envs.seed(1)
    firsts = set()
    for _ in range(8):
        obs = reset_groups(envs, 3)
        assert np.array_equal(obs[:3], [obs[0]] * 3)
        assert np.array_equal(obs[3:], [obs[3]] * 3)
        firsts.add((obs[0, 0], obs[3, 0]))
        envs.step(np.array([0, 1, 0, 1, 0, 1]))
    envs.close()
    assert len(firsts) > 4


def test_groups_are_normalised_like_any_reset():
    envs = VecNormalize(DummyVecEnv([Corridor] * 4))
    envs.seed(0)
    obs = reset_groups(envs, 2)
    assert np.array_equal(obs[0], obs[1])
    assert np.array_equal(obs, envs.normalize_obs(envs.get_original_obs()))


def test_environments_that_ignore_the_state_are_refused():
    envs = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    with pytest.raises(ConfigError, match=r"must start in the state of reset.*StateOption"):
        reset_groups(envs, 2)
    envs = make_vec_env("MountainCarContinuous-v0", n_envs=2, seed=0)
    with pytest.raises(ConfigError, match="must start in the state"):
        reset_groups(envs, 2)
    envs = make_vec_env("FrozenLake-v1", n_envs=2, seed=0)
    with pytest.raises(ConfigError, match="must have the attribute 'state' to form groups"):
        reset_groups(envs, 2)


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v1"])
def test_a_copied_state_continues_as_the_original_does(name):
    options = {"is_slippery": False} if name == "FrozenLake-v1" else {}
    one, other = (StateOption(CopiedState(gym.make(name, **options))) for _ in range(2))
    one.reset(seed=3)
    one.action_space.seed(0)
    for _ in range(3):
        one.step(one.action_space.sample())
    saved = one.state
    obs, _ = other.reset(seed=8, options={"state": saved})
    actions = [one.action_space.sample() for _ in range(5)]
    first = [one.step(action)[:3] for action in actions]
    second = [other.step(action)[:3] for action in actions]
    third, _ = one.reset(options={"state": saved})  # the saved value has not changed
    assert np.array_equal(obs, third)
    for (a, r, e), (b, s, f) in zip(first, second, strict=True):
        assert np.array_equal(a, b)
        assert (r, e) == (s, f)


def test_a_copied_state_does_not_change_with_arrays_that_steps_change():
    class Walk(gym.Env):
        observation_space = gym.spaces.Box(-9, 9, (2,), np.float64)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            self.place = np.zeros(2)
            return self.place, {}

        def step(self, action):
            self.place[action] += 1.0
            return self.place, 0.0, False, False, {}

    env = CopiedState(Walk())
    env.reset()
    env.step(0)
    saved = env.get_state()
    env.step(1)
    for _ in range(2):
        obs = env.set_state(saved)
        assert env.step(1)[0].tolist() == [1.0, 1.0]
        assert obs.tolist() == [1.0, 0.0]


def test_states_that_cannot_be_copied_are_refused():
    class Engine(gym.Env):
        world = None

        def __init__(self):
            self.world = object()

    with pytest.raises(
        ConfigError, match=r"attributes of Engine must be numbers, .*got 'world' of"
    ):
        CopiedState(Engine())
    with pytest.raises(StateError, match="an environment must be reset before it has a state"):
        CopiedState(gym.make("CartPole-v1")).get_state()
    with pytest.raises(ConfigError, match=r"must have get_state and set_state .*got CartPoleEnv"):
        StateOption(gym.make("CartPole-v1"))
    inside = gym.wrappers.TransformObservation(
        CopiedState(gym.make("CartPole-v1")), lambda obs: obs * 2, None
    )
    with pytest.raises(ConfigError, match="wrappers of the observation must lie outside"):
        StateOption(inside)


def test_box_actions_are_learned_within_their_bounds():
    envs = make_vec_env(Target, n_envs=32, seed=0)
    model = GRPO(
        "MlpPolicy",
        envs,
        learning_rate=3e-3,
        n_steps=1,
        policy_kwargs={"log_std_init": -1.5},
        seed=0,
        device="cpu",
    )
    before, _ = evaluate_policy(model, envs, n_eval_episodes=64, deterministic=True)
    model.learn(32 * 100)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=64, deterministic=True)
    # Two numbers of mean 0.25 each are missed by 0.5 in sum when the actor says 0.
    assert before == pytest.approx(-0.5, abs=0.1)
    assert after > -0.15


def test_it_learns_on_a_tabular_environment_with_callbacks_and_saves(tmp_path):
    def tree():
        return make_vec_env(
            "ReasonTree-v0", n_envs=16, seed=0, env_kwargs={"num_steps": 2, "max_steps": 10}
        )

    model = GRPO(
        "MlpPolicy", tree(), learning_rate=3e-3, n_steps=10, group_size=8, seed=0, device="cpu"
    )
    callback = EvalCallback(
        tree(), n_eval_episodes=32, eval_freq=50, log_path=str(tmp_path), verbose=0
    )
    before, _ = evaluate_policy(model, tree(), n_eval_episodes=64)
    model.learn(4000, callback=callback)
    written = np.load(tmp_path / "evaluations.npz")
    assert written["results"][-1].mean() > 0.95 > 0.8 > before
    assert written["timesteps"][0] == 50 * 16
    model.save(tmp_path / "model.zip")
    again = GRPO.load(tmp_path / "model.zip", env=tree(), device="cpu")
    assert (again.group_size, again.advantage, again.loss) == (8, model.advantage, model.loss)
    obs = tree().reset()
    assert again.predict(obs, deterministic=True)[0].tolist() == (
        model.predict(obs, deterministic=True)[0].tolist()
    )
    more = again.learn(32, reset_num_timesteps=False)
    assert more.num_timesteps > model.num_timesteps
    stop = StopTrainingOnMaxEpisodes(max_episodes=2)
    stopped = GRPO("MlpPolicy", tree(), n_steps=10, group_size=8, device="cpu")
    assert stopped.learn(10_000, callback=stop).num_timesteps < 300
    assert GRPO.load(tmp_path / "model.zip", device="cpu").predict(obs)[0].shape == (16,)


def test_equal_seeds_give_equal_policies():
    def trained(seed):
        envs = make_vec_env("ReasonTree-v0", n_envs=8, seed=seed, env_kwargs={"num_steps": 2})
        model = GRPO("MlpPolicy", envs, n_steps=5, group_size=4, seed=seed, device="cpu")
        model.learn(400)
        return torch.cat([value.flatten() for value in model.policy.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_a_language_model_is_trained_by_groups_of_problems():
    envs = VecMonitor(
        TokenVecEnv.make(8, problems="chain", levels=(1, 1), max_tokens=24, max_prompt_tokens=40)
    )
    model = GRPO(
        TokenPolicy,
        envs,
        n_steps=24,
        group_size=4,
        n_epochs=1,
        learning_rate=1e-4,
        seed=1,
        device="cpu",
    )
    before = model.policy.action_net.head.weight.detach().clone()
    names = []

    class Groups(BaseCallback):
        def _on_rollout_start(self):
            names.append([state.problem.problem_id for state in envs.get_attr("state")])

        def _on_step(self):
            return True

    model.learn(200, callback=Groups())
    assert all(len(set(row[:4])) == len(set(row[4:])) == 1 for row in names)
    assert len({name for row in names for name in row}) > 1
    assert len(model.ep_success_buffer) == 8 * len(names)
    assert 0 < np.mean(model.ep_success_buffer) < 1
    assert not torch.equal(model.policy.action_net.head.weight, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 3}, "must be a multiple of group_size 3, got 4"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"n_epochs": 0}, "n_epochs must be at least 1, got 0"),
        ({"gamma": 0.0}, "gamma must be above 0 and at most 1, got 0.0"),
        ({"loss": LossConfig(kl_coefficient=0.1)}, "must have kl_coefficient 0 and temperature"),
        ({"advantage": AdvantageConfig(kind="pass_at_k", k=4)}, "group_size must be at least 5"),
    ],
)
def test_wrong_numbers_are_refused_at_construction(settings, message):
    settings = {"group_size": 4} | settings
    with pytest.raises(ConfigError, match=message):
        GRPO("MlpPolicy", DummyVecEnv([Corridor] * 4), device="cpu", **settings)


def test_dict_observations_are_refused():
    class Named(Corridor):
        observation_space = gym.spaces.Dict({"place": gym.spaces.Discrete(3)})

    with pytest.raises(ConfigError, match="observations must be one array, got a dict"):
        GRPO(MultiInputActorCriticPolicy, DummyVecEnv([Named] * 8), device="cpu")
