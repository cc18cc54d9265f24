"""VLLMEngine: implements the engine protocol with vLLM, synchronises weights, survives failures.

Each call of `sample` computes a checksum of the weights, sends changed weights to the engine, which
clears its prefix cache, and requests all completions at once. After any failure (a killed process,
a hang, a completion from other weights) the engine is killed and restarted with the current
weights, and the whole call is repeated with the same seeds. Tokens are counted only after all
completions have arrived and passed the checks.
"""

import logging
import time
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.protocol import Completion
from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.agents.engines.vllm.requests import (
    Answer,
    EngineFailure,
    SampleRequest,
    read_completions,
    sample_requests,
)
from reason_env.agents.engines.vllm.weights import WeightFiles, Weights
from reason_env.errors import ConfigError, EngineError, ModelError

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """Controls one vLLM process or server. Every method may raise `EngineFailure`."""

    def start(self, weights: Weights) -> None:
        """Start vLLM with these weights."""
        ...

    def load(self, weights: Weights, *, deadline: float) -> None:
        """Load new weights and clear the prefix cache."""
        ...

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Sample completions; `deadline` is a value of `time.monotonic()`."""
        ...

    def stop(self) -> None:
        """Stop vLLM and return when no process is left."""
        ...

    def kill(self) -> None:
        """Kill vLLM at once."""
        ...


class VLLMEngine:
    """Samples with vLLM from the weights of a torch model."""

    def __init__(
        self,
        model: Any,
        backend: Backend,
        config: EngineConfig,
        *,
        vocab_size: int,
        context_length: int,
    ) -> None:
        """Prepare the engine; the first call of `sample` starts vLLM.

        Args:
            model: The trainer's model: a `transformers` model, or a PEFT model with a LoRA adapter.
                Each call of `sample` reads its current weights.
            backend: Runs vLLM.
            config: Deadlines, restarts, and the folder for weights.
            vocab_size: Only ids below this number are sampled.
            context_length: Tokens that the model can read.
        """
        self.backend, self.config = backend, config
        self.vocab_size = vocab_size
        self.context_length = min(config.max_context_tokens or context_length, context_length)
        self.files = WeightFiles(
            model,
            vocab_size=vocab_size,
            folder=config.sync_dir,
            keeps_first=config.server_url is not None,
        )
        self.num_prefill_tokens = 0
        self.num_reused_tokens = 0
        self.num_sampled_tokens = 0
        self.num_restarts = 0
        self.num_weight_updates = 0
        """Times that a running engine loaded new weights."""
        self._loaded: Weights | None = None
        """Weights in the running engine; None if none runs."""
        self._finalizer = weakref.finalize(self, backend.stop)

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context; see `Engine.sample`.

        Raises:
            EngineError: The engine failed more than `max_restarts` times.
            ModelError: A context and its new tokens are longer than `max_context_tokens`.
            ConfigError: A context keeps entropies.
        """
        if not contexts:
            return []
        self._check(contexts)
        requests = sample_requests(contexts, sampling, seed=seed, stop_ids=stop_ids)
        failures: list[str] = []
        while True:
            try:
                completions, num_prefilled = self._sample_once(requests)
                break
            except EngineFailure as failure:
                self._recover(failure, failures)
            except BaseException:
                # After an interrupt the next call would receive the pending answer of this one.
                self._kill()
                raise
        self.num_prefill_tokens += num_prefilled
        asked = sum(context.num_samples * len(context.token_ids) for context in contexts)
        self.num_reused_tokens += asked - num_prefilled
        self.num_sampled_tokens += sum(len(c.token_ids) for own in completions for c in own)
        return completions

    def rebind(self, model: Any) -> None:
        """Sample from another model of the same architecture from now on.

        The engine keeps running; the next call of `sample` loads the new model's weights into it.
        """
        self.files.model = model

    def close(self) -> None:
        """Stop the engine and remove its files."""
        self._loaded = None
        self.backend.stop()
        self.files.close()

    def _sample_once(
        self, requests: Sequence[SampleRequest]
    ) -> tuple[list[tuple[Completion, ...]], int]:
        """Synchronise the weights and sample; return completions and prefilled tokens."""
        weights = self.files.current()
        if self._loaded is None:
            self.backend.start(weights)
        deadline = time.monotonic() + self.config.deadline_s
        if self._loaded is not None and self._loaded.version != weights.version:
            self.backend.load(weights, deadline=deadline)
            self.num_weight_updates += 1
        self._loaded = weights
        self.files.drop_old()
        answer = self.backend.generate(requests, weights, deadline=deadline)
        completions = read_completions(
            answer, requests, vocab_size=self.vocab_size, version=weights.version
        )
        return completions, answer.num_prefill_tokens

    def _recover(self, failure: EngineFailure, failures: list[str]) -> None:
        """Kill the engine after a failure, so that it restarts; raise after too many failures."""
        failures.append(str(failure))
        self._kill()
        if len(failures) > self.config.max_restarts:
            raise EngineError(
                f"the engine must answer within {self.config.max_restarts} restarts, got "
                f"{len(failures)} failures: {'; '.join(failures)[:2_000]}"
            ) from failure
        self.num_restarts += 1
        _log.warning("the engine failed; restarting it and repeating the call: %s", failure)

    def _kill(self) -> None:
        self._loaded = None
        self.backend.kill()

    def _check(self, contexts: Sequence[Context]) -> None:
        asked = sum(context.keeps_entropies for context in contexts)
        if asked:
            raise ConfigError(
                f"contexts must keep no entropies with vLLM, got {asked} of {len(contexts)} that "
                "do; it gives log-probabilities of a few tokens only: sample with engine torch"
            )
        longest = max(len(context.token_ids) + context.max_new_tokens for context in contexts)
        if longest > self.context_length:
            raise ModelError(
                f"a context and its new tokens must fit {self.context_length} tokens, got "
                f"{longest}; raise engine.max_context_tokens, or shorten the prompt"
            )
