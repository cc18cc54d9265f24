"""What a pass of a causal language model may skip: shared prefixes, and logits nobody reads.

`tree_hidden_states` is a decoder's pass over a `PrefixTree`: each distinct token once, forward and
backward. Linear maps, norms and the rotary embedding see the distinct tokens as one sequence
without padding; attention is by row (`Attention`). The modules are the model's own, called one by
one, so adapters and hooks on them act, and gradients arrive where the optimizer looks.

The layout of a layer differs between architectures, so this is for the named ones; `tree_refusal`
says why another model cannot share, `head_refusal` why its logits cannot be computed in chunks.

Axis letters: N distinct tokens, H heads, G query heads of a key head, D size of a head, b, q, k as
in `prefix_tree.py`, C channels.
"""

# transformers' modules and torch's functional part are untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from reason_env.agents.policy.prefix_tree import Attention, PrefixTree

KNOWN_TYPES = ("llama", "qwen2", "qwen3")
"""`model_type`s whose layers are as `_layer` computes them."""

PRODUCT_HEADS = (*KNOWN_TYPES, "gpt2", "gpt_neox", "mistral", "olmo2", "phi3", "smollm3")
"""`model_type`s whose logits are the head's product with the decoder's output, nothing more."""


def tree_refusal(model: Any) -> str | None:
    """Say why the model's passes cannot share prefixes; None if they can."""
    config = model.config
    if config.model_type not in KNOWN_TYPES:
        return f"the architecture is {config.model_type!r}, known are {', '.join(KNOWN_TYPES)}"
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        return f"it has layers of {', '.join(sorted(kinds))}"
    if config.attention_dropout:
        return "its attention has dropout"
    return head_refusal(model)


def head_refusal(model: Any) -> str | None:
    """Say why the logits are not one product of the last hidden states; None if they are."""
    kind = model.config.model_type
    if kind not in PRODUCT_HEADS:
        return f"the architecture is {kind!r}, known are {', '.join(PRODUCT_HEADS)}"
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:
        return f"its head is a {type(head).__name__}"
    return None


def tree_hidden_states(model: Any, tree: PrefixTree, *, checkpointing: bool = False) -> Tensor:
    """Compute the last hidden state of each distinct token, [N, C]: what the head projects.

    Args:
        model: A causal language model without `tree_refusal`.
        tree: On the model's device.
        checkpointing: Keep no activations inside a layer; the backward pass computes them again.
    """
    decoder = model.get_decoder()
    hidden_NC = decoder.embed_tokens(tree.token_ids_N)
    cos, sin = decoder.rotary_emb(hidden_NC[None], tree.positions_N[None])
    rotary = cos[0][:, None], sin[0][:, None]
    for layer in decoder.layers:
        if checkpointing and torch.is_grad_enabled():
            hidden_NC = checkpoint(_layer, layer, hidden_NC, rotary, tree, use_reentrant=False)
        else:
            hidden_NC = _layer(layer, hidden_NC, rotary, tree)
    return decoder.norm(hidden_NC)


def _layer(
    layer: Any, hidden_NC: Tensor, rotary: tuple[Tensor, Tensor], tree: PrefixTree
) -> Tensor:
    own = layer.self_attn
    normed_NC = layer.input_layernorm(hidden_NC)
    shape = (len(hidden_NC), -1, own.head_dim)
    query_NHD = own.q_proj(normed_NC).view(shape)
    key_NHD = own.k_proj(normed_NC).view(shape)
    value_NHD = own.v_proj(normed_NC).view(shape)
    if own.config.model_type == "qwen3":
        query_NHD, key_NHD = own.q_norm(query_NHD), own.k_norm(key_NHD)
    query_NHD, key_NHD = _rotated(query_NHD, *rotary), _rotated(key_NHD, *rotary)
    mixed_NC = _attended(query_NHD, key_NHD, value_NHD, tree, scale=own.scaling)
    hidden_NC = hidden_NC + own.o_proj(mixed_NC)
    return hidden_NC + layer.mlp(layer.post_attention_layernorm(hidden_NC))


def _rotated(heads_NHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = heads_NHD.chunk(2, dim=-1)
    return heads_NHD * cos + torch.cat((-second, first), dim=-1) * sin


def _attended(
    query_NHD: Tensor, key_NHD: Tensor, value_NHD: Tensor, tree: PrefixTree, *, scale: float
) -> Tensor:
    """Mix the values of each token's row up to the token, [N, C]."""
    kind = query_NHD.device.type
    query_NHD, key_NHD, value_NHD = map(_rounded, (query_NHD, key_NHD, value_NHD))
    with torch.autocast(kind, enabled=False):
        mixed = [
            _attention_batch(query_NHD, key_NHD, value_NHD, part, scale=scale)
            for part in tree.attention
        ]
    flat = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
    return flat.index_select(0, tree.order_N)


def _rounded(heads_NHD: Tensor) -> Tensor:
    """Round to autocast's type, where it is on; on a CPU, as the sampler, keep that in float32.

    A GPU's fast attention wants the type itself.
    """
    kind = heads_NHD.device.type
    if not torch.is_autocast_enabled(kind):
        return heads_NHD
    rounded = heads_NHD.to(torch.get_autocast_dtype(kind))
    return rounded.float() if kind == "cpu" else rounded


def _attention_batch(
    query_NHD: Tensor, key_NHD: Tensor, value_NHD: Tensor, part: Attention, *, scale: float
) -> Tensor:
    num_rows, num_queries = part.query_bq.shape
    num_kv_heads, head_dim = key_NHD.shape[1:]
    query = _gathered(query_NHD, part.query_bq).view(
        num_rows, num_queries, num_kv_heads, -1, head_dim
    )
    groups = query.shape[3]
    key, value = (_gathered(heads, part.key_bk).transpose(1, 2) for heads in (key_NHD, value_NHD))
    if part.bias_bqk is None:
        mixed = scaled_dot_product_attention(
            query.flatten(2, 3).transpose(1, 2),
            key,
            value,
            is_causal=True,
            scale=scale,
            enable_gqa=groups > 1,
        ).transpose(1, 2)
        return mixed.reshape(num_rows * num_queries, -1)
    # The query heads of a key head become further queries of it: no copies of keys and values.
    folded = query.permute(0, 2, 3, 1, 4).reshape(num_rows, num_kv_heads, -1, head_dim)
    bias = part.bias_bqk.repeat(1, groups, 1)[:, None].to(query.dtype)
    mixed = scaled_dot_product_attention(folded, key, value, attn_mask=bias, scale=scale)
    mixed = mixed.view(num_rows, num_kv_heads, groups, num_queries, head_dim)
    return mixed.permute(0, 3, 1, 2, 4).reshape(num_rows * num_queries, -1)


def _gathered(heads_NHD: Tensor, place: Tensor) -> Tensor:
    flat = heads_NHD.flatten(1).index_select(0, place.flatten())
    return flat.view(*place.shape, *heads_NHD.shape[1:])
