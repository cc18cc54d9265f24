"""Keys and values of many sequences that share contexts, and attention to them.

All samples of a context read one copy of its keys, in one matrix product, and all contexts one copy
of the trunk, a prefix that they have in common. The scores of trunk, context and a sequence's own
columns stand side by side in one buffer, so that one softmax is over all of them.

Scores are float32 products: batches of small bfloat16 products would round them to 8 bits. Softmax
and its sums have the type `sums` (see `decoder_layer.py`).

Axis letters: N tokens, P contexts, S sequences, G sequences of one context, H key-value heads, R
query heads of a key-value head, L context columns, T own columns, D head size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reason_env.agents.engines.sequences import kept_rows

FIRST_COLUMNS = 64
"""Initial number of columns in a buffer; a full buffer doubles."""


@dataclass(frozen=True, slots=True)
class KeyShape:
    """What all keys and values of a model have in common."""

    num_layers: int
    num_heads: int
    """Key-value heads."""
    head_size: int
    device: torch.device
    sums: torch.dtype
    """In which attention adds: float32, or float64 in bf16-mixed on a CPU."""


class Columns:
    """Keys and values [rows, H, columns, D] of all layers, in buffers that grow by doubling."""

    def __init__(self, shape: KeyShape, *, most: int | None = None) -> None:
        """Begin empty; buffers never grow beyond `most` columns."""
        self._shape, self._most = shape, most
        self.sums = shape.sums
        self.num_rows = 0
        """Rows that the buffers hold."""
        self.width = 0
        """Columns that the buffers hold."""
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def reserve(self, num_rows: int, width: int) -> None:
        """Grow to at least this size; what is there stays."""
        if num_rows <= self.num_rows and width <= self.width:
            return
        if num_rows > self.num_rows:
            num_rows = max(num_rows, 2 * self.num_rows)
        if width > self.width:
            ample = max(2 * self.width, width - 1 + FIRST_COLUMNS)
            width = ample if self._most is None else max(width, min(ample, self._most))
        rows, columns = max(num_rows, self.num_rows), max(width, self.width)
        heads, size = self._shape.num_heads, self._shape.head_size
        # Values are then bfloat16 numbers, and are as such converted most quickly.
        is_narrow = self._shape.sums == torch.float64
        dtypes = (torch.float32, torch.bfloat16 if is_narrow else torch.float32)
        for buffers, dtype in zip((self.keys, self.values), dtypes, strict=True):
            for layer in range(self._shape.num_layers):
                # Not empty: a column that a bias masks still enters a product, with weight 0.
                grown = torch.zeros(
                    (rows, heads, columns, size), dtype=dtype, device=self._shape.device
                )
                if self.num_rows:
                    grown[: self.num_rows, :, : self.width] = buffers[layer]
                    buffers[layer] = grown
                else:
                    buffers.append(grown)
        self.num_rows, self.width = rows, columns

    def places(self, rows_N: Tensor, columns_N: Tensor) -> Tensor:
        """Return the index of each (row, head, column), [N * H], for `write`."""
        heads = torch.arange(self._shape.num_heads, device=rows_N.device)
        flat = (rows_N[:, None] * self._shape.num_heads + heads) * self.width
        return (flat + columns_N[:, None]).flatten()

    def write(self, layer: int, places: Tensor, key_NHD: Tensor, value_NHD: Tensor) -> None:
        """Write keys and values to `places`."""
        size = self._shape.head_size
        for buffer, states in ((self.keys[layer], key_NHD), (self.values[layer], value_NHD)):
            flat = states.reshape(-1, size).to(buffer.dtype)
            buffer.view(-1, size).index_copy_(0, places, flat)

    def read(self, layer: int, num_rows: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the first rows and columns of a layer's keys and values, [rows * H, width, D]."""
        return (
            self.keys[layer][:num_rows, :, :width].flatten(0, 1),
            self.values[layer][:num_rows, :, :width].flatten(0, 1),
        )

    def copy_(self, targets: Tensor, sources: Tensor, width: int) -> None:
        """Copy the first columns of rows to other rows."""
        for buffer in (*self.keys, *self.values):
            buffer[targets, :, :width] = buffer[sources, :, :width]


@dataclass(frozen=True, slots=True)
class Trunk:
    """Keys and values of the prefix of all contexts, [H, L, D] for each layer."""

    keys: list[Tensor]
    values: list[Tensor]

    def __len__(self) -> int:
        return self.keys[0].shape[1]


class ContextPool:
    """Keys and values of prefilled contexts, one row each; a free row is used again."""

    def __init__(self, shape: KeyShape, trunk: Trunk | None = None) -> None:
        """Begin without contexts; those to come continue the trunk."""
        self.columns = Columns(shape)
        self.trunk = trunk
        self.num_trunk = 0 if trunk is None else len(trunk)
        self._device = shape.device
        self.token_ids: dict[int, tuple[int, ...]] = {}
        """Ids of the context in each row, free rows included, as long as their keys are there."""
        self._free: list[int] = []
        self.size = 0
        """Rows in use, and free ones between them."""
        self.lengths_P = torch.empty(0, dtype=torch.long, device=shape.device)
        self.width = 0
        """Longest context."""
        self.bias_PL: Tensor | None = None

    def take_rows(self, contexts: Sequence[tuple[int, ...]]) -> list[int]:
        """Return a row for each context, for the caller to fill."""
        count = len(contexts)
        free, self._free = self._free[:count], self._free[count:]
        rows = free + list(range(self.size, self.size + count - len(free)))
        self.size = max(self.size, *(row + 1 for row in rows))
        self.columns.reserve(self.size, max(map(len, contexts)))
        self.token_ids |= dict(zip(rows, contexts, strict=True))
        self._measure()
        return rows

    def donors(self) -> dict[int, tuple[int, ...]]:
        """Return the contexts whose rows the next call of `take_rows` does not overwrite."""
        return {row: ids for row, ids in self.token_ids.items() if row not in self._free}

    def as_trunk(self) -> Trunk:
        """Return the first context as a trunk."""
        length = int(self.lengths_P[0])
        keys, values = (
            [layer[0, :, :length].contiguous() for layer in layers]
            for layers in (self.columns.keys, self.columns.values)
        )
        return Trunk(keys, values)

    def keep(self, rows: Iterable[int]) -> dict[int, int]:
        """Free all other rows; return the new place of each kept row, by its old one.

        Rows move only when at most half are left: all moves together copy each row once or twice.
        """
        kept = sorted(rows)
        if 2 * len(kept) > self.size:
            self._free = sorted(set(range(self.size)) - set(kept))
            return dict(zip(kept, kept, strict=True))
        moved = dict(zip(kept, range(len(kept)), strict=True))
        index = torch.tensor(kept, dtype=torch.long, device=self._device)
        self.columns.copy_(torch.arange(len(kept), device=self._device), index, self.width)
        self.token_ids = {moved[row]: self.token_ids[row] for row in kept}
        self._free, self.size = [], len(kept)
        self._measure()
        return moved

    def _measure(self) -> None:
        # A row without context counts one column, so that attention to it is finite.
        lengths = [len(self.token_ids.get(row, (0,))) for row in range(self.size)]
        self.lengths_P = torch.tensor(lengths, dtype=torch.long, device=self._device)
        self.width = max(lengths, default=0)
        self.bias_PL = _bias(self.lengths_P, self.width)


class PrefillAttention:
    """Causal attention of new contexts' tokens; writes their keys to the pool."""

    def __init__(
        self, pool: ContextPool, rows: Sequence[int], donors: Sequence[tuple[int, int]]
    ) -> None:
        """Copy what donors have, and prepare for the other tokens, one context after the other.

        Args:
            pool: Holds the contexts' ids already.
            rows: The contexts' rows.
            donors: For each context the donor's row and the number of columns to copy.
        """
        device = pool.lengths_P.device
        self._pool, self._rows = pool, torch.tensor(rows, device=device)
        shared = [number for _, number in donors]
        for row, (donor, number) in zip(rows, donors, strict=True):
            if number:
                for buffer in (*pool.columns.keys, *pool.columns.values):
                    buffer[row, :, :number] = buffer[donor, :, :number]
        contexts = [pool.token_ids[row] for row in rows]
        pieces = [ids[number:] for ids, number in zip(contexts, shared, strict=True)]
        counts = torch.tensor([len(piece) for piece in pieces], device=device)
        self.token_ids_N = torch.tensor([token for ids in pieces for token in ids], device=device)
        which = torch.arange(len(rows), device=device).repeat_interleave(counts)
        ends = counts.cumsum(0)
        within = torch.arange(len(which), device=device) - (ends - counts)[which]
        columns_N = within + torch.tensor(shared, device=device)[which]
        self.positions_N = columns_N + pool.num_trunk
        self.last_P = ends - 1
        """Index of each context's last token."""
        self._places_N = pool.columns.places(self._rows[which], columns_N)
        self._height, self._width = int(counts.max()), max(map(len, contexts))
        self._slots_N = which * self._height + within
        # Padding is on the right, so that causal attention keeps it from every token.
        self._mask: Tensor | None = None
        if any(shared) or pool.num_trunk:
            last = torch.tensor(shared, device=device)[:, None] + torch.arange(
                self._height, device=device
            )
            # The trunk is before all columns.
            columns = torch.arange(-pool.num_trunk, self._width, device=device)
            self._mask = (columns <= last[:, :, None])[:, None]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write the layer's keys, and attend from each token to those before and including it."""
        columns = self._pool.columns
        columns.write(layer, self._places_N, key, value)
        size_P = len(self._rows)
        keys = columns.keys[layer][self._rows, :, : self._width]
        values = columns.values[layer][self._rows, :, : self._width]
        if (trunk := self._pool.trunk) is not None:
            keys = torch.cat([trunk.keys[layer].expand(size_P, -1, -1, -1), keys], dim=2)
            values = torch.cat([trunk.values[layer].expand(size_P, -1, -1, -1), values], dim=2)
        sums = columns.sums
        padded = query.new_zeros((size_P * self._height, *query.shape[1:]), dtype=sums)
        padded[self._slots_N] = query.to(sums)
        found = scaled_dot_product_attention(
            padded.unflatten(0, (size_P, self._height)).transpose(1, 2),
            keys.to(sums),
            values.to(sums),
            attn_mask=self._mask,
            is_causal=self._mask is None,
            scale=1.0,
            enable_gqa=True,
        )
        return found.transpose(1, 2).flatten(0, 1)[self._slots_N].float()


class DecodeAttention:
    """Attention of one new token per sequence to its context and its own earlier tokens."""

    def __init__(
        self, pool: ContextPool, shape: KeyShape, *, num_rows: int, max_columns: int
    ) -> None:
        """Prepare for at most this many sequences at once, and tokens of each."""
        self._pool, self._columns = pool, Columns(shape, most=max_columns)
        self._num_rows = num_rows
        self._num_heads = shape.num_heads
        self.rows_S = torch.empty(0, dtype=torch.long, device=shape.device)
        """Row of each sequence's context in the pool."""
        self.counts_S = torch.empty(0, dtype=torch.long, device=shape.device)
        """Own columns of each sequence."""
        self._width = 0
        """Most own columns."""
        self._group_size = 0

    def admit(self, rows_S: Tensor) -> None:
        """Add sequences of contexts in these rows of the pool."""
        self.rows_S = torch.cat([self.rows_S, rows_S])
        self.counts_S = torch.cat([self.counts_S, torch.zeros_like(rows_S)])
        self._lay_out()

    def keep_(
        self, num_rows: int, holes: Tensor, movers: Tensor, *, reserved: set[int]
    ) -> dict[int, int]:
        """Move sequences `movers` to `holes`, then keep only the first `num_rows` sequences.

        Returns:
            The new row of each context that stays in the pool, by its old one: those of the
            sequences, and `reserved` ones.
        """
        self._columns.copy_(holes, movers, self._width)
        self.rows_S = kept_rows(self.rows_S, num_rows, holes, movers)
        self.counts_S = kept_rows(self.counts_S, num_rows, holes, movers)
        old_rows: list[int] = self.rows_S.tolist()
        stays = self._pool.keep({*old_rows, *reserved})
        self.rows_S = self.rows_S.new_tensor([stays[row] for row in old_rows])
        self._lay_out()
        return stays

    def begin_step(self) -> Tensor:
        """Make room for one more column in each sequence; return the new tokens' positions [S]."""
        places = self.counts_S
        self._width = int(places.max()) + 1
        self._columns.reserve(self._num_rows, self._width)
        self._places = self._columns.places(torch.arange(len(places), device=places.device), places)
        self.counts_S = places + 1
        self._bias_S = self._bias()
        return self._pool.num_trunk + self._pool.lengths_P[self.rows_S] + places

    def _bias(self) -> Tensor | None:
        """Return what masks columns that a sequence lacks, [S, 1, 1, columns], or None."""
        pool, own = self._pool, _bias(self.counts_S, self._width)
        if own is None and pool.bias_PL is None:
            return None
        size_S = len(self.rows_S)
        begin, end = pool.num_trunk, pool.num_trunk + pool.width
        bias = torch.zeros(
            (size_S, 1, 1, end + self._width), dtype=self._columns.sums, device=self.rows_S.device
        )
        if pool.bias_PL is not None:
            bias[:, 0, 0, begin:end] = pool.bias_PL[self.rows_S]
        if own is not None:
            bias[:, 0, 0, end:] = own
        return bias

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write the new column, and attend to everything before and including it."""
        self._columns.write(layer, self._places, key, value)
        query = query.float().unflatten(1, (self._num_heads, -1))
        size_S, size_H, size_R, size_D = query.shape
        pool, sums = self._pool, self._columns.sums
        begin, end = pool.num_trunk, pool.num_trunk + pool.width
        scores = query.new_empty((size_S, size_H, size_R, end + self._width), dtype=sums)
        own_keys, own_values = self._columns.read(layer, size_S, self._width)
        keys, values = pool.columns.read(layer, pool.size, pool.width)
        flat = query.reshape(-1, size_R, size_D)
        own = torch.bmm(flat, own_keys.transpose(1, 2))
        scores[..., end:] = own.view(size_S, size_H, size_R, -1)
        shared = torch.bmm(self._by_context(query), keys.transpose(1, 2))
        self._put(scores[..., begin:end], shared, is_added=False)
        if pool.trunk is not None:
            found = torch.bmm(
                query.transpose(0, 1).reshape(size_H, -1, size_D),
                pool.trunk.keys[layer].transpose(1, 2),
            )
            scores[..., :begin] = found.view(size_H, size_S, size_R, -1).transpose(0, 1)
        if self._bias_S is not None:
            scores += self._bias_S
        weights = scores.softmax(-1)
        mixed = torch.bmm(weights[..., end:].flatten(0, 1), own_values.to(sums)).view_as(query)
        shared = torch.bmm(self._by_context(weights[..., begin:end]), values.to(sums))
        self._put(mixed, shared, is_added=True)
        if pool.trunk is not None:
            found = torch.bmm(
                weights[..., :begin].transpose(0, 1).reshape(size_H, -1, begin),
                pool.trunk.values[layer].to(sums),
            )
            mixed += found.view(size_H, size_S, size_R, -1).transpose(0, 1)
        return mixed.flatten(1, 2).float()

    def _by_context(self, states: Tensor) -> Tensor:
        """Return [P * H, G * R, X] from what belongs to each sequence, [S, H, R, X]."""
        shape = (self._pool.size, self._group_size, *states.shape[1:])
        if self._is_in_order:
            spread = states.unflatten(0, shape[:2])
        else:
            spread = states.new_zeros(shape)
            spread[self.rows_S, self._numbers_S] = states
        return spread.transpose(1, 2).reshape(shape[0] * shape[2], -1, shape[-1])

    def _put(self, target: Tensor, states: Tensor, *, is_added: bool) -> None:
        """Put or add [P * H, G * R, X] to what belongs to each sequence, [S, H, R, X]."""
        size_P, size_G = self._pool.size, self._group_size
        spread = states.view(size_P, target.shape[1], size_G, target.shape[2], -1).transpose(1, 2)
        if self._is_in_order:
            target = target.unflatten(0, (size_P, size_G))
        else:
            spread = spread[self.rows_S, self._numbers_S]
        if is_added:
            target += spread
        else:
            target.copy_(spread)

    def _lay_out(self) -> None:
        """Number each sequence among the sequences of its context."""
        rows, device = self.rows_S, self.rows_S.device
        if not len(rows):
            return
        counts = torch.bincount(rows, minlength=self._pool.size)
        self._group_size = int(counts.max())
        order = rows.argsort(stable=True)
        self._numbers_S = torch.empty_like(rows)
        self._numbers_S[order] = (
            torch.arange(len(rows), device=device) - (counts.cumsum(0) - counts)[rows[order]]
        )
        slots = rows * self._group_size + self._numbers_S
        self._is_in_order = len(rows) == self._pool.size * self._group_size and bool(
            (slots == torch.arange(len(rows), device=device)).all()
        )


def _bias(lengths: Tensor, width: int) -> Tensor | None:
    """Return 0 on each row's first columns and -inf on the others, or None if all rows are full."""
    is_token = torch.arange(width, device=lengths.device) < lengths[:, None]
    if bool(is_token.all()):
        return None
    return torch.zeros(is_token.shape, device=lengths.device).masked_fill(~is_token, -torch.inf)
