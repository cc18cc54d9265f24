"""Log-probabilities of given tokens, without the logits of all positions in memory.

With 50,000 ids and more, logits and their gradient would be the largest tensors of training. Two
forms: `projected_log_probs` takes hidden states and the head's weight, computes logits chunk by
chunk of rows, keeps none, and computes them again in the backward pass; `next_token_log_probs`
takes logits, for models whose head is more than one product; its float32 copies are one chunk.
Softmax, its sums and the entropy are float32 or better, whatever the model computes in.
Rows that are not asked for are never read, so padding may hold any values, and its gradient is 0.

With p = softmax(z), z = logits / temperature: d log p[y] / dz = 1[y] - p, and
dH / dz[j] = -p[j] (log p[j] + H).

Axis letters: B sequences, T tokens, V vocabulary, C channels, N rows of logits, M targets, m
targets and n rows of a chunk.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from reason_env.agents.engines import matrix_product

MAX_CHUNK_LOGITS = 2**23
"""Logits converted to float32 at once: 32 MB, a few times."""

MAX_KEPT_PROBS = 2**27
"""Probabilities that a pass keeps for its backward pass, in a narrow type: 256 MB."""


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
        placed(log_probs_N, places_N, shape),
        placed(entropy_N, places_N, shape) if with_entropy else None,
    )


def projected_log_probs(
    hidden_NC: Tensor,
    weight_VC: Tensor,
    bias_V: Tensor | None,
    rows_M: Tensor,
    targets_M: Tensor,
    *,
    temperature: float,
    with_entropy: bool,
    gradient_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute each target's log-probability, [M], and the entropy of each row, [N], in nats.

    The product's type is autocast's, else the hidden states'. Without `with_entropy` the entropy is
    0 and nothing is spent on it. Each pair of a row and a target occurs once.

    Args:
        hidden_NC: One row for each distribution.
        weight_VC: The head's weight, cut to the ids that count.
        bias_V: The head's bias; None if it has none.
        rows_M: Row of each target; a row may have several.
        targets_M: Ids.
        temperature: Above 0.
        with_entropy: Whether to compute the entropy.
        gradient_dtype: Type of the backward pass's products, if narrower; the first rows'
            probabilities are then kept in it, so that they need no second product.

    >>> hidden, weight = torch.tensor([[2.0]]), torch.tensor([[0.0], [0.0]])
    >>> rows, targets = torch.tensor([0, 0]), torch.tensor([0, 1])
    >>> found, entropy = projected_log_probs(
    ...     hidden, weight, None, rows, targets, temperature=1.0, with_entropy=True)
    >>> found.exp(), entropy.exp()
    (tensor([0.5000, 0.5000]), tensor([2.]))
    """
    device = hidden_NC.device.type
    dtype = (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NC.dtype
    )
    with torch.autocast(device, enabled=False):
        hidden_NC = hidden_NC.to(dtype)
        narrow = dtype if gradient_dtype is None else gradient_dtype
        return _ProjectedLogSoftmax.apply(
            hidden_NC, weight_VC, bias_V, rows_M, targets_M, temperature, with_entropy, narrow
        )


def projected_rows(
    hidden_NC: Tensor, weight_VC: Tensor, bias_V: Tensor | None
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits of the rows, chunk by chunk, with the chunk's place among the rows."""
    for rows in _chunks(len(hidden_NC), len(weight_VC)):
        yield rows, _logits(hidden_NC[rows], weight_VC, bias_V)


def placed(values_N: Tensor, index_N: Tensor, shape: torch.Size) -> Tensor:
    """Scatter values to flat indices of a zero tensor of this shape; differentiable."""
    return values_N.new_zeros(shape.numel()).index_put((index_N,), values_N).view(shape)


class _ProjectedLogSoftmax(torch.autograd.Function):
    """Log-probabilities and entropies of projected rows; keeps hidden states and two sums a row.

    In a narrow gradient type it also keeps the first rows' probabilities.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes positions only
        ctx: Any,
        hidden_NC: Tensor,
        weight_VC: Tensor,
        bias_V: Tensor | None,
        rows_M: Tensor,
        targets_M: Tensor,
        temperature: float,
        with_entropy: bool,
        narrow: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(hidden_NC.dtype, torch.float32)
        log_sums_N = torch.empty(len(hidden_NC), dtype=dtype, device=hidden_NC.device)
        entropy_N = torch.zeros_like(log_sums_N)
        chosen_M = torch.empty(len(rows_M), dtype=dtype, device=hidden_NC.device)
        weight, order_M = weight_VC.to(hidden_NC.dtype), torch.argsort(rows_M, stable=True)
        sorted_M = rows_M[order_M]
        keeps = narrow != hidden_NC.dtype and any(ctx.needs_input_grad)
        num_kept = min(len(hidden_NC), MAX_KEPT_PROBS // len(weight_VC)) if keeps else 0
        kept_KV = hidden_NC.new_empty((num_kept, len(weight_VC)), dtype=narrow)
        for rows, logits in projected_rows(hidden_NC, weight, bias_V):
            scaled = _scaled(logits, dtype, temperature)
            own_m = _targets_of(rows, sorted_M, order_M)
            chosen_M[own_m] = scaled[rows_M[own_m] - rows.start, targets_M[own_m]]
            log_sums_N[rows] = scaled.logsumexp(-1)
            is_kept = rows.start < num_kept
            if with_entropy or is_kept:
                scaled -= log_sums_N[rows, None]
                probs = scaled.exp()
                if with_entropy:
                    entropy_N[rows] = -torch.linalg.vecdot(probs, scaled)
                if is_kept:
                    kept_kV = kept_KV[rows]
                    kept_kV.copy_(probs[: len(kept_kV)])
        chosen_M -= log_sums_N[rows_M]
        ctx.save_for_backward(
            *(hidden_NC, weight_VC, bias_V, rows_M, targets_M, order_M),
            *(log_sums_N, entropy_N, chosen_M, kept_KV),
        )
        ctx.temperature, ctx.narrow = temperature, narrow
        ctx.set_materialize_grads(False)
        if not with_entropy:
            ctx.mark_non_differentiable(entropy_N)
        return chosen_M, entropy_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden_NC, weight_VC, bias_V, rows_M, targets_M, order_M, *sums, _ = ctx.saved_tensors
        log_sums_N, entropy_N, log_probs_M = sums
        grad_M, grad_entropy_N = grads
        if grad_M is None:
            grad_M = log_sums_N.new_zeros(len(rows_M))
        sorted_M = rows_M[order_M]
        grad_N = torch.zeros_like(log_sums_N).index_add_(0, rows_M, grad_M)
        weight = weight_VC.to(ctx.narrow)
        grad_hidden = torch.empty_like(hidden_NC) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight_VC) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias_V) if bias_V is not None else None
        for rows, grad_nV in _logit_grads(ctx, weight_VC, grad_N, grad_entropy_N):
            own_m = _targets_of(rows, sorted_M, order_M)
            places = (rows_M[own_m] - rows.start, targets_M[own_m])
            if ctx.narrow == hidden_NC.dtype:
                grad_nV.index_put_(places, grad_M[own_m], accumulate=True)
            else:
                # In the wide type, where the two terms may cancel, and rounded once.
                log_probs_m, row_m = log_probs_M[own_m], rows_M[own_m]
                slope_m = grad_N[row_m]
                if grad_entropy_N is not None:
                    slope_m = slope_m + grad_entropy_N[row_m] * (log_probs_m + entropy_N[row_m])
                grad_m = grad_M[own_m] - log_probs_m.exp() * slope_m
                grad_nV.index_put_(places, grad_m.to(grad_nV.dtype))
            if ctx.temperature != 1:
                grad_nV.div_(ctx.temperature)
            if grad_bias is not None:
                grad_bias += grad_nV.sum(0, dtype=grad_bias.dtype)
            narrow = grad_nV.to(ctx.narrow)
            if grad_hidden is not None:
                if narrow.dtype == grad_hidden.dtype:
                    torch.mm(narrow, weight, out=grad_hidden[rows])
                else:
                    grad_hidden[rows] = matrix_product(narrow, weight)
            if grad_weight is not None:
                _add_product_(grad_weight, narrow.t(), hidden_NC[rows].to(ctx.narrow))
        return grad_hidden, grad_weight, grad_bias, None, None, None, None, None


def _logit_grads(
    ctx: Any, weight_VC: Tensor, grad_N: Tensor, grad_entropy_N: Tensor | None
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the gradient of the scaled logits without the targets' own term, chunk by chunk."""
    hidden_NC, _, bias_V, *_, log_sums_N, entropy_N, _, kept_KV = ctx.saved_tensors
    num_kept = len(kept_KV)
    for rows in _chunks(num_kept, len(weight_VC), 4 * MAX_CHUNK_LOGITS):
        probs = kept_KV[rows]
        grad = probs * -grad_N[rows, None].to(probs.dtype)
        if grad_entropy_N is not None:
            slope = torch.xlogy(probs, probs) + probs * entropy_N[rows, None].to(probs.dtype)
            grad -= slope * grad_entropy_N[rows, None].to(probs.dtype)
        yield rows, grad
    weight = weight_VC.to(hidden_NC.dtype) if num_kept < len(hidden_NC) else weight_VC
    for part, logits in projected_rows(hidden_NC[num_kept:], weight, bias_V):
        rows = slice(part.start + num_kept, part.stop + num_kept)
        log_probs = _scaled(logits, log_sums_N.dtype, ctx.temperature)
        log_probs -= log_sums_N[rows, None]
        if grad_entropy_N is None:
            yield rows, log_probs.exp_().mul_(-grad_N[rows, None])
        else:
            slope = (log_probs + entropy_N[rows, None]).mul_(grad_entropy_N[rows, None])
            slope += grad_N[rows, None]
            yield rows, log_probs.exp_().mul_(slope).neg_()


class _GatheredLogSoftmax(torch.autograd.Function):
    """The target's log-probability and the entropy for some rows of logits, in chunks of rows."""

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


def _logits(hidden_nC: Tensor, weight_VC: Tensor, bias_V: Tensor | None) -> Tensor:
    return torch.nn.functional.linear(
        hidden_nC, weight_VC, None if bias_V is None else bias_V.to(hidden_nC.dtype)
    )


def _scaled(logits: Tensor, dtype: torch.dtype, temperature: float) -> Tensor:
    """Divide by the temperature in this type; in place where the logits have it."""
    wide = logits.to(dtype)
    return wide if temperature == 1 else wide.div_(temperature)


def _targets_of(rows: slice, sorted_M: Tensor, order_M: Tensor) -> Tensor:
    """Return the numbers of the targets whose rows lie in the slice."""
    bounds = torch.tensor([rows.start, rows.stop], device=sorted_M.device)
    begin, end = torch.searchsorted(sorted_M, bounds).tolist()
    return order_M[begin:end]


def _add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add the product to the total, in the total's type."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += matrix_product(left, right)


def _chunks(num_rows: int, vocab_size: int, max_logits: int = MAX_CHUNK_LOGITS) -> list[slice]:
    size = max(1, max_logits // vocab_size)
    return [slice(begin, min(num_rows, begin + size)) for begin in range(0, num_rows, size)]
