"""What a policy asks of the thing that samples for it, whether torch or a server runs the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine sampled after one context, in one turn."""

    token_ids: tuple[int, ...]
    """[T], the end token included if it was sampled."""
    log_probs: tuple[float, ...]
    """[T], nats, of the distribution actually sampled from (temperature, top-p, top-k applied)."""
    is_finished: bool
    """True if a stop token ended it, False if the token limit did."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.log_probs):
            raise ConfigError("a completion must have one log-probability per token")


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
