"""Keys and values of many sequences that share contexts, and attention to them.

All samples of a context attend to one copy of its keys, in one matrix product. Attention to the
shared columns and to a sequence's own columns is merged by log-sum-exp, which is exact:

    softmax([a, b]) [U; V] = w softmax(a) U + (1 - w) softmax(b) V,  w = sigmoid(lse(a) - lse(b))

Keys and values are float32 on purpose: batches of small bfloat16 products are slower on a CPU, and
round the scores to 8 bits.

Axis letters: N tokens, P contexts, S sequences, G sequences of one context, H key-value heads, R
query heads of a key-value head, L context columns, T own columns, D head size.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention


class ContextKeys:
    """Keys and values of prefilled contexts, padded on the right."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], lengths_P: Tensor) -> None:
        """Hold one tensor [P, H, L, D] a layer, and the length of each context."""
        self.keys, self.values, self.lengths_P = keys, values, lengths_P
        width = keys[0].shape[2]
        columns = torch.arange(width, device=lengths_P.device)
        self.bias_PL = _bias(columns < lengths_P[:, None])

    def __len__(self) -> int:
        return len(self.lengths_P)

    def kept(self, contexts: Tensor) -> "ContextKeys":
        """Return only these contexts, without columns that only padded the others."""
        lengths = self.lengths_P[contexts]
        width = int(lengths.max())
        return ContextKeys(
            [layer[contexts, :, :width] for layer in self.keys],
            [layer[contexts, :, :width] for layer in self.values],
            lengths,
        )

    def joined(self, other: "ContextKeys") -> "ContextKeys":
        """Return the contexts of both, those of `other` last."""
        width = max(self.keys[0].shape[2], other.keys[0].shape[2])
        keys, values = (
            [
                torch.cat([pad(layer, (0, 0, 0, width - layer.shape[2])) for layer in layers])
                for layers in zip(mine, others, strict=True)
            ]
            for mine, others in ((self.keys, other.keys), (self.values, other.values))
        )
        return ContextKeys(keys, values, torch.cat([self.lengths_P, other.lengths_P]))


class PrefillAttention:
    """Causal attention within each context; keeps the keys and values."""

    def __init__(self, lengths: list[int], device: torch.device) -> None:
        """Prepare for the tokens of contexts of these lengths, one context after the other."""
        self.lengths_P = torch.tensor(lengths, device=device)
        self.width = max(lengths)
        rows = torch.arange(len(lengths), device=device).repeat_interleave(self.lengths_P)
        ends = self.lengths_P.cumsum(0)
        columns = torch.arange(int(ends[-1]), device=device) - (ends - self.lengths_P)[rows]
        self.positions_N = columns
        self.last_P = ends - 1
        """Index of each context's last token."""
        self._places_N = rows * self.width + columns
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def __call__(self, _: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend within the layer; layers come in order."""
        padded_key, padded_value = self._padded(key), self._padded(value)
        self._keys.append(padded_key)
        self._values.append(padded_value)
        # Padding is on the right, so that causal attention keeps it from every token.
        found = scaled_dot_product_attention(
            self._padded(query.flatten(1, 2)),
            padded_key,
            padded_value,
            is_causal=True,
            scale=1.0,
            enable_gqa=True,
        )
        return found.transpose(1, 2).flatten(0, 1)[self._places_N].view_as(query)

    def context_keys(self) -> ContextKeys:
        """Return what the layers left."""
        return ContextKeys(self._keys, self._values, self.lengths_P)

    def _padded(self, states: Tensor) -> Tensor:
        """Lay out [N, heads, D] as [P, heads, L, D], zero in the padding."""
        _, heads, size = states.shape
        flat = states.new_zeros((len(self.lengths_P) * self.width, heads, size))
        flat[self._places_N] = states
        return flat.view(len(self.lengths_P), self.width, heads, size).transpose(1, 2).contiguous()


class DecodeAttention:
    """Attention of one new token per sequence to its context and its own earlier tokens."""

    def __init__(self, *, num_layers: int, num_key_heads: int, head_size: int, rows: int) -> None:
        """Prepare buffers for this many sequences; `admit` makes the first columns."""
        self._shape = (rows, num_key_heads, head_size)
        self._num_layers = num_layers
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._columns = 0
        self.contexts: ContextKeys | None = None
        self.rows_S = torch.empty(0, dtype=torch.long)
        """Row of each sequence's context in `contexts`."""
        self.counts_S = torch.empty(0, dtype=torch.long)
        """Own columns of each sequence."""

    def admit(self, contexts: ContextKeys | None, rows_S: Tensor) -> None:
        """Add sequences; `rows_S` count in the present contexts followed by `contexts`."""
        if contexts is not None:
            self.contexts = contexts if self.contexts is None else self.contexts.joined(contexts)
        device = rows_S.device
        self.rows_S = torch.cat([self.rows_S.to(device), rows_S])
        self.counts_S = torch.cat([self.counts_S.to(device), torch.zeros_like(rows_S)])
        self.lay_out()

    def keep_(self, num_rows: int, holes: Tensor, movers: Tensor) -> None:
        """Move sequences `movers` to `holes`, then keep only the first `num_rows` sequences."""
        width = self._columns
        for buffer in (*self._keys, *self._values):
            buffer[holes, :, :width] = buffer[movers, :, :width]
        self.rows_S = kept_rows(self.rows_S, num_rows, holes, movers)
        self.counts_S = kept_rows(self.counts_S, num_rows, holes, movers)

    def keep_contexts(self, contexts: Tensor) -> None:
        """Keep only these contexts, of which the sequences must be."""
        assert self.contexts is not None, "sequences are admitted with their contexts"
        places = torch.zeros(len(self.contexts), dtype=torch.long, device=contexts.device)
        places[contexts] = torch.arange(len(contexts), device=contexts.device)
        self.contexts = self.contexts.kept(contexts)
        self.rows_S = places[self.rows_S]

    def begin_step(self) -> Tensor:
        """Make room for one more column in each sequence; return the new tokens' positions [S]."""
        assert self.contexts is not None, "sequences are admitted with their contexts"
        heads = self._shape[1]
        places = self.counts_S
        self._columns = int(places.max()) + 1
        self._widen(self._columns)
        capacity = self._keys[0].shape[2]
        first = torch.arange(len(places) * heads, device=places.device).view(-1, heads) * capacity
        self._places = (first + places[:, None]).flatten()
        self.counts_S = places + 1
        columns = torch.arange(self._columns, device=places.device)
        self._own_bias = _bias(columns < self.counts_S[:, None])
        return self.contexts.lengths_P[self.rows_S] + places

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write the new column, and attend to everything before and including it."""
        assert self.contexts is not None, "sequences are admitted with their contexts"
        _, size_H, size_R, size_D = query.shape
        own_key, own_value = (
            self._with_column(buffer, states)
            for buffer, states in ((self._keys[layer], key), (self._values[layer], value))
        )
        found, sums = _attend(query.reshape(-1, size_R, size_D), own_key, own_value, self._own_bias)
        size_P, size_G = len(self.contexts), self._group_size
        spread = query.flatten(1)
        if not self._is_in_order:
            spread = query.new_zeros((size_P * size_G, size_H * size_R * size_D)).index_copy_(
                0, self._slots, spread
            )
        shared, shared_sums = _attend(
            spread.view(size_P, size_G, size_H, size_R, size_D)
            .transpose(1, 2)
            .reshape(size_P * size_H, size_G * size_R, size_D),
            self.contexts.keys[layer].flatten(0, 1),
            self.contexts.values[layer].flatten(0, 1),
            self.contexts.bias_PL,
        )
        shared, shared_sums = self._gathered(shared, size_H), self._gathered(shared_sums, size_H)
        weight = torch.sigmoid(shared_sums - sums.view_as(shared_sums))
        return torch.lerp(found.view_as(shared), shared, weight)

    def _with_column(self, buffer: Tensor, states_SHD: Tensor) -> Tensor:
        """Write the new column; return the columns so far, [S * H, T, D]."""
        _, _, capacity, size_D = buffer.shape
        buffer.view(-1, size_D).index_copy_(0, self._places, states_SHD.reshape(-1, size_D))
        return buffer.view(-1, capacity, size_D)[: states_SHD.shape[:2].numel(), : self._columns]

    def _gathered(self, states: Tensor, size_H: int) -> Tensor:
        """Return what belongs to each sequence, from [P * H, G * R, D] to [S, H, R, D]."""
        size_P, size_D = len(self.contexts or ()), states.shape[-1]
        spread = states.view(size_P, size_H, self._group_size, -1, size_D).transpose(1, 2)
        flat = spread.reshape(size_P * self._group_size, size_H, -1, size_D)
        return flat if self._is_in_order else flat[self._slots]

    def lay_out(self) -> None:
        """Give each sequence a slot among the sequences of its context; after rows changed."""
        rows, size_P = self.rows_S, len(self.contexts or ())
        counts = torch.bincount(rows, minlength=size_P)
        self._group_size = int(counts.max())
        order = rows.argsort(stable=True)
        ranks = (
            torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows[order]]
        )
        places = torch.empty_like(rows)
        places[order] = ranks
        self._slots = rows * self._group_size + places
        self._is_in_order = len(rows) == size_P * self._group_size and bool(
            (self._slots == torch.arange(len(rows), device=rows.device)).all()
        )

    def _widen(self, columns: int) -> None:
        """Give the buffers at least this many columns, by doubling."""
        rows, heads, size = self._shape
        before = self._keys[0].shape[2] if self._keys else 0
        if columns <= before:
            return
        capacity = max(2 * before, columns - 1 + FIRST_COLUMNS)
        device = self.rows_S.device
        for buffers in (self._keys, self._values):
            for layer in range(self._num_layers):
                # Not empty: a column that the bias masks still enters a product with 0.
                wider = torch.zeros((rows, heads, capacity, size), device=device)
                if before:
                    wider[:, :, :before] = buffers[layer]
                    buffers[layer] = wider
                else:
                    buffers.append(wider)


FIRST_COLUMNS = 64
"""Initial number of own columns in a buffer; a full buffer doubles."""


def kept_rows(rows: Tensor, num_rows: int, holes: Tensor, movers: Tensor) -> Tensor:
    """Return the first `num_rows` rows after moving rows `movers` to `holes`.

    >>> kept_rows(torch.tensor([10, 11, 12, 13]), 2, torch.tensor([1]), torch.tensor([3]))
    tensor([10, 13])
    """
    kept = rows[:num_rows].clone()
    kept[holes] = rows[movers]
    return kept


def _bias(is_token: Tensor) -> Tensor | None:
    """Return 0 on tokens and -inf on padding, or None without padding."""
    if bool(is_token.all()):
        return None
    return torch.zeros(is_token.shape, device=is_token.device).masked_fill(~is_token, -torch.inf)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return attention [B, Q, D] and the log-sum-exp of its scores [B, Q, 1].

    `bias` [A, columns] is added to the scores; B is a multiple of A.
    """
    scores = torch.bmm(query, key.transpose(1, 2))
    if bias is not None:
        scores.view(len(bias), -1, bias.shape[1]).add_(bias[:, None])
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(-1, keepdim=True)
    return torch.bmm(weights, value).div_(total), total.log_().add_(largest)
