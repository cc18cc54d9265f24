"""Products in bfloat16 give the same where a CPU has none: each test takes both ways."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from reason_env.agents.engines import Context, SamplingConfig, products
from reason_env.agents.engines.products import (
    bf16_products,
    has_bf16_products,
    linear_product,
    matrix_product,
    packed_linear,
    product_dtype,
    rounded_linear,
)
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.policy.lora import add_lora
from reason_env.agents.pretraining import PretrainConfig, pretrain
from reason_env.codec import ByteCodec

CPU = torch.device("cpu")
SIZES = {"vocab_size": 258, "bos_token_id": None, "eos_token_id": None}
MODELS = {
    # One pass over shared prefixes, by fused layers when it samples.
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ),
    # The model's own passes: `addmm` and scaled dot products.
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            **SIZES,
            n_positions=96,
            n_embd=48,
            n_layer=2,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    ),
}


@pytest.fixture
def choose(monkeypatch):
    """Say whether the CPU has products in bfloat16."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda answer: monkeypatch.setattr(products, "has_bf16_products", lambda device: answer)
    torch.set_num_threads(before)


class Recorder(TorchDispatchMode):
    """Counts products whose operands are in bfloat16."""

    def __init__(self):
        super().__init__()
        self.narrow = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        is_product = any(part in name for part in ("mm", "linear", "attention", "einsum", "dot"))
        tensors = [item for item in args if isinstance(item, torch.Tensor)]
        if is_product and any(item.dtype == torch.bfloat16 for item in tensors):
            self.narrow.append(name)
        return func(*args, **(kwargs or {}))


def policy_of(kind, precision="bf16-mixed"):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = MODELS[kind]()
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.12)
    return LanguageModelPolicy(model, ByteCodec(), precision=precision)


def gradients(policy, *, checkpointing=False):
    """Log-probabilities of two rows with a common beginning, and all gradients as one."""
    texts = "12*3=36, 7+8=15", "12*3=36, 7*8=56"
    ids = torch.tensor([ByteCodec().encode(text) for text in texts])
    found, _ = policy.token_log_probs(
        ids, torch.ones_like(ids), temperature=0.8, checkpointing=checkpointing
    )
    policy.model.zero_grad(set_to_none=True)
    (found[0].sum() - found[1].sum() / 2).backward()
    grads = [weight.grad.flatten() for weight in policy.model.parameters() if weight.requires_grad]
    return found.detach(), torch.cat(grads)


def is_near(one, other):
    """Most entries are equal; the others differ by one rounding to 8 bits, or are sums near 0."""
    assert one.dtype == other.dtype
    one, other = one.float(), other.float()
    assert (one == other).float().mean() > 0.98
    assert torch.allclose(one, other, rtol=2.0**-7, atol=1e-4)
    return True


# 1/3 rounds to 171/512. 3 * 171/512 + 1/256 = 1 + 3/512, whose neighbours are 1 and 1 + 4/512; with
# 1/3 not rounded the sum would be 1 + 2/512, which rounds to 1.
INPUTS, WEIGHT = [[1 / 3, 1.0]], [[3.0, 1 / 256]]


@pytest.mark.parametrize("way", [True, False])
def test_a_product_rounds_operands_and_sum(choose, way):
    choose(way)
    inputs = torch.tensor(INPUTS, requires_grad=True)
    weight = torch.tensor(WEIGHT, requires_grad=True)
    bias = torch.tensor([1 / 3], requires_grad=True)
    with bf16_products(CPU):
        plain = torch.nn.functional.linear(inputs, weight)
        found = torch.nn.functional.linear(inputs, weight, bias=bias)
        assert torch.equal(inputs @ weight.T, plain)
    assert plain.dtype == found.dtype == torch.bfloat16
    assert plain.item() == 1 + 4 / 512
    # 515/512 + 171/512 = 686/512, a multiple of 4/512 away from 684 and 688 by 2: to the even one.
    assert found.item() == 688 / 512
    found.backward(torch.tensor([[1 / 3]]).bfloat16())
    # 3 * 171/512 = 513/512 rounds to 1; 171/512 times 1/256 has 8 bits.
    assert inputs.grad.tolist() == [[1.0, 171 / 2**17]]
    # (171/512)^2 = 228.4 / 2048.
    assert weight.grad.tolist() == [[228 / 2048, 171 / 512]]
    assert bias.grad.tolist() == [171 / 512]
    assert inputs.grad.dtype == weight.grad.dtype == bias.grad.dtype == torch.float32


def test_linear_layers_and_their_gradients_agree_in_both_ways(choose):
    generator = torch.Generator().manual_seed(3)
    inputs, weight, bias, grad = (
        torch.randn(size, generator=generator)
        for size in ((3, 50, 96), (40, 96), (40,), (3, 50, 40))
    )
    ways = []
    for way in (True, False):
        choose(way)
        leaves = [item.clone().requires_grad_() for item in (inputs, weight, bias)]
        with bf16_products(CPU):
            found = torch.nn.functional.linear(*leaves)
        found.backward(grad.bfloat16())
        ways.append([found.detach(), *(leaf.grad for leaf in leaves)])
    assert all(is_near(one, other) for one, other in zip(*ways, strict=True))
    narrow = [item.bfloat16() for item in (inputs[0], weight, bias)]
    # On a CPU without such products there is nothing to pack them for, but torch computes them.
    expected = torch.nn.functional.linear(*narrow)
    choose(False)
    assert is_near(packed_linear(narrow[1], narrow[2])(narrow[0]), expected)
    for build in (
        lambda: linear_product(narrow[0], narrow[1]),
        lambda: matrix_product(narrow[0], narrow[1].T),
    ):
        ways = []
        for way in (True, False):
            choose(way)
            ways.append(build())
        assert is_near(*ways)


def test_every_product_of_autocast_is_taken_and_nothing_else(choose):
    choose(False)
    generator = torch.Generator().manual_seed(3)
    one = torch.randn(2, 3, 6, 8, generator=generator)
    square = one[0, 0] @ one[0, 0].T
    calls = {
        "matmul": lambda: torch.matmul(one, one.mT),
        "method": lambda: one.matmul(one.mT),
        "operator": lambda: one @ one.mT,
        "mm": lambda: torch.mm(one[0, 0], one[0, 0].T),
        "bmm": lambda: torch.bmm(one[0], one[0].mT),
        "addmm": lambda: torch.addmm(square, one[0, 0], one[0, 0].T, beta=0.5),
        "baddbmm": lambda: torch.baddbmm(square, one[0], one[0].mT),
        "attention": lambda: torch.nn.functional.scaled_dot_product_attention(
            one, one, one, attn_mask=None, is_causal=True
        ),
    }
    for name, call in calls.items():
        with torch.autocast("cpu", torch.bfloat16):
            expected = call()
        with Recorder() as seen, bf16_products(CPU):
            found = call()
        assert not seen.narrow, name
        assert found.dtype == torch.bfloat16
        assert found.shape == expected.shape
        assert torch.allclose(found.float(), expected.float(), atol=0.02, rtol=0.02), name
        with bf16_products(CPU), torch.autocast("cpu", enabled=False):
            exact = call()
        assert torch.equal(exact, call()), name
    with bf16_products(CPU):
        assert (one.double() @ one.double().mT).dtype == torch.float64
        assert torch.equal(one + one, 2 * one)
        narrow = one.bfloat16()
        with torch.autocast("cpu", enabled=False), Recorder() as seen:
            # Half-precision operands need no autocast to be multiplied in bfloat16.
            assert (narrow @ narrow.mT).dtype == torch.bfloat16
        assert not seen.narrow


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_s_pass_and_gradients_agree_in_both_ways(choose, kind):
    ways, narrow = [], []
    for way in (True, False):
        choose(way)
        with Recorder() as seen:
            ways.append(gradients(policy_of(kind)))
        narrow.append(seen.narrow)
    exact = gradients(policy_of(kind, "float32"))
    gap, *from_exact = (
        (one[0] - other[0]).abs().mean().item()
        for one, other in ((ways[0], ways[1]), (ways[0], exact), (ways[1], exact))
    )
    # Both round, and to the same if only orders of sums differ; torch's attention in bfloat16 also
    # rounds its weights.
    assert from_exact[1] == pytest.approx(from_exact[0], rel=0.25)
    assert gap < {"llama": 0.5, "gpt2": 1.0}[kind] * from_exact[0]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(ways[0][1], ways[1][1], dim=0) > 0.9995
    assert ways[1][1].norm().item() == pytest.approx(ways[0][1].norm().item(), rel=0.01)
    # Neither forward nor backward multiplies in bfloat16 where it would be slow.
    assert len(narrow[0]) > 10
    assert narrow[1] == []


@pytest.mark.parametrize("kind", MODELS)
def test_sampling_uses_no_slow_product_and_agrees_with_scoring(choose, kind):
    choose(False)
    policy = policy_of(kind)
    if kind == "llama":
        add_lora(policy.model, LoraConfig(rank=2, alpha=4), seed=5)
    contexts = [
        Context(token_ids=ByteCodec().encode(text), num_samples=2, max_new_tokens=12)
        for text in ("12*3=", "7+8")
    ]
    with Recorder() as seen:
        groups = policy.sample(contexts, SamplingConfig(), seed=0)
        rows = [
            (context.token_ids, item)
            for context, group in zip(contexts, groups, strict=True)
            for item in group
        ]
        scores = policy.score(
            [ids for ids, _ in rows], [item.token_ids for _, item in rows], SamplingConfig()
        )
    assert seen.narrow == []
    assert policy.engine.path == {"llama": "fused", "gpt2": "model"}[kind]
    recorded = torch.tensor([x for _, item in rows for x in item.log_probs])
    gaps = (torch.tensor([x for row in scores for x in row]) - recorded).abs()
    assert gaps.mean() < {"llama": 2e-3, "gpt2": 0.03}[kind]


def test_recomputed_layers_multiply_as_they_did_at_first(choose):
    choose(False)
    policy = policy_of("llama")
    plain = gradients(policy)
    with Recorder() as seen:
        again = gradients(policy, checkpointing=True)
    assert seen.narrow == []
    assert torch.equal(plain[0], again[0])
    assert torch.equal(plain[1], again[1])


def test_float32_is_not_touched(choose):
    ways = []
    for way in (True, False):
        choose(way)
        policy = policy_of("llama", "float32")
        weight = policy.model.lm_head.weight.detach()
        ways.append((*gradients(policy), packed_linear(weight, None)(weight[:9])))
    assert all(torch.equal(one, other) for one, other in zip(ways[0][:2], ways[1][:2], strict=True))
    assert torch.allclose(ways[0][2], ways[1][2], atol=1e-5)
    assert ways[1][2].dtype == torch.float32


def test_pretraining_in_bfloat16_agrees_in_both_ways(choose):
    losses, narrow = [], []
    for way in (True, False):
        choose(way)
        losses.append([])
        with Recorder() as seen:
            pretrain(
                PretrainConfig(
                    num_batches=3,
                    batch_size=2,
                    hidden_size=16,
                    num_layers=2,
                    num_heads=2,
                    warmup_batches=1,
                    learning_rate=1e-2,
                ),
                on_batch=lambda done, loss, own=losses[-1]: own.append(loss),
            )
        narrow.append(seen.narrow)
    assert losses[0] == pytest.approx(losses[1], rel=3e-3)
    assert narrow[0]
    assert narrow[1] == []


def test_what_a_bench_counts_as_the_limit_is_the_type_that_is_multiplied(choose):
    choose(False)
    assert product_dtype("bf16-mixed", CPU) == torch.float32
    choose(True)
    assert product_dtype("bf16-mixed", CPU) == torch.bfloat16
    assert product_dtype("float32", CPU) == torch.float32
    assert has_bf16_products(torch.device("cuda")) is True


@pytest.mark.skipif(
    has_bf16_products(CPU),
    reason="this CPU multiplies in bfloat16; one without AVX-512 and AMX runs it",
)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("num_inputs", [24, 576, 1536])
def test_sums_depend_on_no_other_row_or_output_and_on_no_packing(num_inputs, threads, choose):
    """What sampler and trainer need to round the same bits."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(130, num_inputs, generator=generator).bfloat16()
    weight = torch.randn(97, num_inputs, generator=generator).bfloat16()
    for bias in (None, torch.randn(97, generator=generator).bfloat16()):
        whole = rounded_linear(inputs, weight, bias)
        packed = packed_linear(weight, bias)
        for begin, end in ((0, 1), (3, 5), (4, 7), (2, 13), (1, 66), (0, 130)):
            assert torch.equal(rounded_linear(inputs[begin:end], weight, bias), whole[begin:end])
            assert torch.equal(packed(inputs[begin:end]), whole[begin:end])
        for begin, end in ((0, 1), (5, 7), (96, 97), (0, 40)):
            own = None if bias is None else bias[begin:end]
            assert torch.equal(rounded_linear(inputs, weight[begin:end], own), whole[:, begin:end])


def test_empty_products_are_empty(choose):
    choose(False)
    with bf16_products(CPU):
        found = torch.nn.functional.linear(torch.zeros(0, 5), torch.zeros(3, 5))
        row = torch.nn.functional.linear(torch.ones(5), torch.ones(3, 5))
    assert found.shape == (0, 3)
    assert row.tolist() == [5.0, 5.0, 5.0]
