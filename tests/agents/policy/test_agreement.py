"""In bf16-mixed the sampler's log-probabilities are the trainer's: one layer, one set of bits."""

from importlib import import_module

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from reason_env.agents.engines import Context, SamplingConfig, adapter_tensors
from reason_env.agents.engines.fused import sampler
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig, tree_model
from reason_env.agents.policy.lora import add_lora
from reason_env.codec import ByteCodec

# The package's door has a function of this name.
decoder_layer = import_module("reason_env.agents.engines.decoder_layer")

SIZES = {
    "vocab_size": 258,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 10,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, head_dim=24),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=32),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def policy_of(kind, *, max_batch_size=256, precision="bf16-mixed"):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(CONFIGS[kind])
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.12)
    return LanguageModelPolicy(
        model, ByteCodec(), precision=precision, max_batch_size=max_batch_size
    )


PROBLEM = tuple(at * 7 % 250 for at in range(70))
PREFIX = (*PROBLEM, *(at * 5 % 250 for at in range(21)))
NESTED = [
    Context(token_ids=(*PREFIX, 3, 1), num_samples=2, max_new_tokens=20),
    Context(token_ids=PROBLEM, num_samples=3, max_new_tokens=4),
    Context(token_ids=(*PROBLEM[:30], 11, 11), num_samples=1, max_new_tokens=25),
    Context(token_ids=(*PREFIX, 3, 2, 2), num_samples=2, max_new_tokens=33),
    Context(token_ids=(8, 8), num_samples=4, max_new_tokens=40),
]


def episodes_of(policy, contexts=NESTED):
    groups = policy.sample(contexts, SamplingConfig(), seed=5, stop_ids=())
    pairs = zip(contexts, groups, strict=True)
    return [(context.token_ids, item) for context, group in pairs for item in group]


def gaps_of(policy, episodes):
    """How far the trainer's log-probabilities are from the recorded ones, token by token."""
    contexts, completions = [a for a, _ in episodes], [b.token_ids for _, b in episodes]
    scores = policy.score(contexts, completions, SamplingConfig())
    recorded = torch.tensor([x for _, item in episodes for x in item.log_probs])
    return (torch.tensor([x for row in scores for x in row]) - recorded).abs()


@pytest.mark.parametrize("max_batch_size", [1, 3, 256])
@pytest.mark.parametrize("kind", CONFIGS)
def test_sampler_and_trainer_agree_in_every_batch(kind, max_batch_size, monkeypatch):
    monkeypatch.setattr(sampler, "MIN_TRUNK_TOKENS", 20)
    policy = policy_of(kind, max_batch_size=max_batch_size)
    # Without the last context all begin with 30 equal tokens, a trunk.
    episodes = episodes_of(policy, NESTED[:-1]) + episodes_of(policy)
    gaps = gaps_of(policy, episodes)
    assert gaps.mean() < 5e-6
    assert gaps.max() < 1e-4


@pytest.mark.parametrize("kind", CONFIGS)
def test_sampler_and_trainer_agree_with_an_adapter(kind):
    policy = policy_of(kind)
    add_lora(policy.model, LoraConfig(rank=3, alpha=5), seed=5)
    generator = torch.Generator().manual_seed(9)
    for name, weight in adapter_tensors(policy.model).items():
        if "lora_B" in name:
            weight.data.normal_(std=0.1, generator=generator)
    gaps = gaps_of(policy, episodes_of(policy))
    assert policy.engine.path == "fused"
    # The sampler joins the layers' products of rank 3, which may add in another order.
    assert gaps.mean() < 5e-5
    assert gaps.max() < 5e-3


def without_rounding(heads):
    return heads


def add_in_float32(device, *, is_mixed):
    return torch.float32


MOVED = {
    "the sampler rounds no queries and keys": (decoder_layer, "rounded_heads", without_rounding),
    "the sampler's attention is float32": (sampler, "sums_dtype", add_in_float32),
}


@pytest.mark.parametrize("place", MOVED)
def test_a_rounding_that_one_side_does_elsewhere_shows(place, monkeypatch):
    policy = policy_of("llama")
    with monkeypatch.context() as patch:
        patch.setattr(*MOVED[place])
        episodes = episodes_of(policy)
    assert gaps_of(policy, episodes).mean() > 1e-3


def test_attention_that_the_trainer_adds_in_float32_shows(monkeypatch):
    policy = policy_of("llama")
    episodes = episodes_of(policy)
    monkeypatch.setattr(tree_model, "sums_dtype", add_in_float32)
    assert gaps_of(policy, episodes).mean() > 1e-3


def test_mixed_precision_is_none_of_two_float32_passes():
    episodes = episodes_of(policy_of("qwen3"))
    gaps = gaps_of(policy_of("qwen3", precision="float32"), episodes)
    assert gaps.mean() > 3e-3


def flat_gradient(policy, episodes):
    rows = [context + item.token_ids for context, item in episodes]
    ids = torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), batch_first=True)
    lengths = torch.tensor(list(map(len, rows)))
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    begins = torch.tensor([len(context) for context, _ in episodes])
    own = mask & (torch.arange(ids.shape[1]) >= begins[:, None])
    log_probs, _ = policy.token_log_probs(ids, mask, action_mask_BT=own)
    weights = torch.linspace(-1.0, 0.7, len(rows))[:, None]
    (log_probs * weights).sum().backward()
    return log_probs.detach()[own], torch.cat([x.grad.flatten() for x in policy.model.parameters()])


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_are_those_of_float32_but_for_the_rounding(kind):
    mixed, exact = policy_of(kind), policy_of(kind, precision="float32")
    episodes = episodes_of(mixed)
    log_probs, ours = flat_gradient(mixed, episodes)
    # The passes with and without gradients give the same numbers.
    recorded = torch.tensor([x for _, item in episodes for x in item.log_probs])
    assert (log_probs - recorded).abs().max() < 1e-4
    plain = policy_of(kind)
    plain.forget_structure()
    reference = flat_gradient(exact, episodes)[1]
    gap, usual = ((x - reference).norm() for x in (ours, flat_gradient(plain, episodes)[1]))
    # transformers' own pass under autocast is off by as much.
    assert gap < 1.25 * usual
    assert gap < 0.08 * reference.norm()


def heads_of(shape, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    heads = torch.randn(shape, generator=generator) * torch.rand(
        (*shape[:-1], 1), generator=generator
    )
    heads[..., 3] *= 30
    return heads * 10.0 ** torch.arange(-3, shape[0] - 3)[:, None, None]


@pytest.mark.parametrize("size", [16, 24, 64, 128, 256])
def test_scores_of_heads_on_the_grid_are_exact_in_any_order(size):
    queries, keys = (decoder_layer.on_grid(heads_of((7, 40, size), seed=x)) for x in (0, 1))
    queries, keys = queries.flatten(0, 1), keys.flatten(0, 1)
    # The longest that a grid allows, in one direction: the largest score.
    longest = torch.full((1, size), 2 / 1.0021 / size**0.5)
    queries, keys = (torch.cat([x, decoder_layer.on_grid(longest)]) for x in (queries, keys))
    scores = queries.double() @ keys.double().T
    order = torch.randperm(size, generator=torch.Generator().manual_seed(2))
    for at in (torch.arange(size), order, order.flip(0)):
        assert torch.equal((queries[:, at] @ keys[:, at].T).double(), scores)
        total = torch.zeros(scores.shape)
        for column in at:
            total += queries[:, column, None] * keys[None, :, column]
        assert torch.equal(total.double(), scores)


def test_the_grid_has_twelve_bits_of_the_norm():
    # Norm 5, 5.01 with the margin: below 8, so the step is 8 / 2^12 = 1 / 512.
    found = decoder_layer.on_grid(torch.tensor([3.0, 4.0 + 0.3 / 512]))
    assert found.tolist() == [3.0, 4.0]
    assert decoder_layer.on_grid(torch.tensor([3.0, 4.0 + 0.7 / 512]))[1] == 4 + 1 / 512
    # Norm 3.999 is over 4 with the margin; 3.99 is not, and has a finer grid.
    value = torch.tensor([3.999, 0.3 / 1024])
    assert decoder_layer.on_grid(value).tolist() == [round(3.999 * 512) / 512, 0.0]
    assert decoder_layer.on_grid(torch.tensor([3.99, 0.7 / 1024])).tolist()[1] == 1 / 1024
    assert decoder_layer.on_grid(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_rounding_passes_gradients():
    heads = torch.tensor([[[3.0, 4.0], [4.2, 5.6], [1.0, 0.0003]]], requires_grad=True)
    found = decoder_layer.rounded_heads(heads)
    assert torch.equal(found, decoder_layer.on_grid(heads.detach()))
    assert not torch.equal(found, heads)
    weights = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    (found * weights).sum().backward()
    assert torch.equal(heads.grad, weights)
