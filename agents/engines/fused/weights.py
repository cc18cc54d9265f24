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

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from reason_env.agents.engines.adapter import ADAPTER
from reason_env.agents.engines.decoder_layer import LayerParts, Map
from reason_env.agents.engines.products import linear_product, packed_linear

FINGERPRINT_ELEMENTS = 64


@dataclass(frozen=True, slots=True)
class FusedWeights:
    """A whole model."""

    decoder: Any
    """The model's own, for its rotation."""
    embedding: Tensor
    layers: tuple[LayerParts, ...]
    norm: Map
    head: Map
    """To float32 logits of the ids below the vocabulary's size."""
    num_key_heads: int
    head_size: int
    is_mixed: bool


def fused_weights(model: Any, *, vocab_size: int, is_mixed: bool) -> FusedWeights:
    """Collect the weights of a claimed model; bfloat16 copies if `is_mixed`."""
    head, decoder = model.lm_head, model.model
    bias = None if head.bias is None else head.bias[:vocab_size]
    return FusedWeights(
        decoder=decoder,
        embedding=decoder.embed_tokens.weight,
        layers=tuple(_layer_parts(layer, is_mixed=is_mixed) for layer in decoder.layers),
        norm=_norm(decoder.norm),
        head=_head(head.weight[:vocab_size], bias, is_mixed=is_mixed),
        num_key_heads=model.config.num_key_value_heads,
        head_size=decoder.layers[0].self_attn.head_dim,
        is_mixed=is_mixed,
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


def _layer_parts(layer: Any, *, is_mixed: bool) -> LayerParts:
    attention, mlp = layer.self_attn, layer.mlp
    joined = _rounding if is_mixed else _adapted
    qkv = joined(attention.q_proj, attention.k_proj, attention.v_proj)
    gate_up, down = joined(mlp.gate_proj, mlp.up_proj), joined(mlp.down_proj)
    size, num_queries = attention.head_dim, attention.config.num_attention_heads
    num_keys = attention.config.num_key_value_heads
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    query_norm, key_norm = (None if norm is None else _norm(norm) for norm in norms)

    def heads(inputs: Tensor) -> tuple[Tensor, Tensor]:
        found = qkv(inputs).view(len(inputs), -1, size)
        both, value = found[:, :-num_keys], found[:, -num_keys:]
        if query_norm is not None and key_norm is not None:
            both = torch.cat(
                [query_norm(both[:, :num_queries]), key_norm(both[:, num_queries:])], dim=1
            )
        return both, value

    def gated(inputs: Tensor) -> Tensor:
        gate, up = gate_up(inputs).chunk(2, dim=-1)
        return down(silu(gate).mul_(up))

    return LayerParts(
        input_norm=_norm(layer.input_layernorm),
        heads=heads,
        out=joined(attention.o_proj),
        post_norm=_norm(layer.post_attention_layernorm),
        mlp=gated,
        scale=attention.scaling,
    )


def _norm(module: Any) -> Map:
    """Return the root-mean-square norm: float32, rounded before its weight as the module's is."""
    weight, eps = module.weight, module.variance_epsilon

    def normed(hidden: Tensor) -> Tensor:
        exact = hidden.float()
        scale = exact.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
        return (exact * scale).to(hidden.dtype) * weight

    return normed


def _rounding(*modules: Any) -> Map:
    """Join linear layers in bfloat16."""
    project = _adapted(*modules, dtype=torch.bfloat16)

    def apply(inputs: Tensor) -> Tensor:
        rounded = inputs.bfloat16()
        # A product of one row adds in another order than a product of more.
        return project(rounded) if len(rounded) > 1 else project(rounded.expand(2, -1))[:1]

    return apply


def _adapted(*modules: Any, dtype: torch.dtype = torch.float32) -> Map:
    """Join linear layers, and add the products of the LoRA layers among them."""
    base = _apart(*modules) if dtype == torch.float32 else _packed(*modules)
    layers = [module for module in modules if hasattr(module, "lora_A")]
    if not layers:
        return base
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
        change = linear_product(linear_product(inputs, down), up)
        # Scaled and added in two steps, each rounded, as the model's own pass does.
        return change.mul_(scale).add_(base(inputs))

    return project


def _apart(*modules: Any) -> Map:
    """Apply each linear layer's own parameters, and put the results side by side."""
    pairs = [(module.weight, module.bias) for module in modules]
    if len(pairs) == 1:
        weight, bias = pairs[0]
        return lambda inputs: linear(inputs, weight, bias)
    return lambda inputs: torch.cat([linear(inputs, weight, bias) for weight, bias in pairs], -1)


def _packed(*modules: Any) -> Map:
    """Apply bfloat16 copies of linear layers as one matrix."""
    weight = torch.cat([module.weight for module in modules]).bfloat16()
    biases = [module.bias for module in modules if module.bias is not None]
    bias = torch.cat(biases).bfloat16() if biases else None
    return packed_linear(weight, bias)


def _head(weight: Tensor, bias: Tensor | None, *, is_mixed: bool) -> Map:
    if is_mixed:
        return packed_linear(weight, bias)
    return lambda inputs: linear(inputs, weight, bias)
