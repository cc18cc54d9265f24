"""Sample with torch: prefill each distinct context once, then fork its KV cache.

Models that the fused forward pass computes (`fused`) go through it, from a size on at which it
pays; all others go through their own forward pass, as follows. `TorchEngine.path` tells which.

Contexts are left-padded, so that every sequence of a batch writes the same column of a preallocated
cache. A sequence that ends leaves the batch at once: the last live row moves to its place, which
copies one row, not the cache.

Each sequence draws from its own counter-based stream (`uniform_streams`). Its tokens depend on the
seed, its context's stream and its own index, not on other sequences or `max_batch_size`, as far as
floating point allows: other batch shapes change the last bits of the logits.

Not covered: models whose layers keep a state other than keys and values (Mamba, linear attention).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from reason_env.agents.engines.adapter import lora_layers
from reason_env.agents.engines.decode_step import DecodeStep
from reason_env.agents.engines.fork_cache import (
    ForkCache,
    attending,
    can_share_prefixes,
)
from reason_env.agents.engines.fused import FusedSampler, why_not_fused
from reason_env.agents.engines.precision import check_precision, mixed_precision
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
from reason_env.errors import ConfigError

MAX_PREFILL_TOKENS = 4_096
"""Context tokens, padding included, in one forward pass."""
MIN_FUSED_PARAMETERS = 10_000_000
"""In float32, smaller models use their own forward pass."""


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Distinct contexts after one forward pass."""

    layers: list[DynamicLayer]
    mask: Tensor
    """[P, L], 1 on tokens, 0 on the padding before them."""
    logits: Tensor
    """[P, V], for the token after each context."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One completion to sample."""

    context: int
    """Index of the context in the caller's order."""
    sample: int
    row: int
    """Row of the context in the prefill."""
    limit: int
    """Most tokens to sample."""


class TorchEngine:
    """Samples from a causal language model by forking its KV cache."""

    def __init__(
        self,
        model: Any,
        *,
        vocab_size: int,
        max_batch_size: int = 256,
        precision: str = "float32",
    ) -> None:
        """Wrap a model; each call of `sample` uses its current weights.

        Args:
            model: A `transformers` causal language model that takes `position_ids`.
            vocab_size: Only ids below this number are sampled; padding of the embedding is not.
            max_batch_size: Sequences sampled at once.
            precision: "float32", or "bf16-mixed": matrix products in bfloat16 of float32 weights.

        Raises:
            ConfigError: `max_batch_size` is below 1, or the precision is unknown.
        """
        check_precision(precision)
        if max_batch_size < 1:
            raise ConfigError(
                f"max_batch_size must be at least 1, got {max_batch_size!r}; 256 suits small models"
            )
        self.model = model
        self.vocab_size = vocab_size
        self.max_batch_size = max_batch_size
        self.precision = precision
        self.num_sampled_tokens = 0
        self.num_restarts = 0
        self.num_fused_tokens = 0
        """Sampled tokens that came from the fused forward pass."""
        self._num_own_prefilled = 0
        self._num_own_reused = 0
        self._fused = FusedSampler(
            model,
            vocab_size=vocab_size,
            max_batch_size=max_batch_size,
            is_mixed=precision == "bf16-mixed",
        )

    @property
    def num_prefill_tokens(self) -> int:
        """Context tokens run through the model."""
        return self._num_own_prefilled + self._fused.counts.prefilled

    @property
    def num_reused_tokens(self) -> int:
        """Context tokens that sequences read from keys computed for others."""
        return self._num_own_reused + self._fused.counts.reused

    @property
    def num_weight_refreshes(self) -> int:
        """Times that bfloat16 copies of the weights were made."""
        return self._fused.counts.refreshes

    @property
    def why_not_fused(self) -> str | None:
        """Why sampling goes through the model's own forward pass; None if it does not."""
        reason = why_not_fused(self.model)
        if reason is None and self.precision == "float32":
            size = sum(weight.numel() for weight in self.model.parameters())
            if size < MIN_FUSED_PARAMETERS:
                return f"its {size:,} parameters are fewer than {MIN_FUSED_PARAMETERS:,}"
        return reason

    @property
    def path(self) -> str:
        """The pass that sampling goes through: "fused", or "model", the model's own."""
        return "fused" if self.why_not_fused is None else "model"

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context; see `Engine.sample`."""
        if not contexts:
            return []
        is_stop = torch.zeros(self.vocab_size, dtype=torch.bool)
        is_stop[list(stop_ids)] = True
        is_stop = is_stop.to(self.model.device)
        if self.why_not_fused is None:
            with torch.inference_mode():
                groups = self._fused.sample(contexts, sampling, seed=seed, is_stop=is_stop)
            num_tokens = sum(len(item.token_ids) for group in groups for item in group)
            self.num_fused_tokens += num_tokens
            self.num_sampled_tokens += num_tokens
            return groups
        found: dict[tuple[int, int], Completion] = {}
        with self._computing(), evaluating(self.model):
            for distinct, sequences in self._prefill_batches(contexts):
                prefill = self._prefill(distinct)
                for start in range(0, len(sequences), self.max_batch_size):
                    batch = sequences[start : start + self.max_batch_size]
                    found.update(
                        self._sample_batch(prefill, contexts, batch, sampling, seed, is_stop)
                    )
        self.num_sampled_tokens += sum(len(item.token_ids) for item in found.values())
        self._num_own_reused += sum(
            context.num_samples * len(context.token_ids) for context in contexts
        )
        return [
            tuple(found[index, sample] for sample in range(context.num_samples))
            for index, context in enumerate(contexts)
        ]

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Enter inference mode, in the engine's precision."""
        with torch.inference_mode(), mixed_precision(self.model, self.precision):
            yield

    def _prefill_batches(
        self, contexts: Sequence[Context]
    ) -> Iterator[tuple[list[tuple[int, ...]], list[_Sequence]]]:
        """Yield distinct contexts with their sequences, at most `max_batch_size` sequences at once.

        A single context with more samples than that comes alone, with all of them. Contexts are
        sorted by number of samples, then by length, to keep padding short.
        """
        same: dict[tuple[int, ...], list[int]] = {}
        for index, context in enumerate(contexts):
            same.setdefault(context.token_ids, []).append(index)
        counts = {
            token_ids: sum(contexts[index].num_samples for index in indices)
            for token_ids, indices in same.items()
        }
        distinct: list[tuple[int, ...]] = []
        batch: list[_Sequence] = []
        for token_ids in sorted(same, key=lambda ids: (counts[ids], len(ids))):
            indices, num_samples = same[token_ids], counts[token_ids]
            if batch and len(batch) + num_samples > self.max_batch_size:
                yield distinct, batch
                distinct, batch = [], []
            batch.extend(
                _Sequence(index, sample, len(distinct), contexts[index].max_new_tokens)
                for index in indices
                for sample in range(contexts[index].num_samples)
            )
            distinct.append(token_ids)
        if batch:
            yield distinct, batch

    def _prefill(self, contexts: list[tuple[int, ...]]) -> _Prefill:
        """Run each context through the model once, `MAX_PREFILL_TOKENS` tokens at a time."""
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
        num_tokens = sum(len(token_ids) for token_ids in contexts)
        self._num_own_prefilled += num_tokens
        self._num_own_reused -= num_tokens
        return _Prefill(_joined(caches), mask, torch.cat(logits))

    def _logits(self, ids: Tensor, positions: Tensor, cache: Cache, **masking: Any) -> Tensor:
        """Compute the logits [B, V] after the last column and extend the cache."""
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **masking,
        )
        return output.logits[:, -1, : self.vocab_size]

    def _decode_step(self) -> DecodeStep | None:
        """Return a step with the bits of the model's own, for the models that have one."""
        if self.precision != "float32" or why_not_fused(self.model) is not None:
            return None
        return (
            None if lora_layers(self.model) else DecodeStep(self.model, vocab_size=self.vocab_size)
        )

    def _sample_batch(  # noqa: PLR0917 - the parts of one call of `sample`
        self,
        prefill: _Prefill,
        contexts: Sequence[Context],
        batch: list[_Sequence],
        sampling: SamplingConfig,
        seed: int,
        is_stop: Tensor,
    ) -> dict[tuple[int, int], Completion]:
        """Sample one batch; return its completions by (context index, sample index)."""
        device = self.model.device
        steps = max(item.limit for item in batch)
        keys = [(item.context, item.sample) for item in batch]
        # Row t holds the numbers of position t, so that each position reads one contiguous row.
        streams = streams_of(contexts)
        drawn_by = [(streams[item.context], item.sample) for item in batch]
        uniforms = uniform_streams(seed, drawn_by, steps).T.contiguous().to(device)
        token_ids = torch.zeros((steps, len(batch)), dtype=torch.long, device=device)
        log_probs = torch.zeros((steps, len(batch)), device=device)
        keeps = [contexts[item.context].keeps_entropies for item in batch]
        entropies = torch.zeros_like(log_probs) if any(keeps) else None
        limits = torch.tensor([item.limit for item in batch], device=device)
        rows = torch.tensor([item.row for item in batch], device=device)
        cache = ForkCache(
            prefill.layers, prefill.mask, rows, is_shared=can_share_prefixes(self.model)
        )
        positions = prefill.mask.sum(-1)[rows][:, None]
        logits = prefill.logits[rows]
        lengths = limits.clone()
        has_rules = any(context.end_rule is not None for context in contexts)
        live = torch.arange(len(batch), device=device)
        decode = self._decode_step() if cache.is_shared else None
        with attending(self.model, cache):
            for step in range(steps):
                tokens, token_log_probs = draw(logits, uniforms[step, live], sampling)
                token_ids[step, live] = tokens
                log_probs[step, live] = token_log_probs.float()
                if entropies is not None:
                    entropies[step, live] = processed_entropies(logits, sampling).float()
                ended = is_stop[tokens] | (limits == step + 1)
                if has_rules:
                    own = [contexts[batch[at].context] for at in live.tolist()]
                    newest = torch.full_like(live, step)
                    ended |= ended_by_rules(own, token_ids.T, live, newest)
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
                if decode is not None:
                    logits = decode(tokens, positions[:, 0] + step, cache)
                    continue
                logits = self._logits(
                    tokens[:, None], positions + step, cache, **cache.forward_args(1)
                )
        return completions_by_key(
            keys,
            token_ids.T,
            log_probs.T,
            lengths_S=lengths,
            is_stop=is_stop,
            entropies_ST=None if entropies is None else entropies.T,
            keeps_entropies=keeps,
        )


def _joined(caches: list[list[DynamicLayer]]) -> list[DynamicLayer]:
    """Concatenate the rows of prefill batches of equal width, layer by layer."""
    for first, *others in zip(*caches, strict=True):
        if others:
            first.keys = torch.cat([layer.keys for layer in (first, *others)])
            first.values = torch.cat([layer.values for layer in (first, *others)])
    return caches[0]


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switch dropout off inside the block, so that log-probabilities have no noise."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
