"""The hidden state after a sequence's last token: what a head on top of the model projects."""

from typing import Any

import torch
from torch import Tensor

from reason_env.agents.policy.prefix_tree import prefix_tree, split_by_distinct
from reason_env.agents.policy.tree_model import tree_hidden_states, tree_refusal

MAX_TOKENS = 1024
"""Distinct tokens of one forward pass: larger ones are slower on a CPU."""


def last_hidden_states(model: Any, token_ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
    """Compute the decoder's output at the last token of each row, [B, C]; differentiable.

    Each distinct token passes through the model once, if the architecture is known: rows that are
    prefixes of each other, as the steps of an episode are, cost little more than the longest one.

    Args:
        model: A causal language model of `transformers`.
        token_ids_BT: Right-padded.
        lengths_B: Tokens of each row, at least 1.
    """
    rows_B = torch.arange(len(token_ids_BT), device=token_ids_BT.device)
    if tree_refusal(model) is not None:
        times_T = torch.arange(token_ids_BT.shape[1], device=token_ids_BT.device)
        output = model.get_decoder()(
            input_ids=token_ids_BT,
            attention_mask=(times_T < lengths_B[:, None]).long(),
            use_cache=False,
        )
        return output.last_hidden_state[rows_B, lengths_B - 1]
    parts = split_by_distinct(token_ids_BT.cpu().numpy(), lengths_B.cpu().numpy(), MAX_TOKENS)
    found: list[Tensor] = []
    for part in parts:
        own_BT, own_B = token_ids_BT[part], lengths_B[part]
        tree = prefix_tree(own_BT[:, : int(own_B.max())], own_B, dtype=model.dtype)
        places = tree.place_BT[torch.arange(len(part), device=own_B.device), own_B - 1]
        found.append(tree_hidden_states(model, tree)[places])
    order = torch.tensor([row for part in parts for row in part], device=rows_B.device)
    return torch.cat(found)[order.argsort()]
