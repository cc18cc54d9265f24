"""What a policy asks of the thing that samples for it, whether torch or a server runs the model."""

from collections.abc import Sequence
from typing import Protocol

from reason_env.agents.sampling import Context, SamplingConfig
from reason_env.agents.trajectory import Completion


class Engine(Protocol):
    """Samples completions of contexts, token ids in and token ids out."""

    @property
    def num_prefill_tokens(self) -> int:
        """Context tokens run through the model since the engine was made."""
        ...

    @property
    def num_sampled_tokens(self) -> int:
        """Tokens returned in completions since the engine was made."""
        ...

    @property
    def num_restarts(self) -> int:
        """Times that it was started again because it died or hung."""
        ...

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Returns `num_samples` completions of each context, in the order of the contexts.

        Args:
            contexts: Checked by the caller: valid ids that fit the model's context.
            sampling: The distribution that is drawn from, and whose log-probabilities are given.
            seed: Equal seeds give equal completions.
            stop_ids: A completion ends with the first of these, which it includes.
        """
        ...
