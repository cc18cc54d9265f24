"""bf16-mixed on a model of 135 M parameters and a vocabulary of 49,152."""

import pytest
import torch

from reason_env.agents.engines import Context, MismatchConfig, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
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


def test_sampler_and_trainer_differ_by_no_more_than_the_rounding(mixed, smollm2, episodes):
    """Thirty layers spread a rounding that went the other way to the size of the rounding."""
    recorded = [value for _, item in episodes for value in item.log_probs]
    assert len(recorded) > 500
    mean = mismatch_of(scored(mixed, episodes), recorded)["rollout/mismatch_mean"]
    rounding = mismatch_of(scored(smollm2, episodes), recorded)["rollout/mismatch_mean"]
    assert 5e-3 < rounding < 0.03
    assert mean < min(1.3 * rounding, MismatchConfig().limit)


def test_the_trainer_s_pass_gives_float32_gradients_of_float32_weights(mixed, episodes):
    context, item = episodes[0]
    ids = torch.tensor([context + item.token_ids])
    log_probs, _ = mixed.token_log_probs(ids, torch.ones_like(ids))
    gaps = log_probs[0, len(context) :].detach() - torch.tensor(item.log_probs)
    assert gaps.abs().mean() < 0.05
    log_probs.sum().backward()
    grads = [weight.grad for weight in mixed.model.parameters()]
    mixed.model.zero_grad(set_to_none=True)
    assert {grad.dtype for grad in grads} == {torch.float32}
    assert all(bool(grad.isfinite().all()) and bool(grad.any()) for grad in grads)
