"""A decoder layer of Llama, Qwen2 and Qwen3, as the sampler and the trainer both compute it.

In bf16-mixed a number near the middle of two bfloat16 numbers may be rounded to either, and a
difference of 1e-7 decides. 30 layers spread such a flip until two passes differ by as much as the
rounding itself, 0.02 nats a token on a model of 135 M parameters. So both passes round at the same
places, and what they round has the same bits. On a CPU:

* residual stream, norms, rotation and the projection to the vocabulary are float32, row by row;
* matrix products take and give bfloat16; their sums for a row do not depend on other rows;
* queries and keys are rounded to a grid on which float32 adds every score exactly, in any order
  (`on_grid`); values are bfloat16; softmax and its sums are float64, and the result is bfloat16.

Only attention adds in different orders: the sampler over shared, cached and new keys, the trainer
over whole sequences. In float64 the order changes a rounding once in 1e10. On a GPU attention reads
bfloat16 and adds in float32, and the passes agree to the size of the rounding.

In float32 nothing is rounded, and orders show in the last bits.

Axis letters: N tokens of all sequences, H heads of queries, K heads of keys and values, D head
size, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]
"""From [N, inputs] to [N, outputs]."""
Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""From queries [N, H, D], keys and values [N, K, D], and the scale of scores, to [N, H, D]."""
GRID_BITS = 12
"""The norm of a head is below 2^12 steps of its grid."""
NORM_MARGIN = 1.002
"""Rounding makes a norm of 2^11 steps longer by less than this factor, up to D = 256."""
LARGEST_POWER = 0x7F800000
"""The bits of a float32 that are left of its largest power of two."""


@dataclass(frozen=True, slots=True)
class LayerParts:
    """What a layer applies: the trainer's modules, or the sampler's functions of the same bits."""

    input_norm: Map
    heads: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Queries and keys, [N, H + K, D], after norms of their own if there are any; values."""
    out: Map
    post_norm: Map
    mlp: Map
    scale: float
    """Of scores."""


def decoder_layer(
    parts: LayerParts,
    hidden_NC: Tensor,
    rotary: tuple[Tensor, Tensor],
    attend: Attend,
    *,
    is_mixed: bool,
) -> Tensor:
    """Return the residual stream after the layer.

    Args:
        parts: The layer; in bf16-mixed its products round their inputs and outputs.
        hidden_NC: The residual stream.
        rotary: From `rotary_of`.
        attend: Attention of each token to its own and all earlier ones.
        is_mixed: Whether the precision is bf16-mixed.
    """
    both, value = parts.heads(parts.input_norm(hidden_NC))
    both, scale, num_keys = rotated(both, *rotary), parts.scale, value.shape[1]
    query, key = both[:, :-num_keys], both[:, -num_keys:]
    if is_mixed:
        query, key, scale = rounded_heads(query * scale), rounded_heads(key), 1.0
    mixed = attend(query, key, value, scale)
    hidden_NC = hidden_NC + parts.out(mixed.flatten(1))
    return hidden_NC + parts.mlp(parts.post_norm(hidden_NC))


def rotary_of(decoder: Any, hidden_NC: Tensor, positions_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [N, 1, D] of the decoder's rotation, the first sines negated."""
    cos, sin = decoder.rotary_emb(hidden_NC[None], positions_N[None])
    first, second = sin[0].chunk(2, dim=-1)
    return cos[0][:, None], torch.cat([-first, second], dim=-1)[:, None]


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head [N, heads, D] by the angle of its position, in the residual stream's type."""
    wide = heads.to(cos.dtype)
    return (wide * cos).add_(wide.roll(wide.shape[-1] // 2, dims=-1).mul_(sin))


def rounded_heads(heads: Tensor) -> Tensor:
    """Round queries or keys; the gradient is that of no rounding."""
    return _RoundedHeads.apply(heads) if heads.requires_grad else _rounded(heads)


def sums_dtype(device: torch.device, *, is_mixed: bool) -> torch.dtype:
    """Return the type in which attention adds, if the model's own is float32."""
    return torch.float64 if is_mixed and device.type == "cpu" else torch.float32


def on_grid(heads: Tensor) -> Tensor:
    """Round each head [..., D], float32, to multiples of a power of two, its grid's step.

    The step is such that the norm is between 2^11 and 2^12 steps. By Cauchy and Schwarz, any sum of
    products of two heads is then an integer below 2^24 times both steps: float32 holds it exactly.

    >>> on_grid(torch.tensor([1.0, 0.3, 1e-5]))
    tensor([1.0000, 0.2998, 0.0000])
    """
    norm = torch.linalg.vector_norm(heads, dim=-1, keepdim=True).mul_(NORM_MARGIN)
    power = norm.view(torch.int32).bitwise_and_(LARGEST_POWER).view(torch.float32)
    # Numbers near 1.5 * 2^23 steps are multiples of one step: adding it rounds.
    shift = power.mul_(1.5 * 2.0 ** (23 - GRID_BITS + 1))
    return (heads + shift).sub_(shift)


def _rounded(heads: Tensor) -> Tensor:
    return on_grid(heads) if heads.device.type == "cpu" else heads.bfloat16()


class _RoundedHeads(torch.autograd.Function):
    """A rounding whose gradient is that of no rounding, as everywhere in mixed precision."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor) -> Tensor:
        del ctx
        return _rounded(heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        del ctx
        return grads[0].float()
