"""A decoding step of a small float32 model, with the bits of the model's own pass in fewer calls.

At 32 rows a layer of a small model is some twenty microseconds of arithmetic a call, and the calls
of its modules, one for each norm and projection, take longer than that. This step makes the same
numbers by the same operations in the same order, so that what is sampled is the same to the bit:

* norms of queries and of keys, and their rotation, are one for all heads; the angles of a position
  are computed once;
* attention is that of the forked cache (`fork_cache.py`);
* matrix products stay those of the modules: one product for queries, keys and values would add in
  another order at some sizes.

It reads the model's own weights, and lives as long as one call of `sample`.

Axis letters: S sequences, C channels, H heads of queries and keys, D head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear, silu

from reason_env.agents.engines.decoder_layer import rotary_of
from reason_env.agents.engines.fork_cache import FIRST_COLUMNS, ForkCache, forked


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    eps: float

    def __call__(self, states: Tensor) -> Tensor:
        scale = states.pow(2).mean(-1, keepdim=True).add_(self.eps).rsqrt_()
        return (states * scale).mul_(self.weight)


@dataclass(frozen=True, slots=True)
class _Layer:
    input_norm: _Norm
    projections: tuple[tuple[Tensor, Tensor | None], ...]
    """Weights and biases of queries, keys and values."""
    head_norm: _Norm | None
    """Of queries and keys; its weight is [H, D]."""
    num_keys: int
    """Heads of keys."""
    scale: float
    out: tuple[Tensor, Tensor | None]
    post_norm: _Norm
    gate: tuple[Tensor, Tensor | None]
    up: tuple[Tensor, Tensor | None]
    down: tuple[Tensor, Tensor | None]


class DecodeStep:
    """Computes the logits after one more token of each sequence."""

    def __init__(self, model: Any, *, vocab_size: int) -> None:
        """Read the weights of a claimed model without adapters (`fused.why_not_fused`)."""
        self._decoder = model.model
        self._layers = [_layer_of(layer) for layer in self._decoder.layers]
        self._norm = _norm_of(self._decoder.norm)
        self._head = _linear_of(model.lm_head)
        self._vocab_size = vocab_size
        self._cos_L = self._sin_L = self._norm.weight.new_empty((0, 1, 0))

    def __call__(self, tokens_S: Tensor, positions_S: Tensor, cache: ForkCache) -> Tensor:
        """Write the tokens' keys and values to the cache; return logits [S, V]."""
        hidden = embedding(tokens_S, self._decoder.embed_tokens.weight)
        cos, sin = self._rotary(hidden, positions_S)
        for layer, columns in zip(self._layers, cache.fork_layers, strict=True):
            inputs = layer.input_norm(hidden)
            heads = torch.cat([linear(inputs, *pair) for pair in layer.projections], dim=-1)
            heads = heads.view(len(tokens_S), -1, cos.shape[-1])
            both, value = heads[:, : -layer.num_keys], heads[:, -layer.num_keys :]
            if layer.head_norm is not None:
                both = layer.head_norm(both)
            both = (both * cos).add_(both.roll(cos.shape[-1] // 2, dims=-1).mul_(sin))
            keys, values = columns.update(both[:, -layer.num_keys :, None], value[:, :, None])
            query = both[:, : -layer.num_keys] * layer.scale
            mixed = forked(cache, columns, query, keys, values)
            hidden = hidden + linear(mixed.flatten(1), *layer.out)
            inputs = layer.post_norm(hidden)
            gated = silu(linear(inputs, *layer.gate)).mul_(linear(inputs, *layer.up))
            hidden = hidden + linear(gated, *layer.down)
        return linear(self._norm(hidden), *self._head)[:, : self._vocab_size]

    def _rotary(self, hidden_SC: Tensor, positions_S: Tensor) -> tuple[Tensor, Tensor]:
        """Look up cosines and sines, which are computed once for many positions."""
        needed = int(positions_S.max()) + 1
        if needed > len(self._cos_L):
            size = max(needed + FIRST_COLUMNS, 2 * len(self._cos_L))
            every = torch.arange(size, device=positions_S.device)
            self._cos_L, self._sin_L = rotary_of(self._decoder, hidden_SC, every)
        return self._cos_L[positions_S], self._sin_L[positions_S]


def _layer_of(layer: Any) -> _Layer:
    own, mlp = layer.self_attn, layer.mlp
    num_queries = own.config.num_attention_heads
    num_keys = own.config.num_key_value_heads
    head_norm = None
    if hasattr(own, "q_norm"):
        weights = [own.q_norm.weight] * num_queries + [own.k_norm.weight] * num_keys
        head_norm = _Norm(torch.stack(weights), own.q_norm.variance_epsilon)
    return _Layer(
        input_norm=_norm_of(layer.input_layernorm),
        projections=tuple(_linear_of(module) for module in (own.q_proj, own.k_proj, own.v_proj)),
        head_norm=head_norm,
        num_keys=num_keys,
        scale=own.scaling,
        out=_linear_of(own.o_proj),
        post_norm=_norm_of(layer.post_attention_layernorm),
        gate=_linear_of(mlp.gate_proj),
        up=_linear_of(mlp.up_proj),
        down=_linear_of(mlp.down_proj),
    )


def _norm_of(module: Any) -> _Norm:
    return _Norm(module.weight, module.variance_epsilon)


def _linear_of(module: Any) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias
