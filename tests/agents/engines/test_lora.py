"""Sampling with an adapter: by the fused pass, by the model's own, and by vLLM's files."""

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model, inject_adapter_in_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from reason_env.agents.engines import (
    Context,
    SamplingConfig,
    adapter_tensors,
    lora_layers,
    torch_engine,
)
from reason_env.agents.engines.adapter import write_adapter
from reason_env.agents.engines.fused import why_not_fused
from reason_env.agents.engines.vllm.weights import WeightFiles
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.policy.lora import adapter_off, add_lora
from reason_env.codec import ByteCodec

SIZES = {
    "vocab_size": 258,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2, with biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}
CONTEXTS = [
    Context(token_ids=(1, 2, 3, 4, 5, 6, 7, 3, 3, 2, 12), num_samples=5, max_new_tokens=5),
    Context(token_ids=(4, 200), num_samples=2, max_new_tokens=20),
]
ALL, SOME = LoraConfig(rank=3, alpha=5), LoraConfig(
    rank=3, alpha=5, target_modules=("k_proj", "v_proj", "up_proj", "o_proj")
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_models_are_fused(monkeypatch):
    monkeypatch.setattr(torch_engine, "MIN_FUSED_PARAMETERS", 0)


def noisy(build):
    """A model with random weights, whatever its own start would be."""
    generator = torch.Generator().manual_seed(8)
    with torch.random.fork_rng():
        model = build().eval()
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.3 * noise if weight.ndim > 1 else weight + 0.3 * noise)
    return model


def plain(kind="llama"):
    return noisy(KINDS[kind])


def train(model, seed=9, size=0.2):
    """Give B other values, as an update does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapter_tensors(model).items():
            if "lora_B" in name:
                weight.add_(size * torch.randn(weight.shape, generator=generator))


def adapted(kind="llama", config=ALL):
    model = plain(kind)
    add_lora(model, config, seed=5)
    train(model)
    return model


def gaps(policy, seed=3):
    """Mean |sampler - trainer| over the sampled tokens, nats; and the samples."""
    found = policy.sample(CONTEXTS, SamplingConfig(), seed=seed)
    pairs = [
        (context.token_ids, item)
        for context, group in zip(CONTEXTS, found, strict=True)
        for item in group
    ]
    scored = policy.score([a for a, _ in pairs], [b.token_ids for _, b in pairs], SamplingConfig())
    values = [
        abs(a - b)
        for own, (_, item) in zip(scored, pairs, strict=True)
        for a, b in zip(own, item.log_probs, strict=True)
    ]
    assert len(values) > 40
    return sum(values) / len(values), found


@pytest.mark.parametrize("config", [ALL, SOME])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fused_pass_samples_from_the_adapted_model(kind, config):
    model = adapted(kind, config)
    policy = LanguageModelPolicy(model, ByteCodec())
    assert policy.engine.path == "fused"
    mean, found = gaps(policy)
    assert mean < 2e-6
    # The model's own pass samples the same tokens.
    hooked = LanguageModelPolicy(adapted(kind, config), ByteCodec())
    hooked.model.register_forward_hook(lambda *_: None)
    assert hooked.engine.path == "model"
    mean, again = gaps(hooked)
    assert mean < 2e-6
    assert [[c.token_ids for c in g] for g in again] == [[c.token_ids for c in g] for g in found]
    base = gaps(LanguageModelPolicy(plain(kind), ByteCodec()))[1]
    assert base != found


@pytest.mark.parametrize("config", [ALL, SOME])
def test_in_mixed_precision_sampler_and_trainer_add_the_adapter_alike(config):
    model = adapted("llama", config)
    policy = LanguageModelPolicy(model, ByteCodec(), precision="bf16-mixed")
    assert policy.engine.path == "fused"
    mean, _ = gaps(policy)
    # Added to bfloat16 weights, the adapter would be rounded: 0.02 nats.
    assert mean < 5e-4
    # Copies are made again after an update of the adapter alone.
    assert policy.engine.num_weight_refreshes == 1
    train(model, seed=10)
    mean, _ = gaps(policy)
    assert mean < 5e-4
    assert policy.engine.num_weight_refreshes == 2
    with adapter_off(model):
        assert "switched off" in policy.engine.why_not_fused
    assert policy.engine.path == "fused"


def with_peft(**settings):
    model = plain()
    arguments = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "down_proj"]}
    name = settings.pop("adapter_name", "default")
    config = PeftLoraConfig(**(arguments | settings))
    return inject_adapter_in_model(config, model, adapter_name=name)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "q_proj has an adapter, and its adapter is a variant of LoRA"),
        ({"lora_bias": True}, "a variant of LoRA, or has a bias"),
        ({"target_modules": ["lm_head"]}, "lm_head has an adapter, and it is no projection"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens has an adapter, and it is a "),
        ({"adapter_name": "other"}, "its adapters are other, not 'default' alone"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adapter_that_the_fused_pass_does_not_compute_is_left_to_the_model(settings, reason):
    assert why_not_fused(with_peft()) is None
    model = with_peft(**settings)
    assert reason in why_not_fused(model)


def test_a_hook_below_an_adapter_is_seen():
    model = with_peft()
    layer = model.model.layers[1].mlp.down_proj
    layer.lora_A["default"].register_forward_hook(lambda *_: None)
    assert why_not_fused(model) == ("model.layers.1.mlp.down_proj.lora_A.default has forward hooks")


def test_a_merged_adapter_is_left_to_the_model():
    model = with_peft()
    model.model.layers[0].mlp.down_proj.merge()
    assert "switched off or merged" in why_not_fused(model)


def test_vllm_gets_the_base_once_and_the_adapter_after_each_update(tmp_path):
    """With the names and bytes of a model without adapter, and of peft's file of an adapter."""
    model = adapted()
    files = WeightFiles(model, vocab_size=258, folder=str(tmp_path / "own"))
    assert files.lora_rank == 3
    first = files.current()
    base = LlamaForCausalLM.from_pretrained(first.directory).eval()
    expected = plain()
    ids = torch.tensor([[3, 18, 5, 0]])
    with torch.no_grad():
        assert torch.equal(base(input_ids=ids).logits, expected(input_ids=ids).logits)
    assert files.current() == first
    train(model, seed=10)
    second = files.current()
    assert (second.directory, second.version) == (first.directory, first.version)
    assert (first.adapter_number, second.adapter_number) == (1, 2)
    write_adapter(model, tmp_path / "adapter")
    for path in (tmp_path / "adapter").iterdir():
        assert (second.adapter / path.name).read_bytes() == path.read_bytes()
    # A PeftModel around the same model gives the same files.
    around = get_peft_model(
        plain(),
        PeftLoraConfig(r=3, lora_alpha=5, target_modules=[
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
        ], task_type="CAUSAL_LM"),
    )  # fmt: skip
    with torch.no_grad():
        inner = around.get_base_model()
        for name, weight in adapter_tensors(inner).items():
            weight.copy_(adapter_tensors(model)[name])
    theirs = WeightFiles(around, vocab_size=258, folder=str(tmp_path / "theirs")).current()
    for one, other in ((theirs.directory, second.directory), (theirs.adapter, second.adapter)):
        for path in one.glob("*.safetensors"):
            assert path.read_bytes() == (other / path.name).read_bytes()
    assert len(lora_layers(around)) == len(lora_layers(model)) == 21
    files.close()
