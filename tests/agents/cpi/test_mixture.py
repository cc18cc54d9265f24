"""The mixture of two sets of weights: by hand, and distilled into a tiny model."""

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.cpi.config import DistillConfig
from reason_env.agents.cpi.mixture import (
    Distiller,
    copy_weights,
    draw_begins,
    interpolate,
    load_weights,
    mixture_log_probs,
    posterior_log_odds,
    using_weights,
)
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError

CODEC = ByteCodec()


def tiny_policy():
    config = Qwen3Config(
        vocab_size=260,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = Qwen3ForCausalLM(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.25)
    return LanguageModelPolicy(model, CODEC)


def sample(text, prefix=""):
    ids = CODEC.encode(prefix + text)
    mask = (False,) * len(prefix) + (True,) * len(text)
    return TrainingSample(
        context_ids=CODEC.encode("1+1"),
        token_ids=ids,
        action_mask=mask,
        behavior_log_probs=(0.0,) * len(ids),
        advantage=0.5,
        role="base",
        group="0:toy",
    )


SAMPLES = [sample("ab\ncd"), sample("x\nyz", prefix="q\n"), sample("abc\n"), sample("zz\nab")]


def other(weights, seed=1, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: own + size * torch.randn(own.shape, generator=generator)
        for name, own in weights.items()
    }


def distiller(policy, level="response", step_size=0.5, **options):
    old = copy_weights(policy.model)
    new = other(old)
    return Distiller(policy, SAMPLES, old=old, new=new, step_size=step_size, level=level, **options)


def equal(one, two):
    return one.keys() == two.keys() and all(
        torch.equal(own, two[name]) for name, own in one.items()
    )


def test_interpolation_is_the_line_between_the_weights():
    old = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0])}
    new = {"w": torch.tensor([3.0, -2.0]), "b": torch.tensor([0.5])}
    half = interpolate(old, new, 0.5)
    assert half["w"].tolist() == [2.0, 0.0]
    assert half["b"].tolist() == [0.25]
    assert interpolate(old, new, 0.125)["w"].tolist() == [1.25, 1.5]
    assert equal(interpolate(old, new, 0.0), old)
    assert equal(interpolate(old, new, 1.0), new)
    with pytest.raises(ConfigError, match=r"step_size must lie in 0\.\.1, got 1\.5"):
        interpolate(old, new, 1.5)


def test_borrowed_weights_are_restored_bit_for_bit_after_an_exception():
    policy = tiny_policy()
    old = copy_weights(policy.model)
    new = other(old)

    def fails():
        with using_weights(policy.model, new):
            assert equal(copy_weights(policy.model), new)
            raise RuntimeError("between")

    with pytest.raises(RuntimeError, match="between"):
        fails()
    assert equal(copy_weights(policy.model), old)
    load_weights(policy.model, new)
    assert equal(copy_weights(policy.model), new)
    assert not equal(old, new)


def test_a_policy_is_drawn_once_for_each_token_step_or_response():
    # Prefix "q\n"; sampled "x\nyz": a step ends after its second token.
    one = sample("x\nyz", prefix="q\n")
    assert draw_begins(CODEC, one, "token") == [0, 1, 2, 3]
    assert draw_begins(CODEC, one, "step") == [0, 0, 2, 2]
    assert draw_begins(CODEC, one, "response") == [0, 0, 0, 0]
    # The blank line belongs to the step after it.
    assert draw_begins(CODEC, sample("ab\n\nc"), "step") == [0, 0, 0, 3, 3]


def test_the_mixture_drawn_once_a_response_has_the_mean_of_both_probabilities():
    # Two tokens each: pi 0.5 * 0.2, pi' 0.1 * 0.6; alpha 0.25: 0.75 * 0.1 + 0.25 * 0.06 = 0.09
    old = torch.tensor([[0.5, 0.5], [0.2, 0.8]]).log()
    new = torch.tensor([[0.1, 0.9], [0.6, 0.4]]).log()
    ratios = (new - old)[:, 0]

    def probability(begins):
        odds = posterior_log_odds(ratios, begins, 0.25)
        return float(mixture_log_probs(old, new, odds)[:, 0].exp().prod())

    assert probability([0, 0]) == pytest.approx(0.09)
    # Drawn for each token: (0.375 + 0.025) * (0.15 + 0.15)
    assert probability([0, 1]) == pytest.approx(0.4 * 0.3)


def test_distillation_lowers_the_kl_to_the_mixture_on_held_out_responses():
    policy = tiny_policy()
    made = distiller(policy)
    assert (made.fitted, made.held_out) == ([0, 1, 2], [3])
    found = made.fit(
        DistillConfig(updates=40, rows=2, learning_rate=1e-2), np.random.default_rng(0)
    )
    assert found.kl < 0.8 * found.kl_interpolated
    assert found.kl == pytest.approx(made.kl([3]))
    # What it minimises is 0 at the mixture and nowhere else: at alpha near 1, pi' is nearly it.
    load_weights(policy.model, made.new)
    near = Distiller(policy, SAMPLES, old=made.old, new=made.new, step_size=1 - 1e-6, level="token")
    assert 0 <= near.kl([0, 1, 2, 3]) < 1e-4
    load_weights(policy.model, made.old)
    assert near.kl([0, 1, 2, 3]) > 0.1


def test_the_kl_equals_the_formula_over_whole_distributions():
    policy = tiny_policy()
    made = distiller(policy, level="token", step_size=0.25, temperature=0.5)
    ids = torch.tensor([SAMPLES[0].context_ids + SAMPLES[0].token_ids])

    def probabilities(weights):
        with using_weights(policy.model, weights), torch.no_grad():
            logits = policy.model(input_ids=ids).logits[0, 2:-1, : CODEC.vocab_size]
        return (logits.double() / 0.5).softmax(-1)

    old, new = probabilities(made.old), probabilities(made.new)
    mixture = 0.75 * old + 0.25 * new
    kl = (mixture * (mixture / old).log()).sum(-1).mean()
    assert made.kl([0]) == pytest.approx(float(kl), rel=1e-4)


def test_micro_batches_do_not_change_the_result():
    policy = tiny_policy()
    whole = distiller(policy, level="step")
    parts = distiller(policy, level="step", micro_batch_tokens=1)
    assert parts.kl([0, 1, 3]) == pytest.approx(whole.kl([0, 1, 3]), rel=1e-5)


def test_a_fit_that_raises_the_kl_keeps_the_interpolated_weights():
    policy = tiny_policy()
    made = distiller(policy)
    found = made.fit(DistillConfig(updates=3, learning_rate=5.0), np.random.default_rng(0))
    assert equal(copy_weights(policy.model), interpolate(made.old, made.new, 0.5))
    assert found.kl == found.kl_interpolated


def test_fewer_than_four_responses_are_both_fitted_and_held_out():
    policy = tiny_policy()
    old = copy_weights(policy.model)
    made = Distiller(policy, SAMPLES[:2], old=old, new=old, step_size=0.5, level="step")
    assert made.held_out == made.fitted == [0, 1]
    assert made.kl([0, 1]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("step_size", [0.0, 1.0])
def test_distilling_with_a_step_size_of_0_or_1_is_refused(step_size):
    with pytest.raises(ConfigError, match="step_size of a distillation must lie between 0 and 1"):
        distiller(tiny_policy(), step_size=step_size)
