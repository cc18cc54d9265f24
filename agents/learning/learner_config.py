"""LearnerConfig: the optimizer and how it splits samples; the loss has its own config."""

import math
from dataclasses import dataclass
from typing import Literal

from reason_env.errors import ConfigError

SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """The optimizer steps of an iteration (AdamW; linear warm-up, then a schedule).

    Raises:
        ConfigError: A number is out of its range.
    """

    learning_rate: float | None = None
    """After the warm-up. None: by the model's size, 2e-4 up to 1 M parameters, falling to 1e-6 at
    1 B; ten times as much for LoRA. A run prints the number and keeps it in its config.json."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate falls over the run (its iterations, or its token budget if that is nearer), to
    0.1 of the learning rate. A prolonged run continues at the rate of the longer plan."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's two moments, each in [0, 1)."""
    weight_decay: float = 0.0
    """Decoupled; each update multiplies the weights by 1 - learning_rate * weight_decay."""
    warmup_updates: int = 0
    """Updates n = 1, ..., warmup_updates use n / warmup_updates of the scheduled rate; 0: off."""
    max_grad_norm: float | None = 1.0
    """Gradients of a larger Euclidean norm are scaled down to it; None: off."""
    max_nonfinite_updates: int = 3
    """Updates in a row whose loss or gradient is not finite, each skipped and counted in
    update/num_nonfinite, after which a run saves its state and stops."""
    updates_per_iteration: int = 1
    """Optimizer steps of an epoch; the samples are split at random."""
    epochs: int = 1
    """How often each sample is used in its iteration."""
    micro_batch_tokens: int = 4096
    """Tokens of one forward pass: distinct ones if the model shares prefixes, else with padding.
    Changes memory and speed, not the gradient. On a CPU 2048 to 4096 are fastest (they fit the
    caches); on a GPU, as many as fit."""
    gradient_checkpointing: bool = False
    """Keep one activation a layer, and compute the others again in the backward pass: less memory,
    about a third more time. Only for models that share prefixes."""

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            self._check_range("learning_rate", self.learning_rate, above=0)
        if self.schedule not in SCHEDULES:
            raise ConfigError(
                f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )
        self._check_range("weight_decay", self.weight_decay, least=0)
        self._check_range("warmup_updates", self.warmup_updates, least=0)
        if self.max_grad_norm is not None:
            self._check_range("max_grad_norm", self.max_grad_norm, above=0)
        counts = ("max_nonfinite_updates", "updates_per_iteration", "epochs", "micro_batch_tokens")
        for name in counts:
            self._check_range(name, getattr(self, name), least=1)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be two numbers in [0, 1), got {self.betas!r}")

    @staticmethod
    def _check_range(
        name: str, value: float, *, above: float | None = None, least: float | None = None
    ) -> None:
        is_low = value <= above if above is not None else least is not None and value < least
        if is_low or not -math.inf < value < math.inf:
            rule = f"above {above}" if above is not None else f"at least {least}"
            raise ConfigError(f"{name} must be {rule} and finite, got {value!r}")
