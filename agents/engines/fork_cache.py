"""A KV cache for many sequences that share prefixes; it stores each shared prefix once.

If every sequence of a group had a copy of the context's keys, the group would read them G times a
token; with 256 shared tokens that takes most of the time of a small model on a CPU. This cache
stores the keys of a context once, and all samples of the context attend to them in one matrix
product. Attention over the shared columns and over a sequence's own columns is merged by
log-sum-exp, which is exact:

    softmax([a, b]) [U; V] = w softmax(a) U + (1 - w) softmax(b) V,  w = sigmoid(lse(a) - lse(b))

Models outside `SHARED_PREFIX_MODELS`, with sliding windows, or with weights below float32 get one
copy per sequence and use their own attention.

Axis letters: P contexts, S sequences, G sequences of one context, H key-value heads, R query heads
of a key-value head, L context columns, T own columns, D head size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from reason_env.agents.engines.sequences import kept_rows

SHARED_PREFIX_MODELS = ("gpt2", "llama", "qwen2", "qwen3")
"""Model types with plain softmax attention, called through transformers' AttentionInterface."""
IMPLEMENTATION = "reason_env_fork"
FIRST_COLUMNS = 64
"""Initial number of own columns in a buffer; a full buffer doubles."""


def can_share_prefixes(model: Any) -> bool:
    """Return whether `forked_attention` equals the model's own attention."""
    config = model.config
    layer_types = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in SHARED_PREFIX_MODELS
        and layer_types == {"full_attention"}
        and not getattr(config, "scale_attn_by_inverse_layer_idx", False)
        and model.dtype == torch.float32
    )


class ForkLayer(DynamicLayer):
    """The columns of one layer, in buffers that grow by doubling; rows can move and be dropped."""

    def __init__(self, prefix: CacheLayerMixin, rows: Tensor | None) -> None:
        """Start from a prefilled layer.

        Args:
            prefix: Keys and values of the contexts, [P, H, L, D].
            rows: The context of each sequence, [S], to copy its columns; None to share them.
        """
        super().__init__()
        assert prefix.keys is not None, "a fork starts after its prefill"
        assert prefix.values is not None, "a fork starts after its prefill"
        self.prefix_keys, self.prefix_values = prefix.keys, prefix.values
        self.length = 0
        if rows is not None:
            self.update(prefix.keys[rows], prefix.values[rows])

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new columns; return views of each sequence's own columns so far."""
        begin, end = self.length, self.length + key_states.shape[-2]
        self.keys = _wide_enough(self.keys, key_states, begin, end)
        self.values = _wide_enough(self.values, value_states, begin, end)
        self.keys[:, :, begin:end] = key_states
        self.values[:, :, begin:end] = value_states
        self.length, self.is_initialized = end, True
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of columns written."""
        return self.length

    def keep_(self, num_rows: int, holes: Tensor, movers: Tensor) -> None:
        """Move rows `movers` to `holes`, then keep only the first `num_rows` rows."""
        if self.keys is None or self.values is None:
            return
        self.keys[holes, :, : self.length] = self.keys[movers, :, : self.length]
        self.values[holes, :, : self.length] = self.values[movers, :, : self.length]
        self.keys, self.values = self.keys[:num_rows], self.values[:num_rows]


def _wide_enough(buffer: Tensor | None, states: Tensor, begin: int, end: int) -> Tensor:
    """Return the buffer if it holds `end` columns, else a wider copy of its first `begin`."""
    if buffer is not None and end <= buffer.shape[2]:
        return buffer
    rows, heads, _, size = states.shape
    wider = states.new_empty((rows, heads, max(2 * begin, end - 1 + FIRST_COLUMNS), size))
    if buffer is not None:
        wider[:, :, :begin] = buffer[:, :, :begin]
    return wider


class ForkCache(Cache):
    """The cache of a batch of sequences, forked from their prefilled contexts."""

    def __init__(
        self, prefix: Sequence[CacheLayerMixin], mask_PL: Tensor, rows_S: Tensor, *, is_shared: bool
    ) -> None:
        """Fork the prefilled layers.

        Args:
            prefix: The prefilled layers.
            mask_PL: 1 on tokens, 0 on the padding before them.
            rows_S: The context of each sequence, in ascending order.
            is_shared: Whether all sequences of a context attend to one copy of it.
        """
        self.fork_layers = [ForkLayer(layer, None if is_shared else rows_S) for layer in prefix]
        super().__init__(layers=list(self.fork_layers))
        self.is_shared = is_shared
        self.rows_S = rows_S
        starts = torch.searchsorted(rows_S, rows_S)
        self.places_S = torch.arange(len(rows_S), device=rows_S.device) - starts
        """Index of each sequence among the sequences of its context."""
        self.group_size = int(self.places_S.max()) + 1
        self.mask = mask_PL if is_shared else mask_PL[rows_S]
        self.is_in_order = self._is_in_order()
        self.bias_PL = _padding_bias(mask_PL) if is_shared else None

    def forward_args(self, num_new: int) -> dict[str, Any]:
        """Return arguments with which the model attends to the cached and `num_new` new tokens."""
        if self.is_shared:
            return {"attention_mask": None, "fork_cache": self}
        ones = self.mask.new_ones((len(self.mask), num_new))
        self.mask = torch.cat([self.mask, ones], dim=1)
        return {"attention_mask": self.mask}

    def _is_in_order(self) -> bool:
        """Return whether each context has `group_size` sequences, one context after the other."""
        order = self.rows_S * self.group_size + self.places_S
        size = len(self.mask) * self.group_size
        return len(order) == size and torch.equal(order, torch.arange(size, device=order.device))

    def keep_(self, num_rows: int, holes: Tensor, movers: Tensor) -> None:
        """Move sequences `movers` to `holes`, then keep only the first `num_rows` sequences."""
        for layer in self.fork_layers:
            layer.keep_(num_rows, holes, movers)
        self.rows_S = kept_rows(self.rows_S, num_rows, holes, movers)
        self.places_S = kept_rows(self.places_S, num_rows, holes, movers)
        if not self.is_shared:
            self.mask = kept_rows(self.mask, num_rows, holes, movers)
            return
        self.is_in_order = False
        contexts, rows = self.rows_S.unique(return_inverse=True)
        # Copying only when at most half are left: all copies together cost at most one full copy.
        if 2 * len(contexts) <= len(self.mask):
            self.rows_S, self.mask = rows, self.mask[contexts]
            self.bias_PL = _padding_bias(self.mask)
            for layer in self.fork_layers:
                layer.prefix_keys = layer.prefix_keys[contexts]
                layer.prefix_values = layer.prefix_values[contexts]


def _padding_bias(mask_PL: Tensor) -> Tensor | None:
    """Return 0 on tokens and -inf on padding, or None without padding."""
    if bool(mask_PL.all()):
        return None
    return torch.zeros(mask_PL.shape, device=mask_PL.device).masked_fill(mask_PL == 0, -torch.inf)


def forked_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from one new token per sequence to its shared context and its own columns.

    The signature is that of transformers' AttentionInterface; `key` and `value` hold the sequence's
    own columns.
    """
    cache: ForkCache = kwargs["fork_cache"]
    scaling = kwargs.get("scaling")
    assert attention_mask is None, "the cache masks the padding"
    layer = cache.fork_layers[module.layer_idx]
    # Autocast would round the scores to bfloat16.
    with torch.autocast(query.device.type, enabled=False):
        assert query.shape[2] == 1, "a fork samples one token at a time"
        query = query.float() * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        merged = forked(cache, layer, query[:, :, 0], key.float(), value.float())
    return merged[:, None], None


def forked(cache: ForkCache, layer: ForkLayer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention [S, heads, D] to shared and own columns, in float32.

    Args:
        cache: Says which context each sequence has.
        layer: Holds the shared columns.
        query: [S, heads, D], float32, scaled.
        key: Each sequence's own columns, [S, H, T, D], float32.
        value: As `key`.
    """
    size_S, num_heads, size_D = query.shape
    size_P, size_H, size_L, _ = layer.prefix_keys.shape
    size_R, size_G = num_heads // size_H, cache.group_size
    query_SHRD = query.reshape(size_S, size_H, size_R, size_D)
    if cache.is_in_order:
        query_PGHRD = query_SHRD.reshape(size_P, size_G, size_H, size_R, size_D)
    else:
        query_PGHRD = query.new_zeros((size_P, size_G, size_H, size_R, size_D))
        query_PGHRD[cache.rows_S, cache.places_S] = query_SHRD
    shared, shared_sums = _attend(
        query_PGHRD.transpose(1, 2).reshape(size_P * size_H, size_G * size_R, size_D),
        layer.prefix_keys.reshape(size_P * size_H, size_L, size_D).float(),
        layer.prefix_values.reshape(size_P * size_H, size_L, size_D).float(),
        cache.bias_PL,
    )
    own, own_sums = _attend(
        query_SHRD.reshape(size_S * size_H, size_R, size_D),
        key.flatten(0, 1),
        value.flatten(0, 1),
        None,
    )
    shared = _of_sequences(cache, shared, size_R).reshape(own.shape)
    shared_sums = _of_sequences(cache, shared_sums, size_R).reshape(own_sums.shape)
    merged = torch.lerp(own, shared, shared_sums.sub_(own_sums).sigmoid_())
    return merged.view(size_S, num_heads, size_D)


def _of_sequences(cache: ForkCache, states: Tensor, size_R: int) -> Tensor:
    """Return what belongs to each sequence, from [P * H, G * R, D] to [S, H, R, D]."""
    size_P, size_G, size_D = len(cache.mask), cache.group_size, states.shape[-1]
    spread = states.view(size_P, -1, size_G, size_R, size_D).transpose(1, 2)
    if not cache.is_in_order:
        return spread[cache.rows_S, cache.places_S]
    return spread.reshape(len(cache.rows_S), -1, size_R, size_D)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias_PL: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return attention [B, Q, D] and the log-sum-exp of its scores [B, Q, 1]."""
    scores = torch.bmm(query, key.transpose(1, 2))
    if bias_PL is not None:
        scores.view(len(bias_PL), -1, bias_PL.shape[1]).add_(bias_PL[:, None])
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.bmm(weights, value).div_(total), total.log_().add_(largest)


def _no_mask(*_: Any, **__: Any) -> None:
    """Build no mask for `forked_attention`: the cache masks the padding."""


AttentionInterface.register(IMPLEMENTATION, forked_attention)
AttentionMaskInterface.register(IMPLEMENTATION, _no_mask)


@contextmanager
def attending(model: Any, cache: ForkCache) -> Iterator[None]:
    """Make the model use `forked_attention` inside the block, if the cache shares prefixes."""
    before = model.config._attn_implementation
    if cache.is_shared:
        model.config._attn_implementation = IMPLEMENTATION
    try:
        yield
    finally:
        model.config._attn_implementation = before
