import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reason_env.agents.engines import (
    Completion,
    Context,
    SamplingConfig,
    TorchEngine,
    fork_cache,
    processed_log_probs,
    torch_engine,
)
from reason_env.agents.engines.fork_cache import can_share_prefixes
from reason_env.agents.engines.sampling import draw, uniform_streams
from reason_env.errors import ConfigError

VOCAB = 11
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
KINDS = ("qwen3", "llama", "gpt2", "mistral")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other cost more than these models' arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(kind="qwen3", *, dtype=torch.float32, vocab_size=VOCAB):
    sizes = SIZES | {"vocab_size": vocab_size}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind == "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8, tie_word_embeddings=True))
        elif kind == "llama":
            model = LlamaForCausalLM(LlamaConfig(**sizes))
        elif kind == "mistral":
            model = MistralForCausalLM(MistralConfig(**sizes, sliding_window=6))
        else:
            ids = {"bos_token_id": None, "eos_token_id": None}
            model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab_size, n_embd=16, n_layer=2, n_head=2, n_positions=128, **ids
                )
            )
        # Fresh weights give a nearly uniform distribution, which hides most mistakes.
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.4)
    return model.to(dtype).eval()


def contexts(*, num_samples=4, max_new_tokens=12):
    return [
        Context(token_ids=(1, 2, 3, 4, 5, 6, 7), num_samples=num_samples, max_new_tokens=3),
        Context(token_ids=(4,), num_samples=2, max_new_tokens=max_new_tokens),
        Context(token_ids=(9, 9, 1, 0), num_samples=num_samples, max_new_tokens=9),
        Context(token_ids=(3, 1, 4, 1, 5, 9, 2, 6, 5), num_samples=num_samples, max_new_tokens=7),
    ]


def sampled(model, asked, *, seed=0, stop_ids=(), sampling=None, max_batch_size=256):
    engine = TorchEngine(model, vocab_size=VOCAB, max_batch_size=max_batch_size)
    return engine.sample(asked, sampling or SamplingConfig(), seed=seed, stop_ids=stop_ids)


def tokens_of(found):
    return [[completion.token_ids for completion in group] for group in found]


@torch.no_grad()
def replayed(model, context, key, *, seed, stop_ids, sampling):
    """One sequence, by one full forward pass without any cache for each token."""
    token_ids, log_probs = list(context.token_ids), []
    uniforms = uniform_streams(seed, [key], context.max_new_tokens)
    for step in range(context.max_new_tokens):
        logits = model(torch.tensor([token_ids])).logits[:, -1]
        token, log_prob = draw(logits, uniforms[:, step], sampling)
        token_ids.append(int(token))
        log_probs.append(float(log_prob))
        if int(token) in stop_ids:
            break
    return tuple(token_ids[len(context.token_ids) :]), log_probs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(),
        SamplingConfig(temperature=0.6, top_k=4),
        SamplingConfig(temperature=1.7, top_p=0.8),
        SamplingConfig(temperature=0),
    ],
)
def test_forked_sampling_equals_sampling_each_sequence_alone_without_a_cache(kind, sampling):
    model = tiny_model(kind)
    found = sampled(model, contexts(), seed=3, stop_ids=(2, 7), sampling=sampling)
    for index, context in enumerate(contexts()):
        assert len(found[index]) == context.num_samples
        for sample, completion in enumerate(found[index]):
            token_ids, log_probs = replayed(
                model, context, (index, sample), seed=3, stop_ids=(2, 7), sampling=sampling
            )
            assert completion.token_ids == token_ids
            assert completion.log_probs == pytest.approx(log_probs, abs=2e-5)
            assert completion.is_finished == (token_ids[-1] in (2, 7))


def test_full_attention_models_share_prefixes_and_sliding_windows_do_not():
    shares = {kind: can_share_prefixes(tiny_model(kind)) for kind in KINDS}
    assert shares == {"qwen3": True, "llama": True, "gpt2": True, "mistral": False}
    assert not can_share_prefixes(tiny_model("qwen3", dtype=torch.bfloat16))


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_shared_prefixes_give_the_tokens_of_copied_prefixes(kind, monkeypatch):
    shared = sampled(tiny_model(kind), contexts(), stop_ids=(2,))
    monkeypatch.setattr(torch_engine, "can_share_prefixes", lambda model: False)
    copied = sampled(tiny_model(kind), contexts(), stop_ids=(2,))
    assert tokens_of(copied) == tokens_of(shared)
    for one, other in zip(sum(copied, ()), sum(shared, ()), strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_the_batch_size_does_not_change_what_is_sampled(kind):
    model = tiny_model(kind)
    whole = tokens_of(sampled(model, contexts(), seed=9, stop_ids=(2, 7)))
    for max_batch_size in (1, 3, 6):
        parts = sampled(model, contexts(), seed=9, stop_ids=(2, 7), max_batch_size=max_batch_size)
        assert tokens_of(parts) == whole


@pytest.mark.parametrize("kind", ["qwen3", "mistral"])
def test_a_part_of_a_call_gives_what_the_whole_call_gives(kind):
    model, asked = tiny_model(kind), contexts()
    whole = tokens_of(sampled(model, asked, seed=9, stop_ids=(2, 7)))
    part = [replace(asked[place], stream=place) for place in (3, 1)]
    assert tokens_of(sampled(model, part, seed=9, stop_ids=(2, 7))) == [whole[3], whole[1]]
    unnumbered = [asked[3], asked[1]]
    assert tokens_of(sampled(model, unnumbered, seed=9, stop_ids=(2, 7)))[0] != whole[3]


def test_a_prefill_in_several_batches_changes_nothing(monkeypatch):
    whole = tokens_of(sampled(tiny_model(), contexts()))
    monkeypatch.setattr(torch_engine, "MAX_PREFILL_TOKENS", 18)
    assert tokens_of(sampled(tiny_model(), contexts())) == whole


def test_buffers_that_have_to_grow_change_nothing(monkeypatch):
    whole = tokens_of(sampled(tiny_model("mistral"), contexts(max_new_tokens=40)))
    shared = tokens_of(sampled(tiny_model(), contexts(max_new_tokens=40)))
    monkeypatch.setattr(fork_cache, "FIRST_COLUMNS", 2)
    assert tokens_of(sampled(tiny_model("mistral"), contexts(max_new_tokens=40))) == whole
    assert tokens_of(sampled(tiny_model(), contexts(max_new_tokens=40))) == shared


def test_a_finished_sequence_leaves_the_batch_without_changing_the_others():
    model, rows = tiny_model(), []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    asked = [Context(token_ids=(1, 2, 3), num_samples=40, max_new_tokens=10)]
    open_ended = sampled(model, asked)[0]
    rows.clear()
    stopped = sampled(model, asked, stop_ids=(4,))[0]
    for one, other in zip(stopped, open_ended, strict=True):
        assert one.token_ids == other.token_ids[: len(one.token_ids)]
        assert (4 in other.token_ids) == one.is_finished
    lengths = [len(completion.token_ids) for completion in stopped]
    assert len(set(lengths)) > 3
    # The first pass is the prefill of one context; pass t has the rows longer than t tokens.
    assert rows == [1] + [
        sum(length > step for length in lengths) for step in range(1, max(lengths))
    ]


def test_each_context_is_prefilled_once_and_tokens_are_counted():
    engine = TorchEngine(tiny_model(), vocab_size=VOCAB, max_batch_size=4)
    twice = Context(token_ids=(1, 2, 3), num_samples=9, max_new_tokens=5)
    other = Context(token_ids=(4, 5, 6, 7), num_samples=2, max_new_tokens=2)
    first, second, _ = engine.sample([twice, twice, other], SamplingConfig(), seed=0, stop_ids=())
    assert engine.num_prefill_tokens == 3 + 4
    assert engine.num_reused_tokens == 17 * 3 + 1 * 4
    assert engine.num_sampled_tokens == 9 * 5 + 9 * 5 + 2 * 2
    assert [item.token_ids for item in first] != [item.token_ids for item in second]


def test_a_completion_ends_with_the_first_of_several_stops_which_it_includes():
    asked = [Context(token_ids=(1, 2), num_samples=60, max_new_tokens=8)]
    found = sampled(tiny_model(), asked, stop_ids=(3, 8))[0]
    finished = [item for item in found if item.is_finished]
    assert {item.token_ids[-1] for item in finished} == {3, 8}
    assert not any({3, 8} & set(item.token_ids[:-1]) for item in found)
    unfinished = [item for item in found if not item.is_finished]
    assert unfinished
    assert all(len(item.token_ids) == 8 for item in unfinished)
    assert not any({3, 8} & set(item.token_ids) for item in unfinished)


def test_a_stop_on_the_last_allowed_token_finishes_the_completion():
    asked = [Context(token_ids=(1, 2), num_samples=30, max_new_tokens=1)]
    found = sampled(tiny_model(), asked, stop_ids=tuple(range(0, VOCAB, 2)))[0]
    assert {item.is_finished for item in found} == {True, False}
    assert all(item.is_finished == (item.token_ids[0] % 2 == 0) for item in found)


def test_each_context_has_its_own_token_limit():
    found = sampled(tiny_model(), contexts(max_new_tokens=12))
    assert [{len(item.token_ids) for item in group} for group in found] == [{3}, {12}, {9}, {7}]


def test_equal_seeds_give_equal_completions_and_other_seeds_others():
    model = tiny_model()
    assert sampled(model, contexts(), seed=1) == sampled(model, contexts(), seed=1)
    assert tokens_of(sampled(model, contexts(), seed=1)) != tokens_of(
        sampled(model, contexts(), seed=2)
    )
    assert len(set(tokens_of(sampled(model, contexts(num_samples=20), seed=1))[3])) > 15


def test_more_samples_or_a_higher_limit_keep_what_was_sampled_before():
    model = tiny_model()
    few = [Context(token_ids=(1, 2), num_samples=2, max_new_tokens=4)]
    many = [Context(token_ids=(1, 2), num_samples=7, max_new_tokens=9)]
    short, long = tokens_of(sampled(model, few))[0], tokens_of(sampled(model, many))[0]
    assert short == [token_ids[:4] for token_ids in long[:2]]


def test_sampling_does_not_touch_the_global_random_states():
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    sampled(tiny_model(), contexts())
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_sampling_does_not_change_the_model():
    model = tiny_model().train()
    before = model.config._attn_implementation
    sampled(model, contexts())
    assert model.training
    assert model.config._attn_implementation == before
    with torch.no_grad():
        weights = sum(float(weight.sum()) for weight in model.parameters())
        assert weights == sum(float(weight.sum()) for weight in tiny_model().parameters())


def test_dropout_is_off_while_sampling():
    model = tiny_model("gpt2").train()
    assert model.transformer.h[0].mlp.dropout.p == pytest.approx(0.1)
    assert tokens_of(sampled(model, contexts())) == tokens_of(
        sampled(tiny_model("gpt2").eval(), contexts())
    )


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_models_sample_from_their_own_distribution(kind):
    model = tiny_model(kind, dtype=torch.bfloat16)
    found = sampled(model, contexts(), stop_ids=(2,))
    for context, group in zip(contexts(), found, strict=True):
        for item in group:
            ids = torch.tensor([context.token_ids + item.token_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(context.token_ids) - 1 : -1].float()
            expected = logits.log_softmax(-1)[range(len(item.token_ids)), item.token_ids]
            # bfloat16 has 8 bits: logits of size 8 are rounded to 1/32.
            assert item.log_probs == pytest.approx(expected.tolist(), abs=0.15)


def test_ids_that_only_pad_the_embedding_are_never_sampled():
    model = tiny_model(vocab_size=VOCAB)
    engine = TorchEngine(model, vocab_size=4)
    asked = [Context(token_ids=(1, 2), num_samples=50, max_new_tokens=6)]
    found = engine.sample(asked, SamplingConfig(), seed=0, stop_ids=())[0]
    assert {token for item in found for token in item.token_ids} == {0, 1, 2, 3}
    with torch.no_grad():
        first = model(torch.tensor([[1, 2]])).logits[0, -1, :4].log_softmax(-1)
    assert found[0].log_probs[0] == pytest.approx(float(first[found[0].token_ids[0]]), abs=1e-5)


def test_sampled_frequencies_match_the_models_distribution():
    model, num_samples = tiny_model(), 20_000
    sampling = SamplingConfig(temperature=1.5, top_k=6)
    asked = [Context(token_ids=(1, 2, 3), num_samples=num_samples, max_new_tokens=1)]
    found = sampled(model, asked, seed=11, sampling=sampling, max_batch_size=5_000)[0]
    counts = Counter(item.token_ids[0] for item in found)
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2, 3]])).logits[:, -1]
    probs = processed_log_probs(logits, sampling).exp()[0].tolist()
    assert sum(prob > 0 for prob in probs) == 6
    assert set(counts) == {token for token in range(VOCAB) if probs[token] > 0}
    expected = {token: prob * num_samples for token, prob in enumerate(probs) if prob > 0}
    statistic = sum((counts[token] - mean) ** 2 / mean for token, mean in expected.items())
    # 99.9 % quantile of chi-square with 5 degrees of freedom.
    assert statistic < 20.52


def test_the_second_tokens_frequencies_follow_the_first():
    model, num_samples = tiny_model(), 10_000
    asked = [Context(token_ids=(5,), num_samples=num_samples, max_new_tokens=2)]
    found = sampled(model, asked, seed=4, max_batch_size=5_000)[0]
    first = Counter(item.token_ids[0] for item in found).most_common(1)[0][0]
    seconds = Counter(item.token_ids[1] for item in found if item.token_ids[0] == first)
    with torch.no_grad():
        probs = model(torch.tensor([[5, first]])).logits[0, -1].softmax(-1).tolist()
    means = [prob * seconds.total() for prob in probs]
    statistic = sum(
        (seconds[token] - mean) ** 2 / mean for token, mean in enumerate(means) if mean > 5
    )
    # 99.9 % quantile of chi-square with 10 degrees of freedom.
    assert statistic < 29.59


TABLE = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.05, 0.6, 0.1]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (SamplingConfig(), [[0.1, 0.4, 0.2, 0.3], [0.25, 0.05, 0.6, 0.1]]),
        # Two likeliest: 0.4 and 0.3 of 0.7; 0.25 and 0.6 of 0.85.
        (SamplingConfig(top_k=2), [[0, 4 / 7, 0, 3 / 7], [5 / 17, 0, 12 / 17, 0]]),
        # 0.4 + 0.3 = 0.7 reaches 0.65, 0.4 alone does not; 0.6 + 0.25 reaches it.
        (SamplingConfig(top_p=0.65), [[0, 4 / 7, 0, 3 / 7], [5 / 17, 0, 12 / 17, 0]]),
        # 0.4 + 0.3 + 0.2 = 0.9 is needed for 0.75; 0.6 + 0.25 = 0.85 is enough.
        (SamplingConfig(top_p=0.75), [[0, 4 / 9, 2 / 9, 3 / 9], [5 / 17, 0, 12 / 17, 0]]),
        # Of the three likeliest, 0.4 + 0.3 of 0.9 is 0.78 and reaches 0.75: top-k comes first.
        (SamplingConfig(top_k=3, top_p=0.75), [[0, 4 / 7, 0, 3 / 7], [5 / 17, 0, 12 / 17, 0]]),
        (SamplingConfig(top_p=0.01), [[0, 1, 0, 0], [0, 0, 1, 0]]),
        (SamplingConfig(top_k=9), [[0.1, 0.4, 0.2, 0.3], [0.25, 0.05, 0.6, 0.1]]),
        # Temperature 1/2 squares: 1, 16, 4, 9 of 30; 25, 1, 144, 4 of 174 (in units of 1/400).
        (
            SamplingConfig(temperature=0.5),
            [[1 / 30, 16 / 30, 4 / 30, 9 / 30], [25 / 174, 1 / 174, 144 / 174, 4 / 174]],
        ),
        # After squaring, 16 + 9 of 30 is 0.83; without, 0.7 would miss 0.8: temperature first.
        (
            SamplingConfig(temperature=0.5, top_p=0.8),
            [[0, 16 / 25, 0, 9 / 25], [0, 0, 1, 0]],
        ),
        (SamplingConfig(temperature=0, top_k=1), [[0.1, 0.4, 0.2, 0.3], [0.25, 0.05, 0.6, 0.1]]),
    ],
)
def test_truncation_of_a_table_is_exact(sampling, expected):
    found = processed_log_probs(TABLE, sampling).exp()
    assert found == pytest.approx(np.array(expected), abs=1e-6)


def test_tokens_of_equal_logits_are_kept_together():
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]])
    for sampling in (SamplingConfig(top_k=1), SamplingConfig(top_k=2), SamplingConfig(top_p=0.1)):
        found = processed_log_probs(logits, sampling).exp()
        assert found == pytest.approx(np.array([[0, 1 / 3, 1 / 3, 0, 1 / 3]]), abs=1e-6)


def test_a_token_is_drawn_where_the_cumulative_probability_passes_the_uniform_number():
    # Cumulative: 0.1, 0.5, 0.7, 1.0.
    logits = TABLE[:1].expand(6, -1)
    uniforms = torch.tensor([0.0, 0.09, 0.11, 0.49, 0.69, 0.71])
    tokens, log_probs = draw(logits, uniforms, SamplingConfig())
    assert tokens.tolist() == [0, 0, 1, 1, 2, 3]
    assert log_probs.exp().tolist() == pytest.approx([0.1, 0.1, 0.4, 0.4, 0.2, 0.3])


def test_a_uniform_number_on_the_edge_never_draws_a_token_that_was_cut_off():
    logits = torch.tensor([[-math.inf, 0.3, -math.inf, 0.1, -math.inf]]).expand(3, -1)
    uniforms = torch.tensor([0.0, 1 - 2**-24, 1.0])
    tokens, log_probs = draw(logits, uniforms, SamplingConfig())
    assert tokens.tolist() == [1, 3, 3]
    assert torch.isfinite(log_probs).all()


def test_greedy_takes_the_likeliest_token_and_records_temperature_one():
    tokens, log_probs = draw(TABLE, torch.tensor([0.99, 0.99]), SamplingConfig(temperature=0))
    assert tokens.tolist() == [1, 2]
    assert log_probs.exp().tolist() == pytest.approx([0.4, 0.6])


def test_streams_are_uniform_and_differ_between_keys_and_seeds():
    keys = [(context, sample) for context in range(20) for sample in range(10)]
    streams = uniform_streams(3, keys, 50)
    assert len({tuple(row) for row in streams.tolist()}) == 200
    # The mean of 10,000 uniform numbers has standard deviation 0.0029.
    assert float(streams.mean()) == pytest.approx(0.5, abs=0.012)
    assert not torch.equal(uniform_streams(4, keys[:1], 50), streams[:1])
    assert torch.equal(uniform_streams(-1, keys, 5), uniform_streams(2**64 - 1, keys, 5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplingConfig(temperature=-0.1), "temperature must be finite and at least 0"),
        (lambda: SamplingConfig(temperature=math.nan), "temperature must be finite"),
        (lambda: SamplingConfig(top_p=0), "top_p must lie in 0 < top_p <= 1, got 0; use 1.0"),
        (lambda: SamplingConfig(top_p=1.1), "top_p must lie in"),
        (lambda: SamplingConfig(top_k=-1), "top_k must be at least 0, got -1; use 0"),
        (
            lambda: Context(token_ids=(), num_samples=1, max_new_tokens=1),
            "a context must hold at least one token",
        ),
        (
            lambda: Context(token_ids=(1,), num_samples=0, max_new_tokens=1),
            "num_samples must be at least 1, got 0",
        ),
        (
            lambda: Context(token_ids=(1,), num_samples=1, max_new_tokens=-2),
            "max_new_tokens must be at least 1, got -2",
        ),
        (
            lambda: Context(token_ids=(1,), num_samples=1, max_new_tokens=1, stream=2**32),
            r"stream must lie in 0 <= stream < 2\^32, got 4294967296; give",
        ),
        (
            lambda: Context(token_ids=(1,), num_samples=1, max_new_tokens=1, stream=-1),
            "stream must lie in",
        ),
        (
            lambda: TorchEngine(None, vocab_size=2, max_batch_size=0),
            "max_batch_size must be at least 1, got 0",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_no_contexts_give_no_completions():
    assert sampled(tiny_model(), []) == []


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_bf16_mixed_through_the_models_own_pass_agrees_with_it_under_autocast(kind):
    model = tiny_model(kind)
    engine = TorchEngine(model, vocab_size=VOCAB, precision="bf16-mixed")
    found = engine.sample(contexts(), SamplingConfig(), seed=2, stop_ids=())
    assert engine.path == "model"
    assert can_share_prefixes(model) == (kind == "gpt2")
    gaps = []
    for context, group in zip(contexts(), found, strict=True):
        for item in group:
            ids = torch.tensor([context.token_ids + item.token_ids])
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                logits = model(ids).logits[0, len(context.token_ids) - 1 : -1].float()
            expected = logits.log_softmax(-1)[range(len(item.token_ids)), item.token_ids]
            gaps.append((torch.tensor(item.log_probs) - expected).abs())
    # bfloat16 has 8 bits: logits of size 8 are rounded to 1/32.
    assert torch.cat(gaps).max() < 0.15
    # Float32 would agree with float32 to 1e-6.
    exact = sampled(model, contexts(), seed=2)[2][0].log_probs
    assert found[2][0].log_probs != pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("kind", ["qwen3", "mistral"])
@pytest.mark.parametrize(
    "sampling",
    [SamplingConfig(temperature=0.6, top_k=4), SamplingConfig(), SamplingConfig(temperature=0)],
)
def test_entropies_are_those_of_the_distributions_that_tokens_were_drawn_from(kind, sampling):
    model = tiny_model(kind)
    asked = [replace(one, keeps_entropies=index != 1) for index, one in enumerate(contexts())]
    found = sampled(model, asked, seed=3, stop_ids=(2, 7), sampling=sampling, max_batch_size=6)
    plain = sampled(model, contexts(), seed=3, stop_ids=(2, 7), sampling=sampling, max_batch_size=6)
    assert tokens_of(found) == tokens_of(plain)
    for index, (context, group) in enumerate(zip(asked, found, strict=True)):
        for item, other in zip(group, plain[index], strict=True):
            assert (item.log_probs, other.entropies) == (other.log_probs, None)
            if index == 1:
                assert item.entropies is None
                continue
            ids = torch.tensor([context.token_ids + item.token_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(context.token_ids) - 1 : -1]
            probs = processed_log_probs(logits, sampling).exp()
            expected = torch.special.entr(probs).sum(-1).tolist()
            assert item.entropies == pytest.approx(expected, abs=3e-5)


def test_a_completion_with_entropies_has_one_for_each_token():
    with pytest.raises(ConfigError, match="an entropy for each of its 2 tokens, got 1"):
        Completion(token_ids=(1, 2), log_probs=(-0.5, -0.25), is_finished=False, entropies=(0.5,))
