"""Sample many sequences with the fused forward pass; a finished one makes room for the next.

Rows that end leave the batch at once. As soon as an eighth of the rows is free, waiting sequences
take their places, so that the products stay large until the last sequences run out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reason_env.agents.engines.decoder_layer import sums_dtype
from reason_env.agents.engines.fused.attention import (
    ContextPool,
    DecodeAttention,
    KeyShape,
    PrefillAttention,
    Trunk,
)
from reason_env.agents.engines.fused.forward import hidden_states, next_logits
from reason_env.agents.engines.fused.prefix_tree import (
    Graft,
    common_length,
    in_sharing_order,
    plan_waves,
)
from reason_env.agents.engines.fused.weights import (
    FusedWeights,
    fingerprint,
    fused_weights,
    is_same,
)
from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import (
    Context,
    SamplingConfig,
    draw,
    processed_entropies,
    streams_of,
    uniform_streams,
)
from reason_env.agents.engines.sequences import completions_by_key, ended_by_rules, kept_rows

MAX_PREFILL_TOKENS = 4_096
"""Context tokens in one forward pass."""
MIN_TRUNK_TOKENS = 64
"""From this length on, a prefix of all contexts is attended to in one copy."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One completion to sample."""

    context: int
    sample: int
    distinct: int
    """Index of its context among the distinct ones."""
    limit: int


@dataclass(slots=True)
class _Counts:
    """What the sampler has done since it was built."""

    prefilled: int = 0
    """Context tokens run through the model."""
    reused: int = 0
    """Context tokens that a sequence read from keys computed for another one."""
    refreshes: int = 0
    """Times that the bfloat16 weights were made."""


@dataclass(slots=True)
class FusedSampler:
    """Samples from a claimed model; `is_mixed` computes with bfloat16 copies of its weights."""

    model: Any
    vocab_size: int
    max_batch_size: int
    is_mixed: bool
    counts: _Counts = field(default_factory=_Counts)
    _weights: FusedWeights | None = None
    _fingerprint: Any = None

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        is_stop: Tensor,
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context, in the order of the contexts."""
        weights = self._current_weights()
        distinct, wanted = _in_order(contexts)
        device, steps = is_stop.device, max(item.limit for item in wanted)
        keys = [(item.context, item.sample) for item in wanted]
        streams = streams_of(contexts)
        drawn_by = [(streams[item.context], item.sample) for item in wanted]
        uniforms = uniform_streams(seed, drawn_by, steps).to(device)
        limits = torch.tensor([item.limit for item in wanted], device=device)
        token_ids = torch.zeros((len(wanted), steps), dtype=torch.long, device=device)
        log_probs = torch.zeros((len(wanted), steps), device=device)
        keeps = [contexts[item.context].keeps_entropies for item in wanted]
        entropies = torch.zeros_like(log_probs) if any(keeps) else None
        lengths = limits.clone()
        has_rules = any(context.end_rule is not None for context in contexts)
        before = self.counts.prefilled
        batch = _Batch(self, weights, distinct, wanted, device)
        while batch.fill():
            live, drawn = batch.live, batch.attention.counts_S
            tokens, token_log_probs = draw(batch.logits, uniforms[live, drawn], sampling)
            token_ids[live, drawn] = tokens
            log_probs[live, drawn] = token_log_probs.float()
            if entropies is not None:
                entropies[live, drawn] = processed_entropies(batch.logits, sampling).float()
            ended = is_stop[tokens] | (limits[live] == drawn + 1)
            if has_rules:
                own = [contexts[wanted[at].context] for at in live.tolist()]
                ended |= ended_by_rules(own, token_ids, live, drawn)
            lengths[live[ended]] = drawn[ended] + 1
            batch.advance(tokens, ended)
        asked = sum(context.num_samples * len(context.token_ids) for context in contexts)
        self.counts.reused += asked - (self.counts.prefilled - before)
        found = completions_by_key(
            keys,
            token_ids,
            log_probs,
            lengths_S=lengths,
            is_stop=is_stop,
            entropies_ST=entropies,
            keeps_entropies=keeps,
        )
        return [
            tuple(found[index, sample] for sample in range(context.num_samples))
            for index, context in enumerate(contexts)
        ]

    def _current_weights(self) -> FusedWeights:
        """Return the weights, made again if the model's parameters changed."""
        found = fingerprint(self.model) if self.is_mixed else ()
        if self._weights is None or not self.is_mixed or not is_same(found, self._fingerprint):
            # Not before the new ones: both at once would take twice the memory.
            self._weights = None
            self._weights = fused_weights(
                self.model, vocab_size=self.vocab_size, is_mixed=self.is_mixed
            )
            self._fingerprint = found
            self.counts.refreshes += self.is_mixed
        return self._weights


class _Batch:
    """The sequences that are sampled at the moment, and those that wait."""

    def __init__(
        self,
        sampler: FusedSampler,
        weights: FusedWeights,
        distinct: list[tuple[int, ...]],
        wanted: list[_Wanted],
        device: torch.device,
    ) -> None:
        self._sampler, self._weights = sampler, weights
        self._wanted = wanted
        shape = KeyShape(
            num_layers=len(weights.layers),
            num_heads=weights.num_key_heads,
            head_size=weights.head_size,
            device=device,
            sums=sums_dtype(device, is_mixed=weights.is_mixed),
        )
        length = _trunk_length(distinct)
        self._pool = ContextPool(shape, self._trunk(shape, distinct[0][:length]))
        self._distinct = [token_ids[length:] for token_ids in distinct]
        """What follows the trunk."""
        self._num_admitted = 0
        self._row_of: dict[int, int] = {}
        """Row in the pool, of distinct contexts that are prefilled."""
        self._after: dict[int, Tensor] = {}
        """Logits [V] after prefilled contexts that sequences still wait for."""
        self.live = torch.empty(0, dtype=torch.long, device=device)
        """Index of each live sequence in `wanted`."""
        self.logits = torch.empty((0, sampler.vocab_size), device=device)
        """For each live sequence's next token."""
        num_rows = min(sampler.max_batch_size, len(wanted))
        max_columns = max(item.limit for item in wanted)
        self.attention = DecodeAttention(
            self._pool, shape, num_rows=num_rows, max_columns=max_columns
        )

    def fill(self) -> bool:
        """Admit waiting sequences if enough rows are free; return whether any sequence is live."""
        size = self._sampler.max_batch_size
        free, waiting = size - len(self.live), len(self._wanted) - self._num_admitted
        if waiting and (not len(self.live) or free >= min(waiting, max(1, size // 8))):
            self._admit(self._wanted[self._num_admitted :][:free])
        return len(self.live) > 0

    def _admit(self, admitted: list[_Wanted]) -> None:
        device = self.live.device
        new = dict.fromkeys(item.distinct for item in admitted if item.distinct not in self._row_of)
        if new:
            self._prefill(list(new))
        rows = torch.tensor([self._row_of[item.distinct] for item in admitted], device=device)
        self.attention.admit(rows)
        self.logits = torch.cat(
            [self.logits, torch.stack([self._after[item.distinct] for item in admitted])]
        )
        begin = self._num_admitted
        self._num_admitted += len(admitted)
        self.live = torch.cat([self.live, torch.arange(begin, self._num_admitted, device=device)])
        needed = self._awaited()
        self._after = {key: value for key, value in self._after.items() if key in needed}

    def _prefill(self, new: list[int]) -> None:
        """Run the tokens of new distinct contexts that no other context has through the model."""
        contexts = [self._distinct[index] for index in new]
        waves = plan_waves(contexts, self._pool.donors())
        rows = self._pool.take_rows(contexts)
        for wave in waves:
            for part in _parts(wave, contexts, MAX_PREFILL_TOKENS):
                donors = [
                    (0 if graft.donor is None else graft.donor, graft.num_shared)
                    if graft.donor is None or graft.donor >= 0
                    else (rows[-1 - graft.donor], graft.num_shared)
                    for graft in part
                ]
                attention = PrefillAttention(
                    self._pool, [rows[graft.index] for graft in part], donors
                )
                ids = attention.token_ids_N
                hidden = hidden_states(self._weights, ids, attention.positions_N, attention)
                logits = next_logits(self._weights, hidden[attention.last_P])
                self._after |= {new[graft.index]: logits[at] for at, graft in enumerate(part)}
                self._sampler.counts.prefilled += len(ids)
        self._row_of |= dict(zip(new, rows, strict=True))

    def _trunk(self, shape: KeyShape, token_ids: tuple[int, ...]) -> Trunk | None:
        """Run the prefix of all contexts through the model."""
        if not token_ids:
            return None
        pool = ContextPool(shape)
        attention = PrefillAttention(pool, pool.take_rows([token_ids]), [(0, 0)])
        hidden_states(self._weights, attention.token_ids_N, attention.positions_N, attention)
        self._sampler.counts.prefilled += len(token_ids)
        return pool.as_trunk()

    def _awaited(self) -> set[int]:
        """Return the distinct context that is prefilled and that sequences wait for, if any."""
        waiting = self._wanted[self._num_admitted :][:1]
        return {item.distinct for item in waiting if item.distinct in self._row_of}

    def advance(self, tokens: Tensor, ended: Tensor) -> None:
        """Drop the ended sequences and run the others' tokens through the model."""
        num_live = len(ended) - int(ended.sum())
        if num_live < len(ended):
            holes = ended[:num_live].nonzero()[:, 0]
            movers = (~ended[num_live:]).nonzero()[:, 0] + num_live
            stays = self.attention.keep_(
                num_live,
                holes,
                movers,
                reserved={self._row_of[index] for index in self._awaited()},
            )
            self._row_of = {
                index: stays[row] for index, row in self._row_of.items() if row in stays
            }
            self.live = kept_rows(self.live, num_live, holes, movers)
            tokens = kept_rows(tokens, num_live, holes, movers)
        if num_live:
            positions = self.attention.begin_step()
            hidden = hidden_states(self._weights, tokens, positions, self.attention)
            self.logits = next_logits(self._weights, hidden)
        else:
            self.logits = self.logits[:0]


def _in_order(contexts: Sequence[Context]) -> tuple[list[tuple[int, ...]], list[_Wanted]]:
    """Return the distinct contexts in the order of sampling, and all sequences in that order."""
    same: dict[tuple[int, ...], list[int]] = {}
    for index, context in enumerate(contexts):
        same.setdefault(context.token_ids, []).append(index)
    distinct = in_sharing_order(list(same))
    wanted = [
        _Wanted(index, sample, at, contexts[index].max_new_tokens)
        for at, token_ids in enumerate(distinct)
        for index in same[token_ids]
        for sample in range(contexts[index].num_samples)
    ]
    return distinct, wanted


def _trunk_length(distinct: list[tuple[int, ...]]) -> int:
    """Return the length of the prefix of all contexts that is attended to in one copy, or 0.

    Every context keeps a token of its own, which gives the logits after it.
    """
    length = min(common_length(min(distinct), max(distinct)), min(map(len, distinct)) - 1)
    return length if len(distinct) > 1 and length >= MIN_TRUNK_TOKENS else 0


def _parts(
    wave: list[Graft], contexts: list[tuple[int, ...]], max_tokens: int
) -> list[list[Graft]]:
    """Split a wave into parts of at most this many tokens to compute, or of one context."""
    parts: list[list[Graft]] = []
    total = 0
    for graft in wave:
        count = len(contexts[graft.index]) - graft.num_shared
        if not parts or total + count > max_tokens:
            parts.append([])
            total = 0
        parts[-1].append(graft)
        total += count
    return parts
