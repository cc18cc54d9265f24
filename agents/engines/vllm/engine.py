"""vLLM behind the engine protocol: weights in step, failures survived, everything counted once.

One wave is one call of `sample`: the weights' checksum is taken, new weights go to the engine with
its prefix cache emptied, and all contexts are asked at once. Whatever fails on the way (a killed
process, a hang, an answer from other weights) ends the engine; it is started again with the weights
as they are now, and the whole wave is asked again with the same seeds. Only a wave that came back
whole and was checked is counted.
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
    read_wave,
    wave_requests,
)
from reason_env.agents.engines.vllm.weights import WeightFiles, Weights
from reason_env.errors import EngineError, ModelError

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """A running vLLM, in whatever process. Every method may raise `EngineFailure`."""

    def start(self, weights: Weights) -> None:
        """Starts it with these weights."""
        ...

    def load(self, weights: Weights, *, invalidate: bool, deadline: float) -> None:
        """Renews its weights and empties its prefix cache."""
        ...

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Samples; `deadline` is of `time.monotonic()`."""
        ...

    def stop(self) -> None:
        """Ends it; nothing of it is left."""
        ...

    def kill(self) -> None:
        """Ends it without asking."""
        ...


class VLLMEngine:
    """Samples from a torch model's weights by vLLM."""

    def __init__(
        self,
        model: Any,
        backend: Backend,
        config: EngineConfig,
        *,
        vocab_size: int,
        context_length: int,
    ) -> None:
        """Starts nothing: the first wave does, so that a policy that never samples costs nothing.

        Args:
            model: The trainer's, a `transformers` model or a PEFT model with a LoRA adapter; read
                before each wave.
            backend: Runs vLLM.
            config: Deadlines, restarts, and where weights are written.
            vocab_size: Ids below it are sampled.
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
        self.num_sampled_tokens = 0
        self.num_restarts = 0
        self.num_weight_updates = 0
        """Times that new weights went to a running engine."""
        self.invalidates_cache = True
        """False only in the test that shows what a stale prefix cache does."""
        self._loaded: Weights | None = None
        """What the running engine holds; None where none runs."""
        self._finalizer = weakref.finalize(self, backend.stop)

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Returns `num_samples` completions of each context; see `Engine.sample`.

        Raises:
            EngineError: The engine failed once more than `max_restarts` allows.
            ModelError: A context is longer than `max_context_tokens`.
        """
        if not contexts:
            return []
        self._check(contexts)
        requests = wave_requests(contexts, sampling, seed=seed, stop_ids=stop_ids)
        failures: list[str] = []
        while True:
            try:
                completions, num_prefilled = self._wave(requests)
                break
            except EngineFailure as failure:
                self._fail(failure, failures)
            except BaseException:
                # Interrupted half-way: what is still on its way would answer the next wave.
                self._drop()
                raise
        self.num_prefill_tokens += num_prefilled
        self.num_sampled_tokens += sum(len(c.token_ids) for own in completions for c in own)
        return completions

    def rebind(self, model: Any) -> None:
        """Samples from another model of the same architecture from now on.

        The running engine goes on: the model's weights are loaded into it with the next wave.
        """
        self.files.model = model

    def close(self) -> None:
        """Ends the engine and removes its files."""
        self._loaded = None
        self.backend.stop()
        self.files.close()

    def _wave(self, requests: Sequence[SampleRequest]) -> tuple[list[tuple[Completion, ...]], int]:
        weights = self.files.current()
        if self._loaded is None:
            self.backend.start(weights)
        deadline = time.monotonic() + self.config.deadline_s
        if self._loaded is not None and self._loaded.version != weights.version:
            self.backend.load(weights, invalidate=self.invalidates_cache, deadline=deadline)
            self.num_weight_updates += 1
        self._loaded = weights
        self.files.drop_old()
        answer = self.backend.generate(requests, weights, deadline=deadline)
        completions = read_wave(
            answer, requests, vocab_size=self.vocab_size, version=weights.version
        )
        return completions, answer.num_prefill_tokens

    def _fail(self, failure: EngineFailure, failures: list[str]) -> None:
        """Notes a failure and ends the engine, or gives up."""
        failures.append(str(failure))
        self._drop()
        if len(failures) > self.config.max_restarts:
            raise EngineError(
                f"the engine must answer a wave within {self.config.max_restarts} restarts, got "
                f"{len(failures)} failures: {'; '.join(failures)[:2_000]}"
            ) from failure
        self.num_restarts += 1
        _log.warning("the engine failed and is restarted, the wave is asked again: %s", failure)

    def _drop(self) -> None:
        self._loaded = None
        self.backend.kill()

    def _check(self, contexts: Sequence[Context]) -> None:
        longest = max(len(context.token_ids) + context.max_new_tokens for context in contexts)
        if longest > self.context_length:
            raise ModelError(
                f"a context and its new tokens must fit {self.context_length} tokens, got "
                f"{longest}; raise engine.max_context_tokens, or shorten the prompt"
            )
