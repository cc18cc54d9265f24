"""Log-probabilities of given tokens from logits, without a float32 copy of all logits.

With 150,000 ids, the softmax that autograd saves would be the largest tensor in training. Here the
forward pass saves the logits and two numbers per row, and float32 copies are one chunk large.
Masked rows are never read, so padding may hold any values, and its gradient is 0.

Axis letters: B sequences, T tokens, V vocabulary, N unmasked rows of logits.
"""

from typing import Any

import torch
from torch import Tensor

MAX_CHUNK_LOGITS = 2**24
"""Logits converted to float32 at once."""


def next_token_log_probs(
    logits_BTV: Tensor,
    token_ids_BT: Tensor,
    mask_BT: Tensor,
    *,
    temperature: float,
    vocab_size: int,
    with_entropy: bool,
) -> tuple[Tensor, Tensor | None]:
    """Compute log pi(token t | tokens before t) and its entropy, [B, T], in nats.

    log_probs_BT[b, t] = z[token t] - logsumexp(z), z = logits_BTV[b, t - 1, :vocab_size] /
    temperature. Both results are differentiable, and 0 at t = 0 and where the mask is False.

    >>> logits = torch.tensor([[[0.5, 0.5], [0.2, 0.8], [0.0, 0.0]]]).log()
    >>> ids, mask = torch.tensor([[0, 1, 1]]), torch.tensor([[True, True, False]])
    >>> next_token_log_probs(
    ...     logits, ids, mask, temperature=1.0, vocab_size=2, with_entropy=False
    ... )[0].exp()
    tensor([[1.0000, 0.5000, 1.0000]])
    """
    # Logits at t belong to the token at t + 1; shifting ids, not logits, avoids a copy.
    counts_BT = torch.zeros_like(mask_BT)
    counts_BT[:, :-1] = mask_BT[:, 1:]
    index_N = counts_BT.flatten().nonzero()[:, 0]
    targets_N = token_ids_BT.roll(-1, dims=1).flatten()[index_N]
    log_probs_N, entropy_N = _GatheredLogSoftmax.apply(
        logits_BTV.flatten(0, 1), index_N, targets_N, vocab_size, temperature, with_entropy
    )
    shape, places_N = token_ids_BT.shape, index_N + 1
    return (
        _placed(log_probs_N, places_N, shape),
        _placed(entropy_N, places_N, shape) if with_entropy else None,
    )


def _placed(values_N: Tensor, index_N: Tensor, shape: torch.Size) -> Tensor:
    """Scatter values to flat indices of a zero tensor of this shape; differentiable."""
    return values_N.new_zeros(shape.numel()).index_put((index_N,), values_N).view(shape)


class _GatheredLogSoftmax(torch.autograd.Function):
    """The target's log-probability and the entropy for some rows of logits, in chunks of rows.

    With p = softmax(z), z = logits / temperature: d log p[y] / dz = 1[y] - p, and
    dH / dz[j] = -p[j] (log p[j] + H).
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes positions only
        ctx: Any,
        logits: Tensor,
        index_N: Tensor,
        targets_N: Tensor,
        vocab_size: int,
        temperature: float,
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        log_probs_N = torch.empty(len(index_N), dtype=dtype, device=logits.device)
        log_sums_N, entropy_N = torch.empty_like(log_probs_N), torch.zeros_like(log_probs_N)
        for rows in _chunks(len(index_N), vocab_size):
            scaled = logits[index_N[rows], :vocab_size].to(dtype) / temperature
            log_sums_N[rows] = scaled.logsumexp(-1)
            log_probs_N[rows] = scaled.gather(-1, targets_N[rows, None])[:, 0] - log_sums_N[rows]
            if with_entropy:
                probs = (scaled - log_sums_N[rows, None]).exp_()
                entropy_N[rows] = log_sums_N[rows] - (probs * scaled).sum(-1)
        ctx.save_for_backward(logits, index_N, targets_N, log_sums_N, entropy_N)
        ctx.vocab_size, ctx.temperature, ctx.with_entropy = vocab_size, temperature, with_entropy
        return log_probs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, index_N, targets_N, log_sums_N, entropy_N = ctx.saved_tensors
        grad_log_probs_N, grad_entropy_N = grads
        grad_logits = torch.zeros_like(logits)
        for rows in _chunks(len(index_N), ctx.vocab_size):
            scaled = logits[index_N[rows], : ctx.vocab_size].to(log_sums_N.dtype) / ctx.temperature
            log_probs = scaled - log_sums_N[rows, None]
            probs = log_probs.exp()
            grad = probs * -grad_log_probs_N[rows, None]
            targets = targets_N[rows, None]
            grad.scatter_add_(-1, targets, grad_log_probs_N[rows, None])
            if ctx.with_entropy:
                slope = probs * (log_probs + entropy_N[rows, None])
                grad -= slope * grad_entropy_N[rows, None]
            grad_logits[index_N[rows], : ctx.vocab_size] = (grad / ctx.temperature).to(logits.dtype)
        return grad_logits, None, None, None, None, None


def _chunks(num_rows: int, vocab_size: int) -> list[slice]:
    size = max(1, MAX_CHUNK_LOGITS // vocab_size)
    return [slice(begin, begin + size) for begin in range(0, num_rows, size)]
