"""PrefixTree: rows of tokens that share prefixes, as one sequence of distinct tokens.

Sorted rows share the most with their neighbour, so a row's own tokens are those after the longest
prefix that it has in common with the row before it, and every distinct token (a token after given
tokens) is own to exactly one row. A model's pass over the N distinct tokens costs what the tree
costs, with no padding; only attention is by row: the queries of a row's own tokens against the keys
of the whole row (`Attention`). Rows of similar shape attend together, padded.

Axis letters: B rows, T tokens of a row, N distinct tokens, b rows of one attention batch, q their
own tokens, k their tokens. Not covered: windows of attention.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
CALL_SCORES = 2**14
"""Attention scores that cost as much as one more batch; decides which rows attend together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """Rows whose own tokens attend together; places are numbers of distinct tokens."""

    query_bq: Tensor
    """Places of the rows' own tokens; 0 on padding."""
    key_bk: Tensor
    """Places of the rows' tokens; 0 on padding."""
    bias_bqk: Tensor | None
    """0 where a query may attend, else -inf; None if the rows are whole: causal, no padding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixTree:
    """Rows of tokens, laid out as their distinct tokens."""

    token_ids_N: Tensor
    positions_N: Tensor
    """Of each distinct token in its row; 0 is the first."""
    place_BT: Tensor
    """Number of the distinct token; 0 on padding."""
    parent_N: Tensor
    """Number of the token before each; its own number if it is the first of a row."""
    attention: tuple[Attention, ...]
    order_N: Tensor
    """Where each distinct token is among all queries of `attention`, flattened in their order."""

    @property
    def num_tokens(self) -> int:
        """N."""
        return len(self.token_ids_N)


def sorted_prefixes(token_ids_BT: Ints, lengths_B: Ints) -> tuple[Ints, Ints]:
    """Sort the rows by their tokens; give the order and the tokens shared with the row before.

    >>> ids = np.array([[1, 2, 4], [3, 0, 0], [1, 2, 5], [1, 2, 0]])
    >>> order, shared = sorted_prefixes(ids, np.array([3, 1, 3, 2]))
    >>> order.tolist(), shared.tolist()
    ([3, 0, 2, 1], [0, 2, 2, 0])
    """
    # Big-endian bytes compare as the numbers do, and a prefix comes before its continuation.
    keys = [
        row[:length].astype(">u4").tobytes()
        for row, length in zip(token_ids_BT, lengths_B.tolist(), strict=True)
    ]
    order_B = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    shared_B = np.zeros(len(keys), dtype=np.int64)
    sorted_BT, sorted_lengths_B = token_ids_BT[order_B], lengths_B[order_B]
    common_B = np.minimum(sorted_lengths_B[1:], sorted_lengths_B[:-1])
    differs_BT = sorted_BT[1:] != sorted_BT[:-1]
    differs_BT |= np.arange(token_ids_BT.shape[1]) >= common_B[:, None]
    has_end_B = differs_BT.any(axis=1)
    shared_B[1:] = np.where(has_end_B, differs_BT.argmax(axis=1), common_B)
    return order_B, shared_B


def num_distinct(token_ids_BT: Ints, lengths_B: Ints) -> int:
    """Count the distinct tokens of the rows: the size of their prefix tree."""
    return int(lengths_B.sum() - sorted_prefixes(token_ids_BT, lengths_B)[1].sum())


def split_by_distinct(token_ids_BT: Ints, lengths_B: Ints, max_tokens: int) -> list[list[int]]:
    """Split the rows into parts of at most `max_tokens` distinct tokens; neighbours stay together.

    A row longer than `max_tokens` is a part alone.

    >>> ids = np.array([[1, 2, 4], [3, 0, 0], [1, 2, 5]])
    >>> split_by_distinct(ids, np.array([3, 1, 3]), 4)
    [[0, 2], [1]]
    """
    order_B, shared_B = sorted_prefixes(token_ids_BT, lengths_B)
    parts: list[list[int]] = []
    size = 0
    for row, shared in zip(order_B.tolist(), shared_B.tolist(), strict=True):
        length = int(lengths_B[row])
        if parts and size + length - shared <= max_tokens:
            parts[-1].append(row)
            size += length - shared
        else:
            parts.append([row])
            size = length
    return parts


def prefix_tree(token_ids_BT: Tensor, lengths_B: Tensor, *, dtype: torch.dtype) -> PrefixTree:
    """Lay the rows out as their distinct tokens, on the device of the ids.

    Args:
        token_ids_BT: Right-padded.
        lengths_B: At least 1.
        dtype: Of the attention's bias: that of queries and keys.
    """
    ids_BT, lengths = token_ids_BT.cpu().numpy(), lengths_B.cpu().numpy()
    order_B, shared_B = sorted_prefixes(ids_BT, lengths)
    own_B = lengths[order_B] - shared_B
    begins_B = np.cumsum(own_B) - own_B
    place_BT = np.zeros_like(ids_BT)
    before = -1
    for row, shared, own, begin in zip(
        order_B.tolist(), shared_B.tolist(), own_B.tolist(), begins_B.tolist(), strict=True
    ):
        if shared:
            place_BT[row, :shared] = place_BT[before, :shared]
        place_BT[row, shared : shared + own] = np.arange(begin, begin + own)
        before = row
    owner_N = np.repeat(order_B, own_B)
    position_N = np.arange(len(owner_N)) - np.repeat(begins_B - shared_B, own_B)
    parent_N = place_BT[owner_N, np.maximum(position_N - 1, 0)]

    device = token_ids_BT.device

    def tensor(values: Ints) -> Tensor:
        return torch.from_numpy(values).to(device)

    batches = _attention_batches(own_B, own_B + shared_B)
    attention: list[Attention] = []
    order_N, offset = np.zeros(len(owner_N), dtype=np.int64), 0
    for numbers in batches:
        rows_b = order_B[numbers]
        num_q, num_k = int(own_B[numbers].max()), int(lengths[rows_b].max())
        shared_b1, q_1q = shared_B[numbers][:, None], np.arange(num_q)[None]
        is_own_bq = q_1q < own_B[numbers][:, None]
        query_bq = np.where(is_own_bq, begins_B[numbers][:, None] + q_1q, 0)
        order_N[query_bq[is_own_bq]] = offset + np.flatnonzero(is_own_bq)
        offset += query_bq.size
        is_whole = not shared_b1.any() and num_q == num_k and bool(is_own_bq.all())
        last_bq1 = (shared_b1 + q_1q)[:, :, None]
        is_hidden_bqk = np.arange(num_k)[None, None] > last_bq1
        attention.append(
            Attention(
                query_bq=tensor(query_bq),
                key_bk=tensor(place_BT[rows_b, :num_k]),
                bias_bqk=None
                if is_whole
                else torch.zeros(is_hidden_bqk.shape, dtype=dtype, device=device).masked_fill_(
                    torch.from_numpy(is_hidden_bqk).to(device), -torch.inf
                ),
            )
        )
    return PrefixTree(
        token_ids_N=tensor(ids_BT[owner_N, position_N]),
        positions_N=tensor(position_N),
        place_BT=tensor(place_BT),
        parent_N=tensor(parent_N),
        attention=tuple(attention),
        order_N=tensor(order_N),
    )


def _attention_batches(own_B: Ints, lengths_B: Ints) -> list[list[int]]:
    """Group rows of similar shape, so that padding costs less than further batches would."""
    batches: list[list[int]] = []
    num_q = num_k = 0
    # From the most own tokens to the fewest: the first of a batch sets its padded queries.
    for number in np.lexsort((-lengths_B, -own_B)).tolist():
        own, length = int(own_B[number]), int(lengths_B[number])
        if not own:
            continue
        wider = max(num_k, length)
        size = len(batches[-1]) if batches else 0
        waste = num_q * wider - own * length + size * num_q * (wider - num_k)
        if batches and waste <= CALL_SCORES:
            batches[-1].append(number)
            num_k = wider
        else:
            batches.append([number])
            num_q, num_k = own, length
    return batches
