import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from reason_env.agents.engines import Context, SamplingConfig, TorchEngine
from reason_env.agents.engines.fork_cache import FIRST_COLUMNS
from reason_env.agents.policy.lora import LoraConfig, add_lora
from tests.agents.engines.test_fused import (
    CONTEXTS,
    KINDS,
    SIZES,
    UNCLAIMED,
    VOCAB,
    engine_of,
    tiny,
    with_random_weights,
)

GROUP = [Context(token_ids=(9, 9, 1, 0), num_samples=4, max_new_tokens=9)] * 2
"""Whole groups of equal contexts: they are attended to without moving a row."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_dropout():
    config = LlamaConfig(**SIZES, vocab_size=VOCAB, attention_dropout=0.5)
    return with_random_weights(LlamaForCausalLM(config)).train()


MODELS = {kind: lambda kind=kind: tiny(kind) for kind in KINDS} | {"with dropout": with_dropout}


def sampled(model, asked, *, stop_ids=()):
    engine = engine_of(model)
    assert engine.path == "model"
    return engine.sample(asked, SamplingConfig(), seed=3, stop_ids=stop_ids)


@pytest.mark.parametrize("stop_ids", [(), (2, 7)])
@pytest.mark.parametrize("kind", MODELS)
def test_a_step_has_the_bits_of_the_models_own_pass(kind, stop_ids, monkeypatch):
    model, calls = MODELS[kind](), []
    assert engine_of(model)._decode_step() is not None
    found = [sampled(model, asked, stop_ids=stop_ids) for asked in (CONTEXTS, GROUP)]

    def no_step(engine):
        calls.append(engine)

    monkeypatch.setattr(TorchEngine, "_decode_step", no_step)
    assert found == [sampled(model, asked, stop_ids=stop_ids) for asked in (CONTEXTS, GROUP)]
    assert len(calls) == 2


def test_positions_beyond_the_angles_of_the_first_step_have_the_bits_too(monkeypatch):
    # The first step computes angles for FIRST_COLUMNS positions after the longest context's.
    short = Context(token_ids=(4, 1), num_samples=2, max_new_tokens=FIRST_COLUMNS + 3)
    long = Context(token_ids=(5, 6, 7) * 30, num_samples=2, max_new_tokens=FIRST_COLUMNS + 3)
    assert len(long.token_ids) > FIRST_COLUMNS
    model = tiny("qwen3")
    found = sampled(model, [short, long])
    monkeypatch.setattr(TorchEngine, "_decode_step", lambda engine: None)
    assert found == sampled(model, [short, long])


@pytest.mark.parametrize("reason", UNCLAIMED)
def test_what_the_fused_pass_does_not_know_no_step_computes(reason):
    assert engine_of(UNCLAIMED[reason]().eval())._decode_step() is None


def test_other_models_other_precisions_and_adapters_have_no_step():
    assert engine_of(tiny("qwen3"))._decode_step() is not None
    assert engine_of(tiny("qwen3"), precision="bf16-mixed")._decode_step() is None
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2))
    assert engine_of(gpt2)._decode_step() is None
    adapted = tiny("qwen3")
    add_lora(adapted, LoraConfig(rank=2), seed=0)
    assert engine_of(adapted)._decode_step() is None


def test_a_step_reads_the_weights_of_its_call():
    model = tiny("qwen3")
    engine = engine_of(model)
    before = engine.sample(CONTEXTS, SamplingConfig(), seed=3, stop_ids=())
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.mul_(1.5)
    after = engine.sample(CONTEXTS, SamplingConfig(), seed=3, stop_ids=())
    assert before != after
    assert after == sampled(model, CONTEXTS)
