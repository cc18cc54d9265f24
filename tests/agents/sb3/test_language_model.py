"""Policies of Stable-Baselines3 that begin as the base model, against its own log-probabilities."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy, last_hidden_states
from reason_env.errors import ConfigError

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import VecNormalize

from reason_env.agents.sb3 import MaskableTokenPolicy, TokenPolicy, TokenVecEnv, language_model_of

SMALL = {"problems": "chain", "levels": (2, 2), "max_tokens": 24, "max_prompt_tokens": 40}


@pytest.fixture(scope="module")
def base():
    return LanguageModelPolicy.load("base")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_observations(num_steps=3):
    envs = TokenVecEnv.make(4, **SMALL)
    envs.seed(0)
    envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(num_steps):
        ids, *_ = envs.step(rng.integers(32, 127, 4))
    return envs, ids


def expected_log_probs(base, envs, allowed):
    """The model's distribution over the allowed ids, computed by its own scoring, [B, V]."""
    rows = []
    for state in envs.get_attr("state"):
        prompt = envs.get_attr("prompt")[0].token_ids(state)
        context = (*prompt, *state.response)
        every = [(token,) for token in range(258)]
        scores = base.score([context] * 258, every, SamplingConfig())
        scores = np.where(allowed, np.array(scores)[:, 0], -np.inf)
        rows.append(scores - np.log(np.exp(scores).sum()))
    return np.array(rows)


def test_before_training_the_policy_is_the_language_model_without_padding(base):
    envs, ids = some_observations()
    model = PPO(TokenPolicy, envs, n_steps=8, batch_size=8, device="cpu")
    found = model.policy.get_distribution(torch.as_tensor(ids)).distribution.logits
    allowed = np.arange(258) != 256
    expected = expected_log_probs(base, envs, allowed)
    np.testing.assert_allclose(found.detach()[:, allowed], expected[:, allowed], atol=2e-5)
    assert found.detach()[:, 256].exp().tolist() == [0.0] * 4
    values = model.policy.predict_values(torch.as_tensor(ids))
    assert values.flatten().tolist() == [0.0] * 4


def test_the_masked_policy_is_the_language_model_on_the_masked_ids(base):
    envs, ids = some_observations()
    model = MaskablePPO(MaskableTokenPolicy, envs, n_steps=8, batch_size=8, device="cpu")
    allowed = np.isin(np.arange(258), [*b"0123456789:*+-", 257])
    masks = np.stack([allowed] * 4)
    found = model.policy.get_distribution(torch.as_tensor(ids), masks).distribution.logits
    expected = expected_log_probs(base, envs, allowed)
    np.testing.assert_allclose(found.detach()[:, allowed], expected[:, allowed], atol=2e-5)
    actions = [model.predict(ids, action_masks=masks)[0] for _ in range(20)]
    assert set(np.array(actions).flatten().tolist()) <= set(np.flatnonzero(allowed).tolist())


def test_the_greedy_actions_are_the_model_s_own_response(base):
    envs = TokenVecEnv.make(1, **SMALL)
    envs.set_options({"problem": "chain/train/3"})
    ids = envs.reset()
    state = envs.get_attr("state")[0]
    context = envs.get_attr("prompt")[0].token_ids(state)
    ((wanted,),) = base.sample(
        [Context(token_ids=context, num_samples=1, max_new_tokens=24)],
        SamplingConfig(temperature=0.0),
        seed=0,
    )
    model = A2C(TokenPolicy, envs, device="cpu")
    said = []
    for _ in wanted.token_ids:
        action, _ = model.predict(ids, deterministic=True)
        said.append(int(action[0]))
        ids, _, dones, _ = envs.step(action)
        if dones[0]:
            break
    assert said == list(wanted.token_ids)[: len(said)]
    assert len(said) > 15


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_head_and_embedding_stay_one_tensor_and_are_trained(weights):
    envs, _ = some_observations()
    model = PPO(
        TokenPolicy,
        envs,
        n_steps=8,
        batch_size=32,
        n_epochs=1,
        seed=0,
        device="cpu",
        learning_rate=1e-3,
        ent_coef=0.1,  # no episode ends within 8 steps: nothing else has a gradient
        policy_kwargs={"weights": weights},
    )
    lm = model.policy.features_extractor.model
    assert model.policy.action_net.head.weight is lm.get_input_embeddings().weight
    trained = sum(value.numel() for value in model.policy.parameters())
    assert trained == sum(value.numel() for value in lm.parameters()) + 129  # critic: 128 + 1
    (group,) = model.policy.optimizer.param_groups
    assert sum(value.numel() for value in group["params"]) == trained
    before = copy.deepcopy(lm.state_dict())
    model.learn(32)
    changed = [name for name, own in lm.state_dict().items() if not torch.equal(own, before[name])]
    assert len(changed) == len(before)


def test_random_weights_follow_the_seed():
    envs, _ = some_observations()

    def head(seed):
        kwargs = {"weights": "random"}
        model = PPO(TokenPolicy, envs, seed=seed, device="cpu", policy_kwargs=kwargs, n_steps=8)
        return model.policy.action_net.head.weight.detach().clone()

    with pytest.warns(UserWarning, match="mini-batch"):
        first, again, other = head(1), head(1), head(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.02, rel=0.05)  # the config's initializer_range


def test_save_and_load_keep_the_trained_policy(tmp_path):
    envs, ids = some_observations()
    model = PPO(
        TokenPolicy,
        envs,
        n_steps=8,
        batch_size=32,
        n_epochs=1,
        device="cpu",
        learning_rate=1e-3,
        ent_coef=0.1,
        policy_kwargs={"net_arch": {"pi": [], "vf": [16]}},
    ).learn(32)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.zip")
    obs = torch.as_tensor(ids)
    wanted = model.policy.get_distribution(obs).distribution.logits
    for policy in (
        PPO.load(tmp_path / "model.zip", device="cpu").policy,
        TokenPolicy.load(tmp_path / "policy.zip", device="cpu"),
    ):
        assert torch.equal(policy.get_distribution(obs).distribution.logits, wanted)
        assert torch.equal(policy.predict_values(obs), model.policy.predict_values(obs))
    fresh = PPO(TokenPolicy, envs, n_steps=8, batch_size=8, device="cpu").policy
    assert not torch.equal(fresh.get_distribution(obs).distribution.logits, wanted)


def test_the_trained_language_model_is_saved_and_loaded_as_one(tmp_path):
    envs, _ = some_observations()
    model = PPO(
        TokenPolicy, envs, n_steps=8, batch_size=32, ent_coef=0.1, learning_rate=1e-3, device="cpu"
    ).learn(32)
    language_model_of(model.policy).save(tmp_path / "model")
    loaded = LanguageModelPolicy.load(str(tmp_path / "model"))
    allowed = np.arange(258) != 256
    obs = torch.as_tensor(envs.reset())
    expected = expected_log_probs(loaded, envs, allowed)
    found = model.policy.get_distribution(obs).distribution.logits
    np.testing.assert_allclose(found.detach()[:, allowed], expected[:, allowed], atol=2e-5)
    with pytest.raises(
        ConfigError, match="must be a TokenPolicy or a MaskableTokenPolicy, got Act"
    ):
        language_model_of(A2C("MlpPolicy", gym.make("CartPole-v1"), device="cpu").policy)


def test_the_critic_may_have_a_transformer_of_its_own():
    envs, _ = some_observations()
    model = PPO(
        TokenPolicy,
        envs,
        n_steps=8,
        batch_size=8,
        n_epochs=1,
        device="cpu",
        policy_kwargs={"share_features_extractor": False},
    )
    policy = model.policy
    assert policy.pi_features_extractor.model is not policy.vf_features_extractor.model
    assert policy.action_net.head is policy.pi_features_extractor.model.get_output_embeddings()
    model.learn(32)


def test_rows_that_share_prefixes_get_the_features_of_whole_passes(base):
    rows = [(5, 6, 7, 8), (5, 6), (5, 6, 7, 8), (9,), (5, 6, 7, 1, 2, 3)]
    ids = torch.zeros(5, 6, dtype=torch.long)
    for own, row in zip(ids, rows, strict=True):
        own[: len(row)] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in rows])
    found = last_hidden_states(base.model, ids, lengths)
    alone = [
        base.model.get_decoder()(input_ids=torch.tensor([row])).last_hidden_state[0, -1]
        for row in rows
    ]
    torch.testing.assert_close(found, torch.stack(alone), atol=2e-5, rtol=1e-4)
    unknown = copy.deepcopy(base.model)
    unknown.config.model_type = "another"
    plain = last_hidden_states(unknown, ids, lengths)
    torch.testing.assert_close(plain, torch.stack(alone), atol=2e-5, rtol=1e-4)


def test_passes_in_parts_keep_the_order_of_the_rows(base, monkeypatch):
    from reason_env.agents.policy import last_hidden

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 256, (7, 12), generator=generator)
    lengths = torch.tensor([3, 12, 1, 7, 7, 2, 12])
    whole = last_hidden_states(base.model, ids, lengths)
    monkeypatch.setattr(last_hidden, "MAX_TOKENS", 13)
    torch.testing.assert_close(
        last_hidden_states(base.model, ids, lengths), whole, atol=2e-5, rtol=1e-4
    )


def test_the_model_s_dropout_stays_off():
    envs, _ = some_observations()
    policy = PPO(TokenPolicy, envs, n_steps=8, batch_size=8, device="cpu").policy
    policy.set_training_mode(True)
    assert policy.training
    assert not policy.features_extractor.model.training


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"ortho_init": True}, "ortho_init must be False for a language model"),
        ({"net_arch": [64]}, r"net_arch must have no layers .*got \[64\]"),
        ({"net_arch": {"pi": [8], "vf": []}}, "net_arch must have no layers"),
        ({"weights": "randm"}, "weights must be one of pretrained, random, got 'randm'; did you"),
    ],
)
def test_settings_that_would_not_begin_as_the_model_are_refused(kwargs, message):
    envs, _ = some_observations()
    with pytest.raises(ConfigError, match=message):
        A2C(TokenPolicy, envs, policy_kwargs=kwargs, device="cpu")


def test_observations_that_are_no_ids_are_refused():
    with pytest.raises(ConfigError, match=r"must be ids in 0\.\.257, got the space Box"):
        A2C(TokenPolicy, gym.make("CartPole-v1"), device="cpu")
    envs = VecNormalize(TokenVecEnv.make(2, **SMALL), norm_obs=True)
    with pytest.raises(ConfigError, match="use VecNormalize with norm_obs=False"):
        PPO(TokenPolicy, envs, n_steps=8, batch_size=8, device="cpu").learn(8)
