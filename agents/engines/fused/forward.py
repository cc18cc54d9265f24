"""The decoder layers of Llama, Qwen2 and Qwen3, over the tokens of all sequences in one row.

Products take whole rows of tokens, without padding; only attention knows sequences. The residual
stream, the norms and the rotation are float32; the products' inputs and outputs have the weights'
type, as autocast gives them to the model's own forward pass.

Axis letters: N tokens of all sequences, H key-value heads, R query heads of a key-value head, D
head size.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import silu

from reason_env.agents.engines.fused.weights import FusedWeights, LayerWeights

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""From the layer's index, queries [N, H, R, D], keys and values [N, H, D] to outputs [N, H, R, D];
all float32. Queries are scaled."""


def hidden_states(
    weights: FusedWeights, token_ids_N: Tensor, positions_N: Tensor, attend: Attend
) -> Tensor:
    """Return the hidden states after the last layer, before its norm, [N, hidden], float32."""
    hidden = weights.embedding[token_ids_N]
    cos, sin = _rotation(weights, positions_N)
    for index, layer in enumerate(weights.layers):
        inputs = _normed(hidden, layer.input_norm, weights.norm_eps).to(weights.dtype)
        query, key, value = _attention_inputs(weights, layer, layer.qkv(inputs), cos, sin)
        found = attend(index, query, key, value).flatten(1)
        hidden = hidden.add_(layer.out(found.to(weights.dtype)))
        inputs = _normed(hidden, layer.post_norm, weights.norm_eps).to(weights.dtype)
        gate, up = layer.gate_up(inputs).chunk(2, dim=-1)
        hidden = hidden.add_(layer.down(silu(gate).mul_(up)))
    return hidden


def next_logits(weights: FusedWeights, hidden: Tensor) -> Tensor:
    """Return float32 logits [N, V] for the tokens after these hidden states."""
    return weights.head(_normed(hidden, weights.norm, weights.norm_eps))


def _normed(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return the float32 root-mean-square norm, rounded before its weight as the model's own is."""
    exact = hidden.float()
    scale = exact.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (exact * scale).to(hidden.dtype) * weight


def _rotation(weights: FusedWeights, positions_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [N, 1, D] of the rotation; the first half's sines negated."""
    angles = positions_N[:, None, None].float() * weights.inverse_frequencies.float()
    cos, sin = angles.cos() * weights.rotation_scale, angles.sin() * weights.rotation_scale
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head [N, heads, D] by the angle of its position; float32."""
    exact = heads.float()
    return torch.mul(exact, cos).addcmul_(exact.roll(exact.shape[-1] // 2, dims=-1), sin)


def _attention_inputs(
    weights: FusedWeights, layer: LayerWeights, qkv: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Split, norm, rotate and scale; return queries, keys and values in float32."""
    num_keys, size = weights.num_key_heads, weights.head_size
    heads = qkv.view(len(qkv), -1, size)
    both, value = heads[:, :-num_keys], heads[:, -num_keys:]
    if layer.query_norm is not None and layer.key_norm is not None:
        query = _normed(both[:, : weights.num_heads], layer.query_norm, weights.norm_eps)
        key = _normed(both[:, weights.num_heads :], layer.key_norm, weights.norm_eps)
        both = torch.cat([query, key], dim=1)
    # Attention reads what the products' type can hold, as the trainer's does.
    both = _rotated(both, cos, sin).to(weights.dtype).float()
    query, key = both[:, : weights.num_heads], both[:, weights.num_heads :]
    query = (query * size**-0.5).view(len(qkv), num_keys, -1, size)
    return query, key, value.float()
