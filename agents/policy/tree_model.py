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

from reason_env.agents.engines import (
    LayerParts,
    autocast_products,
    decoder_layer,
    rotary_of,
    sums_dtype,
)
from reason_env.agents.policy.prefix_tree import PrefixTree
from reason_env.agents.processes import within

KNOWN_TYPES = ("llama", "qwen2", "qwen3")
"""`model_type`s whose layers are as `decoder_layer` computes them."""

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
    rotary = rotary_of(decoder, hidden_NC, tree.positions_N)
    is_mixed = torch.is_autocast_enabled(hidden_NC.device.type)

    def attend(query_NHD: Tensor, key_NKD: Tensor, value_NKD: Tensor, scale: float) -> Tensor:
        return _attended(query_NHD, key_NKD, value_NKD, tree, scale=scale, is_mixed=is_mixed)

    def run(layer: Any, hidden_NC: Tensor) -> Tensor:
        return decoder_layer(_parts(layer), hidden_NC, rotary, attend, is_mixed=is_mixed)

    def run_alone(layer: Any, hidden_NC: Tensor) -> Tensor:
        with autocast_products(hidden_NC.device):
            return run(layer, hidden_NC)

    def run_again(layer: Any, hidden_NC: Tensor) -> Tensor:
        return checkpoint(run_alone, layer, hidden_NC, use_reentrant=False)

    chosen = run_again if checkpointing and torch.is_grad_enabled() else run
    for layer in decoder.layers:
        hidden_NC = within(layer, chosen, layer, hidden_NC)
    return decoder.norm(hidden_NC)


def _parts(layer: Any) -> LayerParts:
    own = layer.self_attn

    def heads(inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = (len(inputs), -1, own.head_dim)
        query, key, value = (
            project(inputs).view(shape) for project in (own.q_proj, own.k_proj, own.v_proj)
        )
        if own.config.model_type == "qwen3":
            query, key = own.q_norm(query), own.k_norm(key)
        return torch.cat([query, key], dim=1), value

    return LayerParts(
        input_norm=layer.input_layernorm,
        heads=heads,
        out=own.o_proj,
        post_norm=layer.post_attention_layernorm,
        mlp=layer.mlp,
        scale=own.scaling,
    )


def _attended(
    query_NHD: Tensor,
    key_NKD: Tensor,
    value_NKD: Tensor,
    tree: PrefixTree,
    *,
    scale: float,
    is_mixed: bool,
) -> Tensor:
    """Mix the values of each token's row up to the token, [N, H, D]."""
    device = query_NHD.device
    is_exact = sums_dtype(device, is_mixed=is_mixed) == torch.float64
    mix = _ExactlyMixed.apply if is_exact else _mixed
    value_NKD = value_NKD.to(query_NHD.dtype)
    with torch.autocast(device.type, enabled=False):
        mixed = [
            mix(
                _gathered(query_NHD, part.query_bq),
                _gathered(key_NKD, part.key_bk),
                _gathered(value_NKD, part.key_bk),
                part.bias_bqk,
                scale,
            ).flatten(0, 1)
            for part in tree.attention
        ]
    flat = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
    return flat.index_select(0, tree.order_N)


def _mixed(
    query_bqHD: Tensor, key_bkKD: Tensor, value_bkKD: Tensor, bias_bqk: Tensor | None, scale: float
) -> Tensor:
    """Mix the values of each row, [b, q, H, D]; causal if there is no bias."""
    num_queries, num_heads = query_bqHD.shape[1:3]
    num_rows, num_kv_heads = len(query_bqHD), key_bkKD.shape[2]
    groups = num_heads // num_kv_heads
    key, value = key_bkKD.transpose(1, 2), value_bkKD.transpose(1, 2)
    if bias_bqk is None:
        return scaled_dot_product_attention(
            query_bqHD.transpose(1, 2),
            key,
            value,
            is_causal=True,
            scale=scale,
            enable_gqa=groups > 1,
        ).transpose(1, 2)
    # The query heads of a key head become further queries of it: no copies of keys and values.
    by_group = query_bqHD.unflatten(2, (num_kv_heads, groups)).permute(0, 2, 3, 1, 4)
    bias = bias_bqk.repeat(1, groups, 1)[:, None].to(query_bqHD.dtype)
    mixed = scaled_dot_product_attention(
        by_group.flatten(2, 3), key, value, attn_mask=bias, scale=scale
    )
    mixed = mixed.view(num_rows, num_kv_heads, groups, num_queries, -1)
    return mixed.permute(0, 3, 1, 2, 4).flatten(2, 3)


class _ExactlyMixed(torch.autograd.Function):
    """`_mixed` in float64; its backward pass is float32, since no rounding depends on it."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes positions only
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, bias)
        ctx.scale = scale
        return _mixed(query.double(), key.double(), value.double(), bias, scale).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *heads, bias = ctx.saved_tensors
        query, key, value = (item.detach().requires_grad_() for item in heads)
        with torch.enable_grad():
            mixed = _mixed(query, key, value, bias, ctx.scale)
        return *torch.autograd.grad((mixed,), (query, key, value), grads), None, None


def _gathered(heads_NHD: Tensor, place: Tensor) -> Tensor:
    flat = heads_NHD.flatten(1).index_select(0, place.flatten())
    return flat.view(*place.shape, *heads_NHD.shape[1:])
