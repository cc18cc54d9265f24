"""Engine: the protocol that a policy samples through, whether torch or a server runs the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reason_env.agents.engines.sampling import Context, SamplingConfig
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The tokens that an engine sampled after one context, in one turn."""

    token_ids: tuple[int, ...]
    """[T], including the end token if it was sampled."""
    log_probs: tuple[float, ...]
    """[T], nats, under the distribution sampled from, after temperature, top-k and top-p."""
    is_finished: bool
    """True if a stop token ended the completion, False if its context's rule or the limit did."""
    entropies: tuple[float, ...] | None = None
    """[T], nats, of the distribution that each token was drawn from; None if the context keeps
    none."""
    staleness: int = 0
    """Changes of the weights since those that it was sampled from; 0: from the current ones."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.log_probs):
            raise ConfigError("a completion must have one log-probability per token")
        if self.entropies is not None and len(self.entropies) != len(self.token_ids):
            raise ConfigError(
                f"a completion must have an entropy for each of its {len(self.token_ids)} tokens, "
                f"got {len(self.entropies)}; give None if there are none"
            )


class Engine(Protocol):
    """Samples completions of contexts; takes and returns token ids."""

    @property
    def num_prefill_tokens(self) -> int:
        """Context tokens run through the model since the engine was built."""
        ...

    @property
    def num_reused_tokens(self) -> int:
        """Context tokens that sequences read from keys computed for others, since then."""
        ...

    @property
    def num_sampled_tokens(self) -> int:
        """Tokens returned in completions since the engine was built."""
        ...

    @property
    def num_restarts(self) -> int:
        """Restarts after the engine died or hung."""
        ...

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...],
    ) -> list[tuple[Completion, ...]]:
        """Sample `num_samples` completions of each context, in the order of the contexts.

        Args:
            contexts: The caller has checked that the ids are valid and fit the model's context.
            sampling: The distribution that is sampled from, whose log-probabilities are recorded.
            seed: Equal seeds give equal completions.
            stop_ids: The first of these ids ends a completion and is its last token.
        """
        ...
