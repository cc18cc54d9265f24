"""Samples with plain torch: each distinct context is prefilled once, then its KV cache is forked.

Contexts are left-padded, so that every sequence of a wave writes the same column of a preallocated
cache. A sequence that ends leaves the batch at once: the last live row takes its place, which
copies one row and not the cache.

Each sequence draws from its own counter-based stream (`uniform_streams`): what it samples depends
on the seed, its context's index and its own index, not on its neighbours or `max_batch_size`,
as far as floating point allows (other batch shapes move logits in the last bits).

Not covered: models whose layers keep another state than keys and values (Mamba, linear attention).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from reason_env.agents.engines.fork_cache import (
    ForkCache,
    attending,
    can_share_prefixes,
    kept_rows,
)
from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import Context, SamplingConfig, draw, uniform_streams
from reason_env.errors import ConfigError

MAX_PREFILL_TOKENS = 4_096
"""Context tokens, padding included, in one forward pass."""


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Distinct contexts after their one pass through the model."""

    layers: list[DynamicLayer]
    mask: Tensor
    """[P, L], 1 on tokens, 0 on the padding before them."""
    logits: Tensor
    """[P, V], of the token after each context."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One completion to be sampled."""

    context: int
    """Index into the caller's contexts."""
    sample: int
    row: int
    """Row of the wave's prefill."""
    limit: int
    """Tokens."""


class TorchEngine:
    """Samples from a causal language model by forking its KV cache."""

    def __init__(self, model: Any, *, vocab_size: int, max_batch_size: int = 256) -> None:
        """Wraps a model; weights that change later are used as they are then.

        Args:
            model: A `transformers` causal language model that takes `position_ids`.
            vocab_size: Ids below it are sampled; those that only pad the embedding are not.
            max_batch_size: Sequences sampled at once.

        Raises:
            ConfigError: `max_batch_size` is below 1.
        """
        if max_batch_size < 1:
            raise ConfigError(
                f"max_batch_size must be at least 1, got {max_batch_size!r}; 256 suits small models"
            )
        self.model = model
        self.vocab_size = vocab_size
        self.max_batch_size = max_batch_size
        self.num_prefill_tokens = 0
        self.num_sampled_tokens = 0
        self.num_restarts = 0

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Returns `num_samples` completions of each context; see `Engine.sample`."""
        found: dict[tuple[int, int], Completion] = {}
        is_stop = torch.zeros(self.vocab_size, dtype=torch.bool)
        is_stop[list(stop_ids)] = True
        is_stop = is_stop.to(self.model.device)
        with torch.inference_mode(), evaluating(self.model):
            for distinct, sequences in self._waves(contexts):
                prefill = self._prefill(distinct)
                for start in range(0, len(sequences), self.max_batch_size):
                    wave = sequences[start : start + self.max_batch_size]
                    found.update(self._sample_wave(prefill, wave, sampling, seed, is_stop))
        self.num_sampled_tokens += sum(len(item.token_ids) for item in found.values())
        return [
            tuple(found[index, sample] for sample in range(context.num_samples))
            for index, context in enumerate(contexts)
        ]

    def _waves(
        self, contexts: Sequence[Context]
    ) -> Iterator[tuple[list[tuple[int, ...]], list[_Sequence]]]:
        """Yields distinct contexts with their sequences, `max_batch_size` sequences at once.

        Only a context with more samples than that has a longer list. Contexts of equal numbers of
        samples and similar length stand together, so that little is padded.
        """
        same: dict[tuple[int, ...], list[int]] = {}
        for index, context in enumerate(contexts):
            same.setdefault(context.token_ids, []).append(index)
        counts = {
            token_ids: sum(contexts[index].num_samples for index in indices)
            for token_ids, indices in same.items()
        }
        distinct: list[tuple[int, ...]] = []
        wave: list[_Sequence] = []
        for token_ids in sorted(same, key=lambda ids: (counts[ids], len(ids))):
            indices, num_samples = same[token_ids], counts[token_ids]
            if wave and len(wave) + num_samples > self.max_batch_size:
                yield distinct, wave
                distinct, wave = [], []
            wave.extend(
                _Sequence(index, sample, len(distinct), contexts[index].max_new_tokens)
                for index in indices
                for sample in range(contexts[index].num_samples)
            )
            distinct.append(token_ids)
        if wave:
            yield distinct, wave

    def _prefill(self, contexts: list[tuple[int, ...]]) -> _Prefill:
        """Runs each context through the model once, in batches of `MAX_PREFILL_TOKENS`."""
        width = max(len(token_ids) for token_ids in contexts)
        device = self.model.device
        ids = torch.zeros((len(contexts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, token_ids in enumerate(contexts):
            ids[row, width - len(token_ids) :] = torch.tensor(token_ids)
            mask[row, width - len(token_ids) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        rows = max(1, MAX_PREFILL_TOKENS // width)
        num_layers = self.model.config.get_text_config().num_hidden_layers
        caches: list[list[DynamicLayer]] = []
        logits: list[Tensor] = []
        for begin in range(0, len(contexts), rows):
            part = mask[begin : begin + rows]
            caches.append([DynamicLayer() for _ in range(num_layers)])
            logits.append(
                self._logits(
                    ids[begin : begin + rows],
                    (part.cumsum(-1) - 1).clamp(min=0),
                    Cache(layers=list(caches[-1])),
                    attention_mask=part,
                )
            )
        self.num_prefill_tokens += sum(len(token_ids) for token_ids in contexts)
        return _Prefill(_joined(caches), mask, torch.cat(logits))

    def _logits(self, ids: Tensor, positions: Tensor, cache: Cache, **masking: Any) -> Tensor:
        """Returns the logits [B, V] after the last column, and extends the cache."""
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **masking,
        )
        return output.logits[:, -1, : self.vocab_size]

    def _sample_wave(
        self,
        prefill: _Prefill,
        wave: list[_Sequence],
        sampling: SamplingConfig,
        seed: int,
        is_stop: Tensor,
    ) -> dict[tuple[int, int], Completion]:
        """Returns the completions of one wave by (context index, sample index)."""
        device = self.model.device
        steps = max(item.limit for item in wave)
        keys = [(item.context, item.sample) for item in wave]
        # Row t holds the numbers of position t, so that a step reads one contiguous row.
        uniforms = uniform_streams(seed, keys, steps).T.contiguous().to(device)
        token_ids = torch.zeros((steps, len(wave)), dtype=torch.long, device=device)
        log_probs = torch.zeros((steps, len(wave)), device=device)
        limits = torch.tensor([item.limit for item in wave], device=device)
        rows = torch.tensor([item.row for item in wave], device=device)
        cache = ForkCache(
            prefill.layers, prefill.mask, rows, is_shared=can_share_prefixes(self.model)
        )
        positions = prefill.mask.sum(-1)[rows][:, None]
        logits = prefill.logits[rows]
        lengths = limits.clone()
        live = torch.arange(len(wave), device=device)
        with attending(self.model, cache):
            for step in range(steps):
                tokens, token_log_probs = draw(logits, uniforms[step, live], sampling)
                token_ids[step, live] = tokens
                log_probs[step, live] = token_log_probs.float()
                ended = is_stop[tokens] | (limits == step + 1)
                num_live = len(live) - int(ended.sum())
                if num_live < len(live):
                    lengths[live[ended]] = step + 1
                    if not num_live:
                        break
                    holes = ended[:num_live].nonzero()[:, 0]
                    movers = (~ended[num_live:]).nonzero()[:, 0] + num_live
                    cache.keep_(num_live, holes, movers)
                    live, tokens, limits, positions = (
                        kept_rows(item, num_live, holes, movers)
                        for item in (live, tokens, limits, positions)
                    )
                logits = self._logits(
                    tokens[:, None], positions + step, cache, **cache.forward_args(1)
                )
        return _completions(keys, token_ids, log_probs, lengths, is_stop)


def _joined(caches: list[list[DynamicLayer]]) -> list[DynamicLayer]:
    """Returns the layers of prefill batches of one width as layers with all rows."""
    for first, *others in zip(*caches, strict=True):
        if others:
            first.keys = torch.cat([layer.keys for layer in (first, *others)])
            first.values = torch.cat([layer.values for layer in (first, *others)])
    return caches[0]


def _completions(
    keys: list[tuple[int, int]],
    token_ids: Tensor,
    log_probs: Tensor,
    lengths: Tensor,
    is_stop: Tensor,
) -> dict[tuple[int, int], Completion]:
    """Returns what was recorded in [steps, rows] as completions by key."""
    stopped = is_stop[token_ids[lengths - 1, torch.arange(len(keys), device=lengths.device)]]
    return {
        key: Completion(
            token_ids=tuple(tokens[:length]),
            log_probs=tuple(numbers[:length]),
            is_finished=is_finished,
        )
        for key, tokens, numbers, length, is_finished in zip(
            keys,
            token_ids.T.tolist(),
            log_probs.T.tolist(),
            lengths.tolist(),
            stopped.tolist(),
            strict=True,
        )
    }


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switches dropout off for a while: a behavior log-probability has no noise."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
