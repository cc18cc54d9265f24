"""What is sampled, and from which distribution: settings, contexts, and the log-probabilities.

One function turns logits into the distribution that tokens are drawn from, and both sampling and
scoring call it, so that recorded log-probabilities are those of the distribution actually used.
The order is temperature, then top-k, then top-p of what is left. Both truncations keep every token
whose logit reaches a threshold, so tokens with equal logits stay or go together, whatever the
sort order.

Axis letters: B rows, V vocabulary.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How tokens are drawn from the model's distribution.

    Raises:
        ConfigError: A number is outside its range.

    >>> SamplingConfig(temperature=0.7, top_p=0.9).is_greedy
    False
    """

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest token, and then the log-probabilities are
    those of the untruncated distribution at temperature 1, since its own are all 0."""
    top_p: float = 1.0
    """Keeps the likeliest tokens that together reach this probability, 0 < top_p <= 1; 1 is off."""
    top_k: int = 0
    """Keeps this many likeliest tokens; 0 is off."""

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
        """True where the likeliest token is taken."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One distinct context, and the completions that are wanted of it.

    Raises:
        ConfigError: Nothing is asked for, or there is no token to condition on.

    >>> Context(token_ids=(49, 43, 49, 61), num_samples=8, max_new_tokens=4).num_samples
    8
    """

    token_ids: tuple[int, ...]
    """[P], what the completions are conditioned on: prompt and response so far."""
    num_samples: int
    """Completions of it."""
    max_new_tokens: int
    """Limit of each completion, in tokens, a stop token included."""

    def __post_init__(self) -> None:
        if not self.token_ids:
            raise ConfigError(
                "a context must hold at least one token, got none; give the prompt a text"
            )
        for name, value in (
            ("num_samples", self.num_samples),
            ("max_new_tokens", self.max_new_tokens),
        ):
            if value < 1:
                raise ConfigError(
                    f"{name} must be at least 1, got {value!r}; leave the context out instead"
                )


def processed_log_probs(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Returns the log-probabilities [B, V], in nats, that `sampling` draws from.

    Tokens that are cut off have -inf. Computed in float32 or better. Greedy sampling has those of
    the untruncated distribution at temperature 1.

    >>> logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    >>> processed_log_probs(logits, SamplingConfig(top_k=3, top_p=0.8)).exp().round(decimals=4)
    tensor([[0.6667, 0.3333, 0.0000, 0.0000]])
    """
    logits = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    if sampling.is_greedy:
        return torch.log_softmax(logits, dim=-1)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1] or sampling.top_p < 1:
        logits = logits.masked_fill(logits < _threshold(logits, sampling), -math.inf)
    return torch.log_softmax(logits, dim=-1)


def _threshold(logits_BV: Tensor, sampling: SamplingConfig) -> Tensor:
    """Returns the smallest logit that is kept in each row, [B, 1]."""
    size = logits_BV.shape[-1]
    top_k = min(sampling.top_k, size) if sampling.top_k else size
    likeliest = logits_BV.topk(top_k, dim=-1).values
    if sampling.top_p == 1:
        return likeliest[:, -1:]
    probs = likeliest.softmax(dim=-1)
    before = probs.cumsum(dim=-1) - probs
    num_kept = (before < sampling.top_p).sum(dim=-1, keepdim=True).clamp(min=1)
    return likeliest.gather(-1, num_kept - 1)


def draw(logits_BV: Tensor, uniforms_B: Tensor, sampling: SamplingConfig) -> tuple[Tensor, Tensor]:
    """Returns one token per row [B] and its log-probability [B], in nats.

    The token is the first at which the cumulative probability exceeds the row's uniform number: one
    random number per token, whatever the vocabulary, so that a row's tokens depend on its own
    numbers only.

    Args:
        logits_BV: The model's logits, unprocessed.
        uniforms_B: float32 in 0 <= u < 1.
        sampling: Which distribution is drawn from.
    """
    log_probs = processed_log_probs(logits_BV, sampling)
    if sampling.is_greedy:
        tokens = logits_BV.argmax(dim=-1, keepdim=True)
    else:
        probs = log_probs.exp()
        cumulative = probs.cumsum(dim=-1)
        # At most 1 - 2^-23 of the total, which float32 rounds to less than the total: the search
        # ends inside the row, on a token whose probability is not 0.
        target = uniforms_B.clamp(max=1 - 2**-23)[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, target, right=True)
        if probs.is_cuda:
            # Parallel sums are not quite monotone and may end on a token that was cut off.
            is_possible = probs.gather(-1, tokens) > 0
            tokens = torch.where(is_possible, tokens, probs.argmax(dim=-1, keepdim=True))
    return tokens[:, 0], log_probs.gather(-1, tokens)[:, 0]


def uniform_streams(seed: int, keys: list[tuple[int, int]], length: int) -> Tensor:
    """Returns uniform numbers [len(keys), length], a counter-based stream for each key.

    A stream depends on the seed and its key alone, so what a sequence draws depends neither on
    its neighbours nor on how sequences are batched.

    Args:
        seed: Any integer; its low 64 bits count.
        keys: (context index, sample index) of each sequence, below 2^32.
        length: Numbers of each stream.

    >>> both = uniform_streams(7, [(0, 0), (2, 1)], 3)
    >>> torch.equal(uniform_streams(7, [(2, 1)], 2)[0], both[1, :2])
    True
    """
    streams = np.empty((len(keys), length), dtype=np.float32)
    for row, (context, sample) in enumerate(keys):
        key = np.array([seed % 2**64, context * 2**32 + sample], dtype=np.uint64)
        streams[row] = np.random.Generator(np.random.Philox(key=key)).random(length, np.float32)
    return torch.from_numpy(streams)
