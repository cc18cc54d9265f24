"""Which models the fused forward pass computes exactly, and why it leaves others alone.

A model is claimed only if every module in it is of a known class, so that a hook, another
activation or another attention can never be skipped silently. LoRA layers are known in the places
of the decoder layers' projections.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers.activations import SiLUActivation
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from reason_env.agents.engines.adapter import lora_layers, lora_refusal

MODEL_CLASSES = (llama.LlamaForCausalLM, qwen2.Qwen2ForCausalLM, qwen3.Qwen3ForCausalLM)
KNOWN_MODULES = frozenset(
    (
        *(nn.Linear, nn.Embedding, nn.ModuleList, nn.SiLU, SiLUActivation),
        *(llama.LlamaForCausalLM, llama.LlamaModel, llama.LlamaDecoderLayer, llama.LlamaAttention),
        *(llama.LlamaMLP, llama.LlamaRMSNorm, llama.LlamaRotaryEmbedding),
        *(qwen2.Qwen2ForCausalLM, qwen2.Qwen2Model, qwen2.Qwen2DecoderLayer, qwen2.Qwen2Attention),
        *(qwen2.Qwen2MLP, qwen2.Qwen2RMSNorm, qwen2.Qwen2RotaryEmbedding),
        *(qwen3.Qwen3ForCausalLM, qwen3.Qwen3Model, qwen3.Qwen3DecoderLayer, qwen3.Qwen3Attention),
        *(qwen3.Qwen3MLP, qwen3.Qwen3RMSNorm, qwen3.Qwen3RotaryEmbedding),
    )
)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers that may have an adapter."""
FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose frequencies do not depend on the length of the sequence."""


def why_not_fused(model: Any) -> str | None:
    """Return why the fused forward pass does not compute this model; None if it does."""
    if type(model) not in MODEL_CLASSES:
        return f"its class is {type(model).__name__}"
    return next(_differences(model), None)


def _differences(model: Any) -> Iterator[str]:
    """Yield what the fused forward pass would compute wrongly."""
    adapted = lora_layers(model)
    yield from _adapter_differences(adapted)
    own = tuple(f"{name}.lora_" for name in adapted)
    for name, module in model.named_modules():
        is_known = name in adapted or name.startswith(own)
        if type(module) not in KNOWN_MODULES and not is_known:
            yield f"{name} is a {type(module).__name__}"
        if module._forward_hooks or module._forward_pre_hooks:
            yield f"{name or 'the model'} has forward hooks"
        if "forward" in vars(module):
            yield f"{name or 'the model'} has a forward pass of its own"
    if set(getattr(model.config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        yield "some layers have no full attention"
    rotation = model.model.rotary_emb
    if rotation.rope_type not in FIXED_ROTATIONS:
        yield f"its rotary embedding is of type {rotation.rope_type}"
    if 2 * len(rotation.inv_freq) != model.model.layers[0].self_attn.head_dim:
        yield "its rotary embedding turns a part of each head"
    dtypes = {weight.dtype for weight in model.parameters()}
    if dtypes != {torch.float32}:
        yield f"its weights are {', '.join(sorted(map(str, dtypes)))}"


def _adapter_differences(adapted: Mapping[str, Any]) -> Iterator[str]:
    for name, layer in adapted.items():
        reason = lora_refusal(layer)
        if reason is None and name.rpartition(".")[2] not in PROJECTIONS:
            reason = "it is no projection of a decoder layer"
        if reason is not None:
            yield f"{name} has an adapter, and {reason}"
