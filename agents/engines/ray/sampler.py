"""Sampler: what runs in each actor: a torch engine and a copy of the trainer's weights.

A request names the version of the weights that it is to be sampled from. An actor that holds other
ones (it has just started, or training has gone on) fetches those first, so that none samples from
stale weights, whatever it missed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.ray.rounds import ActorFacts
from reason_env.agents.engines.ray.weights import Arrays, StoredWeights, filled, load_arrays
from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.agents.engines.torch_engine import TorchEngine

DECIDING = ("reason-env", "torch")
"""Packages whose version samples depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSettings:
    """What an actor's engine is built with; see `TorchEngine`."""

    vocab_size: int
    max_batch_size: int
    precision: str
    threads: int
    """CPU threads."""
    device: str
    """cpu, or cuda: the first GPU of those that Ray shows the actor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """One share of a call of `sample`."""

    contexts: tuple[Context, ...]
    sampling: SamplingConfig
    seed: int
    stop_ids: tuple[int, ...]
    weights: StoredWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The completions of a request's contexts, and what they cost."""

    completions: tuple[tuple[Completion, ...], ...]
    version: int
    """Of the weights that they were sampled from."""
    num_prefill_tokens: int
    num_reused_tokens: int


class Sampler:
    """A torch engine that keeps the weights it is asked for."""

    def __init__(
        self, skeleton: Any, settings: SamplerSettings, get: Callable[[Any], Arrays]
    ) -> None:
        """Build the engine; its weights come with the first request.

        Args:
            skeleton: The model without weights.
            settings: The engine's.
            get: Finds the arrays of a part of `StoredWeights`.
        """
        torch.set_num_threads(settings.threads)
        self._get = get
        self._engine = TorchEngine(
            filled(skeleton, settings.device).eval(),
            vocab_size=settings.vocab_size,
            max_batch_size=settings.max_batch_size,
            precision=settings.precision,
        )
        self._version = 0
        self._loaded = [0, 0]
        """Versions of the parts that the engine's model holds."""

    def facts(self) -> ActorFacts:
        """Describe the process."""
        return ActorFacts.here(*DECIDING)

    def sample(self, request: SampleRequest) -> Answer:
        """Sample a request, with its weights."""
        self._load(request.weights)
        engine = self._engine
        before = engine.num_prefill_tokens, engine.num_reused_tokens
        completions = engine.sample(
            request.contexts, request.sampling, seed=request.seed, stop_ids=request.stop_ids
        )
        return Answer(
            completions=tuple(completions),
            version=self._version,
            num_prefill_tokens=engine.num_prefill_tokens - before[0],
            num_reused_tokens=engine.num_reused_tokens - before[1],
        )

    def _load(self, weights: StoredWeights) -> None:
        for place, (version, stored) in enumerate(weights.parts):
            if self._loaded[place] != version:
                load_arrays(self._engine.model, self._get(stored))
                self._loaded[place] = version
        self._version = weights.version
