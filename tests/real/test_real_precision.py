"""bf16-mixed on a model of 135 M parameters and a vocabulary of 49,152."""

import numpy as np
import pytest
import torch

from reason_env.agents.engines import Context, MismatchConfig, SamplingConfig, TorchEngine
from reason_env.agents.learning import Learner, LearnerConfig, LossConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.rollout.mismatch import mismatch_of

pytestmark = pytest.mark.real

QUESTIONS = (
    "Tom has 3 apples and buys 5 more. How many apples does he have?",
    "Write a short story about a fox.",
    "Anna reads 12 pages a day. How many pages does she read in 5 days?",
    "Why is the sky blue?",
)


@pytest.fixture(scope="module")
def mixed(smollm2_dir):
    return LanguageModelPolicy.load(str(smollm2_dir), precision="bf16-mixed")


@pytest.fixture(scope="module")
def episodes(mixed):
    """Contexts, completions, and the sampler's log-probabilities."""
    form = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    ids = [mixed.codec.encode(form.format(question)) for question in QUESTIONS]
    contexts = [Context(token_ids=x, num_samples=4, max_new_tokens=48) for x in ids]
    found = mixed.sample(contexts, SamplingConfig(), seed=3)
    assert mixed.engine.path == "fused"
    pairs = zip(contexts, found, strict=True)
    return [(context.token_ids, item) for context, group in pairs for item in group]


def scored(policy, episodes):
    scores = policy.score(
        [context for context, _ in episodes],
        [item.token_ids for _, item in episodes],
        SamplingConfig(),
    )
    return [value for row in scores for value in row]


def gaps_of(policy, episodes):
    recorded = torch.tensor([value for _, item in episodes for value in item.log_probs])
    return (torch.tensor(scored(policy, episodes)) - recorded).abs()


def test_sampler_and_trainer_agree(mixed, smollm2, episodes):
    gaps = gaps_of(mixed, episodes)
    assert len(gaps) > 500
    assert gaps.mean() < 1e-4
    assert gaps.max() < 2e-3
    # The rounding itself is large: this is no agreement of two float32 passes.
    assert 5e-3 < gaps_of(smollm2, episodes).mean() < 0.03
    recorded = [value for _, item in episodes for value in item.log_probs]
    mean = mismatch_of(scored(mixed, episodes), recorded)["rollout/mismatch_mean"]
    assert mean < MismatchConfig().limit


@pytest.mark.parametrize("max_batch_size", [1, 5, 256])
def test_agreement_depends_on_no_batch_prefix_or_refilling(mixed, max_batch_size):
    """Nested prefixes, a trunk, rows that are refilled, and products of a single row."""
    form = "<|im_start|>user\nAnswer with a number, step by step. {}<|im_end|>\n"
    heads = [mixed.codec.encode(form.format(question)) for question in QUESTIONS]
    begin = mixed.codec.encode("<|im_start|>assistant\nFirst, we")
    contexts = [
        Context(token_ids=(*head, *begin[:end]), num_samples=number, max_new_tokens=length)
        for head in heads
        for number, end, length in ((2, 3, 18), (1, 5, 7), (2, len(begin), 12))
    ]
    engine = TorchEngine(
        mixed.model,
        vocab_size=mixed.codec.vocab_size,
        max_batch_size=max_batch_size,
        precision="bf16-mixed",
    )
    asked = contexts[:3] if max_batch_size == 1 else contexts
    found = engine.sample(asked, SamplingConfig(), seed=1, stop_ids=mixed.codec.end_ids)
    pairs = zip(asked, found, strict=True)
    gaps = gaps_of(mixed, [(item.token_ids, x) for item, group in pairs for x in group])
    assert gaps.mean() < 1e-4
    assert gaps.max() < 2e-3


def test_the_trainer_s_pass_gives_float32_gradients_of_float32_weights(mixed, episodes):
    context, item = episodes[0]
    ids = torch.tensor([context + item.token_ids])
    log_probs, _ = mixed.token_log_probs(ids, torch.ones_like(ids))
    gaps = log_probs[0, len(context) :].detach() - torch.tensor(item.log_probs)
    assert gaps.abs().max() < 2e-3
    log_probs.sum().backward()
    grads = [weight.grad for weight in mixed.model.parameters()]
    mixed.model.zero_grad(set_to_none=True)
    assert {grad.dtype for grad in grads} == {torch.float32}
    assert all(bool(grad.isfinite().all()) and bool(grad.any()) for grad in grads)


def twenty_updates(directory, precision, samples):
    """Weights' movement and the loss of each update, at the rate that papers give real models."""
    policy = LanguageModelPolicy.load(str(directory), precision=precision)
    weights = list(policy.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    learner = Learner(
        policy,
        LearnerConfig(learning_rate=1e-6),
        loss=LossConfig(surrogate="reinforce", importance_weight_cap=None),
    )
    losses = [
        learner.update(samples, np.random.default_rng(0)).metrics["loss/policy"] for _ in range(20)
    ]
    moved = [(weight.detach() - old).flatten() for weight, old in zip(weights, before, strict=True)]
    return torch.cat(moved), losses


def test_twenty_updates_at_1e_6_are_those_of_float32(smollm2_dir, episodes):
    chosen = [pair for pair in episodes if len(pair[1].token_ids) > 8][:2]
    samples = [
        TrainingSample(
            context_ids=context,
            token_ids=item.token_ids,
            action_mask=(True,) * len(item.token_ids),
            behavior_log_probs=item.log_probs,
            advantage=advantage,
            role="base",
            group="0",
        )
        for (context, item), advantage in zip(chosen, (1.0, 0.5), strict=True)
    ]
    exact, exact_losses = twenty_updates(smollm2_dir, "float32", samples)
    mixed, mixed_losses = twenty_updates(smollm2_dir, "bf16-mixed", samples)
    shares = [(moved != 0).float().mean().item() for moved in (exact, mixed)]
    assert shares[0] > 0.9
    assert shares[1] == pytest.approx(shares[0], abs=0.02)
    assert torch.nn.functional.cosine_similarity(exact, mixed, dim=0) > 0.8
    assert mixed_losses == pytest.approx(exact_losses, rel=0.01)
    assert exact_losses[-1] < exact_losses[0] - 0.01
    assert mixed_losses[-1] < mixed_losses[0] - 0.01
