"""Contexts, sampling settings, and the distribution that tokens are drawn from.

`processed_log_probs` turns logits into that distribution. Sampling and scoring both call it, so
recorded log-probabilities are those of the distribution used. It applies temperature, then top-k,
then top-p to the tokens that are left. Both truncations keep every token whose logit reaches a
threshold, so tokens with equal logits are kept or cut together, whatever the sort order.

Axis letters: B rows, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from reason_env.errors import ConfigError

LARGE_VOCABULARY = 4_096
"""From this many ids on, draws sum blocks of them, and top-p sorts as few as it needs."""
BLOCK = 128
"""Ids of one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How tokens are drawn from the model's distribution.

    Raises:
        ConfigError: A number is outside its range.

    >>> SamplingConfig(temperature=0.7, top_p=0.9).is_greedy
    False
    """

    temperature: float = 1.0
    """Divides the logits. 0 takes the likeliest token and records log-probabilities of the
    untruncated distribution at temperature 1, because greedy ones would all be 0."""
    top_p: float = 1.0
    """Keep the likeliest tokens that together reach this probability, 0 < top_p <= 1; 1 is off."""
    top_k: int = 0
    """Keep this many of the likeliest tokens; 0 is off."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(
                f"temperature must be finite and at least 0, got {self.temperature!r}; "
                "use 1.0 for the model's own distribution, 0 for greedy"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(
                f"top_p must lie in 0 < top_p <= 1, got {self.top_p!r}; use 1.0 to keep all tokens"
            )
        if self.top_k < 0:
            raise ConfigError(
                f"top_k must be at least 0, got {self.top_k!r}; use 0 to keep all tokens"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether sampling takes the likeliest token."""
        return self.temperature == 0


class EndRule(Protocol):
    """Ends completions that an environment would not read further."""

    def may_end(self, token_id: int) -> bool:
        """Whether a completion can end with this token; cheap, called for every token."""
        ...

    def ends(self, token_ids: Sequence[int]) -> bool:
        """Whether a completion ends with these ids; called only if the last one may end it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The tokens to condition on, and how many completions to sample after them.

    Raises:
        ConfigError: `num_samples` or `max_new_tokens` is below 1, or the context has no tokens.

    >>> Context(token_ids=(49, 43, 49, 61), num_samples=8, max_new_tokens=4).num_samples
    8
    """

    token_ids: tuple[int, ...]
    """[P], the prompt and the response so far."""
    num_samples: int
    """Completions to sample."""
    max_new_tokens: int
    """Longest completion in tokens, including a stop token."""
    end_rule: EndRule | None = field(default=None, compare=False)
    """Ends a completion before a stop token and the limit. An engine may ignore it, and then
    samples tokens that the environment drops."""
    keeps_entropies: bool = False
    """Whether completions carry the entropy of each token's distribution; vLLM gives none."""
    stream: int | None = None
    """Number of the context's random stream; None: its place in the call. With its place in the
    whole call a part of a call gives what the whole gives."""
    may_be_stale: bool = False
    """Whether an engine may sample from weights that training has left behind, as far as
    `EngineConfig.max_staleness` allows."""

    def __post_init__(self) -> None:
        if not self.token_ids:
            raise ConfigError(
                "a context must hold at least one token, got none; give the prompt some text"
            )
        for name, value in (
            ("num_samples", self.num_samples),
            ("max_new_tokens", self.max_new_tokens),
        ):
            if value < 1:
                raise ConfigError(
                    f"{name} must be at least 1, got {value!r}; leave the context out instead"
                )
        if self.stream is not None and not 0 <= self.stream < 2**32:
            raise ConfigError(
                f"stream must lie in 0 <= stream < 2^32, got {self.stream!r}; give the context's "
                "place in the whole call"
            )


def streams_of(contexts: Sequence[Context]) -> list[int]:
    """Number the random streams of contexts that are sampled in one call.

    >>> plain = Context(token_ids=(1,), num_samples=1, max_new_tokens=1)
    >>> of_part = Context(token_ids=(1,), num_samples=1, max_new_tokens=1, stream=7)
    >>> streams_of([plain, of_part, plain])
    [0, 7, 2]
    """
    return [
        place if context.stream is None else context.stream
        for place, context in enumerate(contexts)
    ]


def processed_log_probs(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Compute the log-probabilities [B, V], in nats, of the distribution that `sampling` uses.

    Tokens that truncation removes get -inf. The computation runs in float32 or better. For greedy
    sampling the distribution is the untruncated one at temperature 1.

    >>> logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    >>> processed_log_probs(logits, SamplingConfig(top_k=3, top_p=0.8)).exp().round(decimals=4)
    tensor([[0.6667, 0.3333, 0.0000, 0.0000]])
    """
    return torch.log_softmax(_processed_logits(logits_BV, sampling), dim=-1)


def processed_entropies(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Compute the entropies [B], in nats, of the distributions that `sampling` uses.

    >>> logits = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]).log()
    >>> processed_entropies(logits, SamplingConfig(top_k=2)).exp()
    tensor([2., 4.])
    """
    log_probs_BV = processed_log_probs(logits_BV, sampling)
    # A token that truncation removed adds 0, and 0 * -inf would be nan.
    return -torch.where(log_probs_BV > -math.inf, log_probs_BV.exp() * log_probs_BV, 0.0).sum(-1)


def _processed_logits(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Return the logits of the distribution that `sampling` uses, in float32 or better."""
    logits = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    if sampling.is_greedy:
        return logits
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1] or sampling.top_p < 1:
        logits = logits.masked_fill(logits < _threshold(logits, sampling), -math.inf)
    return logits


def _threshold(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Return the smallest logit that each row keeps, [B, 1]."""
    size = logits_BV.shape[-1]
    top_k = min(sampling.top_k, size) if sampling.top_k else size
    if size >= LARGE_VOCABULARY and sampling.top_p < 1 and top_k == size:
        return _nucleus_threshold(logits_BV, sampling.top_p)
    likeliest = logits_BV.topk(top_k, dim=-1).values
    if sampling.top_p == 1:
        return likeliest[:, -1:]
    probs = likeliest.softmax(dim=-1)
    before = probs.cumsum(dim=-1) - probs
    num_kept = (before < sampling.top_p).sum(dim=-1, keepdim=True).clamp(min=1)
    return likeliest.gather(-1, num_kept - 1)


def _nucleus_threshold(logits_BV: Tensor, top_p: float) -> Tensor:
    """Return the smallest logit of each row's nucleus, from ever more of the likeliest tokens."""
    size = logits_BV.shape[-1]
    log_total = logits_BV.logsumexp(dim=-1, keepdim=True)
    count = 2 * BLOCK
    while True:
        likeliest = logits_BV.topk(min(count, size), dim=-1).values
        probs = (likeliest - log_total).exp()
        cumulative = probs.cumsum(dim=-1)
        if count >= size or bool((cumulative[:, -1] >= top_p).all()):
            num_kept = ((cumulative - probs) < top_p).sum(dim=-1, keepdim=True)
            return likeliest.gather(-1, num_kept.clamp(min=1) - 1)
        count *= 8


def draw(logits_BV: Tensor, uniforms_B: Tensor, sampling: SamplingConfig) -> tuple[Tensor, Tensor]:
    """Sample one token per row [B]; return the tokens and their log-probabilities [B], in nats.

    The token is the first at which the cumulative probability exceeds the row's uniform number. One
    random number per token suffices for any vocabulary, and a row's tokens depend on no other row.

    Args:
        logits_BV: The model's logits, unprocessed.
        uniforms_B: float32 in 0 <= u < 1.
        sampling: The distribution to draw from.
    """
    if logits_BV.shape[-1] >= LARGE_VOCABULARY and not sampling.is_greedy:
        return _draw_in_blocks(_processed_logits(logits_BV, sampling), uniforms_B)
    log_probs = processed_log_probs(logits_BV, sampling)
    if sampling.is_greedy:
        tokens = logits_BV.argmax(dim=-1, keepdim=True)
    else:
        tokens = _search(log_probs.exp(), uniforms_B[:, None])
    return tokens[:, 0], log_probs.gather(-1, tokens)[:, 0]


def _search(probs_BV: Tensor, uniforms_B1: Tensor) -> Tensor:
    """Return [B, 1], where the cumulative probability exceeds this share of the total."""
    cumulative = probs_BV.cumsum(dim=-1)
    # float32 rounds 1 - 2^-23 of the total to less than the total, so the search ends inside
    # the row, on a token whose probability is not 0.
    target = uniforms_B1.clamp(max=1 - 2**-23) * cumulative[:, -1:]
    # Sums that are not a number end outside; their log-probability is none either.
    last = probs_BV.shape[-1] - 1
    tokens = torch.searchsorted(cumulative, target, right=True).clamp(max=last)
    if probs_BV.is_cuda:
        # Parallel sums are not quite monotone and may select a token that truncation removed.
        is_possible = probs_BV.gather(-1, tokens) > 0
        tokens = torch.where(is_possible, tokens, probs_BV.argmax(dim=-1, keepdim=True))
    return tokens


def _draw_in_blocks(logits_BV: Tensor, uniforms_B: Tensor) -> tuple[Tensor, Tensor]:
    """Draw as `draw` does, with one exponential per token and sums over blocks.

    The number first selects a block, then what is left of it a token of the block. Only the
    selected block is summed token by token.
    """
    size_B, size_V = logits_BV.shape
    largest = logits_BV.amax(dim=-1, keepdim=True)
    num_blocks = -(-size_V // BLOCK)
    weights = logits_BV.new_zeros((size_B, num_blocks * BLOCK))
    torch.sub(logits_BV, largest, out=weights[:, :size_V])
    weights[:, :size_V].exp_()
    blocks = weights.view(size_B, num_blocks, BLOCK)
    sums = blocks.sum(dim=-1)
    cumulative = sums.cumsum(dim=-1)
    total = cumulative[:, -1:]
    target = uniforms_B.clamp(max=1 - 2**-23)[:, None] * total
    block = _search(sums, uniforms_B[:, None])
    left = target - (cumulative.gather(-1, block) - sums.gather(-1, block))
    # Rounding may leave a little less than 0, which would select a token of probability 0.
    share = (left / sums.gather(-1, block)).clamp(min=0)
    chosen = blocks.gather(1, block[:, :, None].expand(-1, 1, BLOCK))[:, 0]
    tokens = block * BLOCK + _search(chosen, share)
    log_probs = logits_BV.gather(-1, tokens) - largest - total.log()
    return tokens[:, 0], log_probs[:, 0]


def uniform_streams(seed: int, keys: list[tuple[int, int]], length: int) -> Tensor:
    """Draw uniform numbers [len(keys), length] from one counter-based stream per key.

    A stream depends only on the seed and its key, so a sequence's draws depend neither on other
    sequences nor on how sequences are batched.

    Args:
        seed: Any integer; only its low 64 bits matter.
        keys: (stream of the context, sample index) of each sequence, below 2^32.
        length: Numbers per stream.

    >>> both = uniform_streams(7, [(0, 0), (2, 1)], 3)
    >>> torch.equal(uniform_streams(7, [(2, 1)], 2)[0], both[1, :2])
    True
    """
    streams = np.empty((len(keys), length), dtype=np.float32)
    for row, (context, sample) in enumerate(keys):
        key = np.array([seed % 2**64, context * 2**32 + sample], dtype=np.uint64)
        streams[row] = np.random.Generator(np.random.Philox(key=key)).random(length, np.float32)
    return torch.from_numpy(streams)
