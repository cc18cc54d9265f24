"""Seconds of an iteration, from rates and the distribution of the lengths of responses.

One wave of n responses on each of E engines with R slots, lengths L, S(t) = P(L > t):

    n <= R     all begin together: the sum over t of P(one of the n E is longer than t)
               * step(n S(t), prompt + t)
    n > R      n E[L] / R - A steps of R rows with contexts of prompt + A, then the same sum
               with R rows whose remaining lengths have the survival sum_{u >= t} S(u) / E[L];
               A = E[L^2] / (2 E[L]) is the mean age, and the mean rest, of a response that is
               found at work: a long one is found more often
    iteration  waves * wave + learning + sending

A method that resets has several waves in an iteration, because a reset needs its source's end:
GRPO one, RRPO two, SRPO three (sources, localisations, resets). Each has a tail of its own, where
few rows hold a device. Sampling and learning take turns, as they do here; with `is_overlapped` they
run side by side, as in trainers with a sampler of their own, and staleness is their price.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist

from benchmarks.engines.scale.rates import Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Log-normal lengths, cut at a limit; at least one token."""

    median: float
    spread: float
    """Standard deviation of the logarithm."""
    limit: int

    def survival(self, tokens: float) -> float:
        """P(length > tokens)."""
        if tokens < 1:
            return 1.0
        if tokens >= self.limit:
            return 0.0
        return 1.0 - NormalDist(math.log(self.median), self.spread).cdf(math.log(tokens))

    @property
    def survivals(self) -> tuple[float, ...]:
        """P(length > t) for t = 0, 1, ..., limit - 1."""
        return tuple(self.survival(at) for at in range(self.limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an iteration samples."""

    responses: int
    """Of each wave."""
    group_size: int
    """Responses of one prompt, whose tokens are learned from once."""
    prompt_tokens: int
    lengths: Lengths
    num_waves: int = 1

    @property
    def distinct_prompt_tokens(self) -> float:
        """Tokens of the prompts of a wave, each once."""
        return self.responses / self.group_size * self.prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Who samples and who learns."""

    num_engines: int
    slots: int
    """Rows that an engine samples at once."""
    num_learners: int
    gather_s: float = 0.0
    """Seconds of transfers in one micro-batch."""
    micro_batch_tokens: int = 16_384
    send_s: float = 0.0
    max_staleness: int = 0
    """Iterations that weights may be old; weights are sent once in as many and one."""
    is_overlapped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Of one iteration."""

    sampling: float
    learning: float
    sending: float
    is_overlapped: bool = False

    @property
    def total(self) -> float:
        """The iteration."""
        if self.is_overlapped:
            return max(self.sampling, self.learning) + self.sending
        return self.sampling + self.learning + self.sending


def mean_length(survivals: Sequence[float]) -> float:
    """E[L], the sum of the survival.

    >>> mean_length((1.0, 0.5))  # 1 and 2 tokens, equally often
    1.5
    """
    return sum(survivals)


def mean_age(survivals: Sequence[float]) -> float:
    """E[L^2] / (2 E[L]), from E[L^2] = the sum of (2 t + 1) S(t).

    >>> mean_age((1.0, 0.5))  # (1 + 4) / 2 / (2 * 1.5)
    0.8333333333333334
    """
    squares = sum((2 * at + 1) * value for at, value in enumerate(survivals))
    return squares / (2 * mean_length(survivals))


def rest_survivals(survivals: Sequence[float]) -> tuple[float, ...]:
    """P(rest > t) of a response that is found at work.

    >>> rest_survivals((1.0, 0.5))  # all, then the second half of the long ones
    (1.0, 0.3333333333333333)
    """
    tails = list(accumulate(reversed(survivals)))
    return tuple(tail / tails[-1] for tail in reversed(tails))


def drain_s(
    rows: float, survivals: Sequence[float], context: float, layout: Layout, own: Rates
) -> float:
    """Expected seconds until the rows of all engines, which begin together, have ended."""
    found = 0.0
    for at, survival in enumerate(survivals):
        lasts = 1.0 - (1.0 - survival) ** (rows * layout.num_engines)
        found += lasts * own.step_s(max(1.0, rows * survival), context + at)
    return found


def wave_s(load: Load, layout: Layout, own: Rates) -> float:
    """Expected seconds of one wave, until its last engine has ended."""
    rows, slots = load.responses / layout.num_engines, layout.slots
    survivals = load.lengths.survivals
    if rows <= slots:
        return drain_s(rows, survivals, load.prompt_tokens, layout, own)
    age = mean_age(survivals)
    context = load.prompt_tokens + age
    steps = max(0.0, rows * mean_length(survivals) / slots - age)
    return steps * own.step_s(slots, context) + drain_s(
        slots, rest_survivals(survivals), context, layout, own
    )


def learning_s(tokens: float, layout: Layout, own: Rates) -> float:
    """Seconds of an update: each learner's micro-batches, or their transfers if these are longer.

    Learners get as many micro-batches each, so that the last ones may hold little.
    """
    num_passes = math.ceil(tokens / (layout.micro_batch_tokens * layout.num_learners))
    computed = tokens / layout.num_learners / num_passes * own.token_s
    return num_passes * max(computed, layout.gather_s)


def iteration_s(load: Load, layout: Layout, own: Rates) -> Seconds:
    """Expected seconds of an iteration that learns from all responses of all waves."""
    responses = load.num_waves * load.responses
    tokens = (
        responses * mean_length(load.lengths.survivals)
        + load.num_waves * load.distinct_prompt_tokens
    )
    return Seconds(
        sampling=load.num_waves * wave_s(load, layout, own),
        learning=learning_s(tokens, layout, own),
        sending=layout.send_s / (layout.max_staleness + 1),
        is_overlapped=layout.is_overlapped,
    )
