"""The decoder layers of Llama, Qwen2 and Qwen3, over the tokens of all sequences in one row.

Products take whole rows of tokens, without padding; only attention knows sequences. What is rounded
where is in `decoder_layer.py`.

Axis letters: N tokens of all sequences, H heads of queries, K heads of keys and values, D head
size.
"""

from collections.abc import Callable

from torch import Tensor

from reason_env.agents.engines.decoder_layer import decoder_layer, rotary_of
from reason_env.agents.engines.fused.weights import FusedWeights

AttendIn = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""From the layer's index, scaled queries [N, H, D], keys and values [N, K, D] to [N, H, D]."""


def hidden_states(
    weights: FusedWeights, token_ids_N: Tensor, positions_N: Tensor, attend: AttendIn
) -> Tensor:
    """Return the hidden states after the last layer, before its norm, [N, hidden], float32."""
    hidden = weights.embedding[token_ids_N]
    rotary = rotary_of(weights.decoder, hidden, positions_N)
    for index, layer in enumerate(weights.layers):

        def attend_here(
            query: Tensor, key: Tensor, value: Tensor, scale: float, at: int = index
        ) -> Tensor:
            return attend(at, query if scale == 1 else query * scale, key, value)

        hidden = decoder_layer(layer, hidden, rotary, attend_here, is_mixed=weights.is_mixed)
    return hidden


def next_logits(weights: FusedWeights, hidden: Tensor) -> Tensor:
    """Return float32 logits [N, V] for the tokens after these hidden states."""
    return weights.head(weights.norm(hidden))
