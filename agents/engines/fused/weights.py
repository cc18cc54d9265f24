"""The weights that the fused forward pass reads: the model's own, or bfloat16 copies of them.

In float32 the pass reads the model's own parameters: there is no second copy to become stale. In
bf16-mixed it reads bfloat16 copies, with the projections of queries, keys and values in one matrix,
and those of gate and up in another. `refreshed` makes them again as soon as any parameter changed.

LoRA layers add their own product to that of the base weights, as in the model's own pass. Added to
bfloat16 weights, a small change would be rounded away: sampler and trainer would differ.

A change is seen by the parameter's address, its version counter, and the bits of up to 64 of its
elements: writes through `.data` do not count as versions.

The vocabulary projection stays in float32: bfloat16 logits of size 16 are 0.06 apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reason_env.agents.engines.adapter import ADAPTER

Project = Callable[[Tensor], Tensor]
"""A linear layer, from [N, inputs] to [N, outputs]."""
FINGERPRINT_ELEMENTS = 64


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer."""

    input_norm: Tensor
    post_norm: Tensor
    query_norm: Tensor | None
    """[D] of Qwen3, else None."""
    key_norm: Tensor | None
    qkv: Project
    """To queries, keys and values, one after the other."""
    out: Project
    gate_up: Project
    """To gate and up, one after the other."""
    down: Project


@dataclass(frozen=True, slots=True)
class FusedWeights:
    """A whole model."""

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Project
    """To float32 logits of the ids below the vocabulary's size."""
    dtype: torch.dtype
    """Of what `qkv`, `out`, `gate_up` and `down` take and give."""
    num_heads: int
    num_key_heads: int
    head_size: int
    norm_eps: float
    inverse_frequencies: Tensor
    rotation_scale: float


def fused_weights(model: Any, *, vocab_size: int, is_mixed: bool) -> FusedWeights:
    """Collect the weights of a claimed model; bfloat16 copies if `is_mixed`."""
    attention = model.model.layers[0].self_attn
    rotation = model.model.rotary_emb
    joined = _packed if is_mixed else _apart
    head = model.lm_head
    bias = None if head.bias is None else head.bias[:vocab_size]
    head_weight = head.weight[:vocab_size]
    return FusedWeights(
        embedding=model.model.embed_tokens.weight,
        layers=tuple(_layer_weights(layer, joined) for layer in model.model.layers),
        norm=model.model.norm.weight,
        head=_projection(head_weight, bias, is_packed=is_mixed),
        dtype=torch.bfloat16 if is_mixed else torch.float32,
        num_heads=model.config.num_attention_heads,
        num_key_heads=model.config.num_key_value_heads,
        head_size=attention.head_dim,
        norm_eps=model.model.norm.variance_epsilon,
        inverse_frequencies=rotation.inv_freq,
        rotation_scale=rotation.attention_scaling,
    )


def fingerprint(model: Any) -> tuple[tuple[int, int, Tensor], ...]:
    """Return what changes when any parameter changes; see the module's docstring."""
    found: list[tuple[int, int, Tensor]] = []
    for weight in model.parameters():
        flat = weight.detach().flatten()
        stride = max(1, len(flat) // FINGERPRINT_ELEMENTS)
        found.append((weight.data_ptr(), weight._version, flat[::stride].clone()))
    return tuple(found)


def is_same(
    one: tuple[tuple[int, int, Tensor], ...], other: tuple[tuple[int, int, Tensor], ...]
) -> bool:
    """Return whether two fingerprints are equal; nan counts as equal to itself."""
    return len(one) == len(other) and all(
        a[:2] == b[:2] and torch.equal(a[2].view(torch.int32), b[2].view(torch.int32))
        for a, b in zip(one, other, strict=True)
    )


def _layer_weights(layer: Any, joined: Callable[..., Project]) -> LayerWeights:
    attention, mlp = layer.self_attn, layer.mlp
    query_norm = getattr(attention, "q_norm", None)
    key_norm = getattr(attention, "k_norm", None)
    return LayerWeights(
        input_norm=layer.input_layernorm.weight,
        post_norm=layer.post_attention_layernorm.weight,
        query_norm=None if query_norm is None else query_norm.weight,
        key_norm=None if key_norm is None else key_norm.weight,
        qkv=_adapted(joined, attention.q_proj, attention.k_proj, attention.v_proj),
        out=_adapted(joined, attention.o_proj),
        gate_up=_adapted(joined, mlp.gate_proj, mlp.up_proj),
        down=_adapted(joined, mlp.down_proj),
    )


def _adapted(joined: Callable[..., Project], *modules: Any) -> Project:
    """Join linear layers, and add the products of the LoRA layers among them."""
    base = joined(*modules)
    layers = [module for module in modules if hasattr(module, "lora_A")]
    if not layers:
        return base
    dtype = torch.bfloat16 if joined is _packed else torch.float32
    down = torch.cat([layer.lora_A[ADAPTER].weight for layer in layers])
    up = down.new_zeros((sum(module.weight.shape[0] for module in modules), len(down)))
    row = column = 0
    # Off the diagonal blocks are zeros: a layer's output has its own change only.
    for module in modules:
        if hasattr(module, "lora_A"):
            own = module.lora_B[ADAPTER].weight
            up[row : row + len(own), column : column + own.shape[1]] = own
            column += own.shape[1]
        row += module.weight.shape[0]
    down, up, scale = down.to(dtype), up.to(dtype), layers[0].scaling[ADAPTER]

    def project(inputs: Tensor) -> Tensor:
        change = torch.nn.functional.linear(torch.nn.functional.linear(inputs, down), up)
        # Scaled and added in two steps, each rounded, as the model's own pass does.
        return change.mul_(scale).add_(base(inputs))

    return project


def _apart(*modules: Any) -> Project:
    """Apply each linear layer's own parameters, and put the results side by side."""
    pairs = [(module.weight, module.bias) for module in modules]
    if len(pairs) == 1:
        weight, bias = pairs[0]
        return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)
    return lambda inputs: torch.cat(
        [torch.nn.functional.linear(inputs, weight, bias) for weight, bias in pairs], dim=-1
    )


def _packed(*modules: Any) -> Project:
    """Apply bfloat16 copies of linear layers as one matrix."""
    weight = torch.cat([module.weight for module in modules]).bfloat16()
    biases = [module.bias for module in modules if module.bias is not None]
    bias = torch.cat(biases).bfloat16() if biases else None
    return _projection(weight, bias, is_packed=True)


def _projection(weight: Tensor, bias: Tensor | None, *, is_packed: bool) -> Project:
    """Return a linear layer; packed for this CPU's matrix products if it has them."""
    if is_packed and weight.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        apply = torch.ops.mkldnn._linear_pointwise.default
        return lambda inputs: apply(inputs, packed, bias, "none", [], "")
    return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)
