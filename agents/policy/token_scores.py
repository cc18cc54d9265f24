"""Token scores: what a policy says about given tokens, as plain numbers.

Axis letters: B sequences, T tokens, K likeliest ids, V vocabulary, n rows of a chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reason_env.agents.policy.log_probs import MAX_CHUNK_LOGITS
from reason_env.agents.policy.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScores:
    """The scores of one completion after one context, at some temperature, without truncation."""

    log_probs: tuple[float, ...]
    """[T], nats, of the completion's tokens."""
    entropies: tuple[float, ...]
    """[T], nats, of the distribution at each token."""
    top_ids: tuple[tuple[int, ...], ...] = ()
    """[T, K], the likeliest ids at each token, the likeliest first; empty if none are asked for."""
    top_log_probs: tuple[tuple[float, ...], ...] = ()
    """[T, K], nats, of these."""


def rows_of_scores(
    found: Predictions, wanted_BT: Tensor, *, temperature: float, top_k: int
) -> Iterator[TokenScores]:
    """Yield the scores of each row's wanted tokens.

    Args:
        found: The predictions of one pass.
        wanted_BT: True on the wanted tokens, as the pass was asked for.
        temperature: Divides the logits.
        top_k: Likeliest ids to give; 0 for none.
    """
    log_probs_BT, entropy_BT = found.log_probs(temperature=temperature, with_entropy=True)
    assert entropy_BT is not None, "asked for"
    sizes = wanted_BT.sum(dim=1).tolist()
    parts = [log_probs_BT[wanted_BT], entropy_BT[wanted_BT]]
    if top_k:
        parts += _likeliest(found, temperature=temperature, top_k=top_k)
    for row in zip(*(part.split(sizes) for part in parts), strict=True):
        log_probs, entropies, *top = (part.tolist() for part in row)
        ids, numbers = top or ([], [])
        yield TokenScores(
            log_probs=tuple(log_probs),
            entropies=tuple(entropies),
            top_ids=tuple(map(tuple, ids)),
            top_log_probs=tuple(map(tuple, numbers)),
        )


def _likeliest(found: Predictions, *, temperature: float, top_k: int) -> tuple[Tensor, Tensor]:
    """Return ids and log-probabilities [wanted places, K], a chunk of distributions at a time."""
    rows_N, number_of_each = found.row_of_each.unique(return_inverse=True)
    ids: list[Tensor] = []
    numbers: list[Tensor] = []
    for rows_n in rows_N.split(max(1, MAX_CHUNK_LOGITS // found.vocab_size)):
        logits_nV = found.logits(rows_n)
        wide = logits_nV.to(torch.promote_types(logits_nV.dtype, torch.float32)) / temperature
        top = torch.log_softmax(wide, dim=-1).topk(min(top_k, found.vocab_size), dim=-1)
        ids.append(top.indices)
        numbers.append(top.values)
    return torch.cat(ids)[number_of_each], torch.cat(numbers)[number_of_each]
