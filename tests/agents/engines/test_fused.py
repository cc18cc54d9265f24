from dataclasses import replace

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reason_env.agents.engines import Context, SamplingConfig, TorchEngine, torch_engine
from reason_env.agents.engines.fused import attention, sampler, why_not_fused
from reason_env.agents.engines.sampling import draw, uniform_streams
from reason_env.errors import ConfigError

VOCAB = 13
SIZES = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=VOCAB)),
    "llama tied": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, tie_word_embeddings=True)
    ),
    "llama with biases": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, attention_bias=True, mlp_bias=True)
    ),
    "llama padded": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=VOCAB + 19)),
    "llama3 rotation": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, rope_parameters={
            "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 4.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        })
    ),
    "yarn rotation": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, rope_parameters={
            "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0,
            "original_max_position_embeddings": 32,
        })
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, vocab_size=VOCAB)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, vocab_size=VOCAB, head_dim=8)),
    "qwen3 tied, wide heads": lambda: Qwen3ForCausalLM(
        Qwen3Config(**SIZES, vocab_size=VOCAB, head_dim=16, tie_word_embeddings=True)
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_models_are_fused(monkeypatch):
    monkeypatch.setattr(torch_engine, "MIN_FUSED_PARAMETERS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_random_weights(model, *, scale=0.35):
    """Every parameter is random, biases and norms too, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(scale * noise if weight.ndim > 1 else weight + 0.3 * noise)
    return model.eval()


def tiny(kind):
    return with_random_weights(KINDS[kind]())


CONTEXTS = [
    Context(token_ids=(1, 2, 3, 4, 5, 6, 7, 3, 3, 2, 12), num_samples=5, max_new_tokens=3),
    Context(token_ids=(4,), num_samples=2, max_new_tokens=12),
    Context(token_ids=(9, 9, 1, 0), num_samples=4, max_new_tokens=9),
    Context(token_ids=(9, 9, 1, 0, 5, 6), num_samples=3, max_new_tokens=70),
]


def engine_of(model, *, precision="float32", max_batch_size=256):
    return TorchEngine(model, vocab_size=VOCAB, max_batch_size=max_batch_size, precision=precision)


def tokens_of(groups):
    return [[item.token_ids for item in group] for group in groups]


@torch.no_grad()
def model_log_probs(model, context, completion, *, is_mixed=False):
    """The model's own forward pass over context and completion, without a cache."""
    ids = torch.tensor([context.token_ids + completion.token_ids])
    with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
        logits = model(ids).logits[0, len(context.token_ids) - 1 : -1, :VOCAB].float()
    return logits.log_softmax(-1)[range(len(completion.token_ids)), completion.token_ids].tolist()


@torch.no_grad()
def replayed(model, context, key, *, seed, stop_ids):
    token_ids = list(context.token_ids)
    uniforms = uniform_streams(seed, [key], context.max_new_tokens)
    for step in range(context.max_new_tokens):
        logits = model(torch.tensor([token_ids])).logits[:, -1, :VOCAB]
        token_ids.append(int(draw(logits, uniforms[:, step], SamplingConfig())[0]))
        if token_ids[-1] in stop_ids:
            break
    return tuple(token_ids[len(context.token_ids) :])


def test_a_part_of_a_call_gives_what_the_whole_call_gives():
    engine = engine_of(tiny("qwen3"))
    whole = tokens_of(engine.sample(CONTEXTS, SamplingConfig(), seed=4, stop_ids=(2,)))
    part = [replace(CONTEXTS[place], stream=place) for place in (3, 1)]
    found = tokens_of(engine.sample(part, SamplingConfig(), seed=4, stop_ids=(2,)))
    assert found == [whole[3], whole[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_claimed_architecture_samples_as_the_models_own_forward_pass(kind):
    model = tiny(kind)
    engine = engine_of(model)
    assert (engine.path, engine.why_not_fused) == ("fused", None)
    found = engine.sample(CONTEXTS, SamplingConfig(), seed=3, stop_ids=(2, 7))
    for index, (context, group) in enumerate(zip(CONTEXTS, found, strict=True)):
        assert len(group) == context.num_samples
        for sample, item in enumerate(group):
            key = (index, sample)
            assert item.token_ids == replayed(model, context, key, seed=3, stop_ids=(2, 7))
            assert item.log_probs == pytest.approx(model_log_probs(model, context, item), abs=3e-5)
            assert item.is_finished == (item.token_ids[-1] in (2, 7))
    assert engine.num_fused_tokens == engine.num_sampled_tokens > 0


def test_refilled_rows_keep_the_entropies_of_their_own_distributions():
    model = tiny("llama")
    sampling = SamplingConfig(temperature=0.7, top_k=5)
    asked = [replace(one, keeps_entropies=index != 2) for index, one in enumerate(CONTEXTS)]
    engine = engine_of(model, max_batch_size=4)
    found = engine.sample(asked, sampling, seed=3, stop_ids=(2, 7))
    assert engine.path == "fused"
    plain = engine.sample(CONTEXTS, sampling, seed=3, stop_ids=(2, 7))
    for index, (context, group) in enumerate(zip(CONTEXTS, found, strict=True)):
        for item, other in zip(group, plain[index], strict=True):
            assert (item.token_ids, item.log_probs) == (other.token_ids, other.log_probs)
            if index == 2:
                assert item.entropies is None
                continue
            ids = torch.tensor([context.token_ids + item.token_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(context.token_ids) - 1 : -1, :VOCAB] / 0.7
            kept = logits.topk(5, dim=-1).values
            expected = torch.special.entr(kept.softmax(-1)).sum(-1).tolist()
            assert item.entropies == pytest.approx(expected, abs=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_mixed_agrees_with_the_models_own_forward_pass_under_autocast(kind):
    model = with_random_weights(KINDS[kind](), scale=0.2)
    engine = engine_of(model, precision="bf16-mixed")
    found = engine.sample(CONTEXTS, SamplingConfig(), seed=3, stop_ids=())
    assert engine.path == "fused"
    gaps = [
        ours - theirs
        for context, group in zip(CONTEXTS, found, strict=True)
        for item in group
        for ours, theirs in zip(
            item.log_probs, model_log_probs(model, context, item, is_mixed=True), strict=True
        )
    ]
    # 8 bits a product; logits of a few units that the model's own pass rounds to 1/128.
    assert max(map(abs, gaps)) < 0.1
    assert sum(map(abs, gaps)) / len(gaps) < 0.02


@pytest.mark.parametrize("max_batch_size", [1, 3, 6, 9])
@pytest.mark.parametrize("stop_ids", [(), (2, 7)])
def test_refilled_rows_sample_what_a_large_batch_samples(max_batch_size, stop_ids, monkeypatch):
    whole = engine_of(tiny("llama")).sample(CONTEXTS, SamplingConfig(), seed=1, stop_ids=stop_ids)
    monkeypatch.setattr(sampler, "MAX_PREFILL_TOKENS", 7)
    engine = engine_of(tiny("llama"), max_batch_size=max_batch_size)
    parts = engine.sample(CONTEXTS, SamplingConfig(), seed=1, stop_ids=stop_ids)
    assert tokens_of(parts) == tokens_of(whole)
    assert sum((item.log_probs for group in parts for item in group), ()) == pytest.approx(
        sum((item.log_probs for group in whole for item in group), ()), abs=1e-5
    )


def test_a_free_row_is_refilled_while_others_still_run(monkeypatch):
    sizes = []
    step = sampler.hidden_states
    monkeypatch.setattr(
        sampler,
        "hidden_states",
        lambda weights, ids, *rest: (sizes.append(len(ids)), step(weights, ids, *rest))[1],
    )
    asked = [
        Context(token_ids=(at, 1), num_samples=1, max_new_tokens=2 + 10 * (at == 0))
        for at in range(5)
    ]
    engine_of(tiny("qwen2"), max_batch_size=2).sample(asked, SamplingConfig(), seed=0, stop_ids=())
    # A prefill of two contexts, then of one more whenever the short sequence ended; rows stay two
    # until the queue is empty: 2 rows x 4 short sequences, then the long one alone.
    assert sizes[0] == 4
    assert [size for size in sizes if size != 2] == [4] + [1] * (11 - 4)
    assert sizes.count(2) == 4 + 3


def test_counts_tell_prefilled_reused_and_sampled_tokens():
    engine = engine_of(tiny("qwen3"), max_batch_size=4)
    twice = Context(token_ids=(1, 2, 3), num_samples=9, max_new_tokens=5)
    other = Context(token_ids=(4, 5, 6, 7), num_samples=2, max_new_tokens=2)
    engine.sample([twice, twice, other], SamplingConfig(), seed=0, stop_ids=())
    assert engine.num_prefill_tokens == 3 + 4
    assert engine.num_reused_tokens == 17 * 3 + 1 * 4
    assert engine.num_sampled_tokens == engine.num_fused_tokens == 18 * 5 + 2 * 2


PROBLEM = tuple(at * 7 % VOCAB for at in range(40))
PREFIX = (*PROBLEM, *(at * 5 % VOCAB for at in range(21)))
NESTED = [
    Context(token_ids=(*PREFIX, 3, 1), num_samples=2, max_new_tokens=6),
    Context(token_ids=PROBLEM, num_samples=3, max_new_tokens=4),
    Context(token_ids=(*PROBLEM[:30], 11, 11), num_samples=1, max_new_tokens=5),
    Context(token_ids=(*PREFIX, 3, 2, 2), num_samples=2, max_new_tokens=5),
    Context(token_ids=(8, 8), num_samples=2, max_new_tokens=9),
    Context(token_ids=PREFIX, num_samples=1, max_new_tokens=3),
]


@pytest.mark.parametrize("max_batch_size", [1, 4, 256])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_nested_contexts_share_prefixes_and_sample_as_if_alone(kind, max_batch_size):
    model = tiny(kind)
    engine = engine_of(model, max_batch_size=max_batch_size)
    found = engine.sample(NESTED, SamplingConfig(), seed=5, stop_ids=(7,))
    for index, (context, group) in enumerate(zip(NESTED, found, strict=True)):
        for sample, item in enumerate(group):
            key = (index, sample)
            assert item.token_ids == replayed(model, context, key, seed=5, stop_ids=(7,))
            assert item.log_probs == pytest.approx(model_log_probs(model, context, item), abs=3e-5)
    if max_batch_size == 256:
        # 32 of the branch at 30, 10 more of the problem, 21 of the prefix; (3, 1) after it, (2, 2)
        # after its 3; and (8, 8), too short to share.
        assert engine.num_prefill_tokens == 32 + 10 + 21 + 2 + 2 + 2


@pytest.mark.parametrize("max_batch_size", [2, 256])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_prefix_of_all_contexts_is_attended_to_in_one_copy(kind, max_batch_size, monkeypatch):
    monkeypatch.setattr(sampler, "MIN_TRUNK_TOKENS", 20)
    model = tiny(kind)
    asked = [
        Context(token_ids=(*PROBLEM[:25], *rest), num_samples=3, max_new_tokens=3 + len(rest))
        for rest in [(1, 2), (), (5,), (1, 2, *PROBLEM[:18]), (1, 2, *PROBLEM[:17], 3)]
    ]
    engine = engine_of(model, max_batch_size=max_batch_size)
    found = engine.sample(asked, SamplingConfig(), seed=5, stop_ids=(7,))
    for index, (context, group) in enumerate(zip(asked, found, strict=True)):
        for sample, item in enumerate(group):
            key = (index, sample)
            assert item.token_ids == replayed(model, context, key, seed=5, stop_ids=(7,))
            assert item.log_probs == pytest.approx(model_log_probs(model, context, item), abs=3e-5)
    # The trunk ends before the last token of the shortest context, of 25. After it 1, 3, 2 and 21
    # tokens; the last context copies 20 of its 21 from the one before.
    assert engine.num_prefill_tokens == 24 + 3 + 1 + 2 + 21 + 1
    assert engine.num_reused_tokens == 3 * (27 + 25 + 26 + 45 + 45) - engine.num_prefill_tokens


def test_bf16_weights_are_made_once_and_again_after_every_kind_of_change():
    model = tiny("llama")
    engine = engine_of(model, precision="bf16-mixed")

    def sampled():
        return engine.sample(CONTEXTS[2:3], SamplingConfig(), seed=0, stop_ids=())

    def fresh():
        other = engine_of(model, precision="bf16-mixed")
        return other.sample(CONTEXTS[2:3], SamplingConfig(), seed=0, stop_ids=())

    weight = model.model.layers[1].mlp.up_proj.weight

    def in_place():
        with torch.no_grad():
            weight.mul_(-1.0)

    def by_data():
        weight.data.add_(0.5)

    def by_optimizer():
        weight.grad = torch.ones_like(weight)
        torch.optim.AdamW([weight], lr=0.3).step()

    def by_address():
        weight.data = -weight.data.clone()

    def by_load():
        model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()})

    before = sampled()
    assert sampled() == before
    assert engine.num_weight_refreshes == 1
    changes = (in_place, by_data, by_optimizer, by_address, by_load)
    for number, change in enumerate(changes, start=2):
        change()
        after = sampled()
        assert after == fresh()
        assert after != before
        assert engine.num_weight_refreshes == number
        before = sampled()
        assert engine.num_weight_refreshes == number


def test_float32_reads_the_models_own_weights():
    model = tiny("qwen2")
    engine = engine_of(model)
    asked = CONTEXTS[2:3]
    before = engine.sample(asked, SamplingConfig(), seed=0, stop_ids=())
    model.model.layers[0].self_attn.v_proj.bias.data.add_(1.0)
    after = engine.sample(asked, SamplingConfig(), seed=0, stop_ids=())
    assert after == engine_of(model).sample(asked, SamplingConfig(), seed=0, stop_ids=())
    assert after != before
    assert engine.num_weight_refreshes == 0


def hooked():
    model = tiny("llama")
    model.model.layers[2].register_forward_hook(lambda *_: None)
    return model


def with_replaced_forward():
    model = tiny("llama")
    layer = model.model.layers[1].mlp
    layer.forward = lambda inputs: 0 * inputs
    return model


def with_another_linear():
    model = tiny("llama")
    layer = model.model.layers[0].mlp
    layer.up_proj = torch.nn.Sequential(layer.up_proj)
    return model


def with_rotation(**rotation):
    return LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, rope_parameters={"rope_theta": 1e4, **rotation})
    )


UNCLAIMED = {
    "its class is MistralForCausalLM": lambda: MistralForCausalLM(
        MistralConfig(**SIZES, vocab_size=VOCAB, sliding_window=6)
    ),
    "model.layers.2 has forward hooks": hooked,
    "model.layers.1.mlp has a forward pass of its own": with_replaced_forward,
    "model.layers.0.mlp.up_proj is a Sequential": with_another_linear,
    "some layers have no full attention": lambda: Qwen3ForCausalLM(
        Qwen3Config(
            **SIZES, vocab_size=VOCAB, use_sliding_window=True, sliding_window=4,
            max_window_layers=1,
        )
    ),
    "model.layers.0.mlp.act_fn is a GELUTanh": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, vocab_size=VOCAB, hidden_act="gelu_pytorch_tanh")
    ),
    "its rotary embedding is of type dynamic": lambda: with_rotation(
        rope_type="dynamic", factor=2.0
    ),
    "its weights are torch.bfloat16": lambda: tiny("llama").bfloat16(),
}  # fmt: skip


@pytest.mark.parametrize("reason", UNCLAIMED)
def test_what_the_fused_pass_does_not_know_it_leaves_to_the_model(reason):
    model = UNCLAIMED[reason]().eval()
    assert why_not_fused(model) == reason
    engine = engine_of(model, precision="bf16-mixed")
    assert engine.path == "model"
    engine.sample(CONTEXTS[:1], SamplingConfig(), seed=0, stop_ids=())
    assert engine.num_fused_tokens == 0
    assert engine.num_sampled_tokens == 15


def test_small_models_keep_their_own_pass_in_float32_only(monkeypatch):
    monkeypatch.setattr(torch_engine, "MIN_FUSED_PARAMETERS", 10_000_000)
    model = tiny("llama")
    size = sum(weight.numel() for weight in model.parameters())
    engine = engine_of(model)
    assert engine.path == "model"
    assert engine.why_not_fused == f"its {size:,} parameters are fewer than 10,000,000"
    assert engine_of(model, precision="bf16-mixed").path == "fused"


def test_an_unknown_precision_is_refused_by_name():
    with pytest.raises(ConfigError, match="precision must be float32 or bf16-mixed, got"):
        engine_of(tiny("llama"), precision="bfloat16")


def test_no_contexts_give_no_completions():
    for precision in ("float32", "bf16-mixed"):
        engine = engine_of(tiny("llama"), precision=precision)
        assert engine.sample([], SamplingConfig(), seed=0, stop_ids=()) == []


def test_buffers_grow_by_doubling_and_never_beyond_the_longest_completion(monkeypatch):
    monkeypatch.setattr(attention, "FIRST_COLUMNS", 3)
    widths = []
    reserve = attention.Columns.reserve

    def recorded(self, num_rows, width):
        reserve(self, num_rows, width)
        if self._most is not None:
            widths.append(self.width)

    monkeypatch.setattr(attention.Columns, "reserve", recorded)
    model = tiny("llama")
    asked = [Context(token_ids=(1, 2, 3), num_samples=3, max_new_tokens=10)]
    narrow = engine_of(model).sample(asked, SamplingConfig(), seed=0, stop_ids=())
    assert widths == [3, 3, 3, 6, 6, 6, 10, 10, 10]
    monkeypatch.undo()
    monkeypatch.setattr(torch_engine, "MIN_FUSED_PARAMETERS", 0)
    assert narrow == engine_of(model).sample(asked, SamplingConfig(), seed=0, stop_ids=())


def test_a_free_row_is_used_again_and_is_no_donor():
    shape = attention.KeyShape(1, 1, 2, torch.device("cpu"), torch.float32)
    pool = attention.ContextPool(shape)
    assert pool.take_rows([(1,), (2, 2), (3,)]) == [0, 1, 2]
    assert pool.keep({0, 2}) == {0: 0, 2: 2}
    assert pool.donors() == {0: (1,), 2: (3,)}
    assert pool.take_rows([(4,), (5, 5, 5)]) == [1, 3]
    assert pool.donors() == {0: (1,), 1: (4,), 2: (3,), 3: (5, 5, 5)}
    # Half of four rows: they move together.
    pool.columns.keys[0][3] = 7.0
    assert pool.keep({1, 3}) == {1: 0, 3: 1}
    assert pool.donors() == {0: (4,), 1: (5, 5, 5)}
    assert bool((pool.columns.keys[0][1, :, :3] == 7.0).all())
    assert pool.take_rows([(6,)]) == [2]
