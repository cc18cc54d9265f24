"""An engine in each of several processes, each with all weights: they share the contexts of a call.

A context has the number that it has in the whole call as its random stream, so that the processes
sample together what one process samples, as far as other batch shapes leave the last bits equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reason_env.agents.engines.protocol import Completion, Engine
from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.agents.processes import Processes


@dataclass(slots=True)
class SharedEngine:
    """The engines of all processes as one; it counts what all have done."""

    engine: Engine
    """Of this process."""
    processes: Processes
    num_prefill_tokens: int = 0
    num_reused_tokens: int = 0
    num_sampled_tokens: int = 0
    num_restarts: int = 0

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Sample this process's share of the contexts; give the completions of all."""
        self.processes.lead("sample", contexts, sampling, seed, stop_ids)
        numbered = [
            replace(context, stream=place if context.stream is None else context.stream)
            for place, context in enumerate(contexts)
        ]
        own, before = self.processes.share(numbered), self._counts()
        found = self.engine.sample(own, sampling, seed=seed, stop_ids=stop_ids) if own else []
        done = [after - earlier for after, earlier in zip(self._counts(), before, strict=True)]
        for prefilled, reused, sampled, restarts in self.processes.gathered(done):
            self.num_prefill_tokens += prefilled
            self.num_reused_tokens += reused
            self.num_sampled_tokens += sampled
            self.num_restarts += restarts
        return self.processes.joined(found, len(contexts))

    def _counts(self) -> tuple[int, int, int, int]:
        own = self.engine
        return (
            own.num_prefill_tokens,
            own.num_reused_tokens,
            own.num_sampled_tokens,
            own.num_restarts,
        )
