"""CPIConfig: every number of the conservative update of a language model.

The method's config determines the starts (mu) and the loss of the candidate.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from reason_env.agents.methods import check_names
from reason_env.errors import ConfigError

Estimator = Literal["response", "response_weighted", "step"]
Mixture = Literal["distill", "interpolate"]
Accept = Literal["confident", "positive", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """The fit of the mixture: Adam on KL(mixture || policy), the rate falling to 0.

    Raises:
        ConfigError: A number is out of range.
    """

    updates: int = 40
    """Optimizer steps."""
    rows: int = 32
    """Responses of one optimizer step, in random order."""
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("updates", "rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"distill {name} must be at least 1, got {getattr(self, name)!r}")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigError(
                f"distill learning_rate must be above 0 and finite, got {self.learning_rate!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CPIConfig:
    """Conservative policy iteration: take the method's update only if its advantage is measured.

    Raises:
        ConfigError: A number is out of range, or two settings contradict each other.
    """

    estimator: Estimator = "response"
    """response: an action is the whole rest of the response; paired samples of both policies.
    response_weighted: the same, from samples of the old policy with importance weights.
    step: an action is one reasoning step, continued by the old policy."""
    roll_in: bool = True
    """step only. True: deviate at steps of the old policy's episodes from mu (d_{pi,mu}). False:
    deviate at the restarts, as a reset does."""
    num_restarts: int = 64
    """Fresh problem draws to estimate the advantage; each gives a start from D and the method's."""
    samples: int = 2
    """response: episodes of each policy from each start. step: deviations from each start."""
    confidence: float = 0.95
    """Level of the two-sided interval; the lower limit exceeds the truth in half of the misses."""
    accept: Accept = "confident"
    """Test of the candidate. confident: the interval's lower limit is above 0. positive: the
    estimate is above 0. always: none (a control)."""
    step_size: float | None = None
    """alpha, 0..1; 1 is the candidate. None: `tau / (2 R H)` with the lower limit tau; with accept
    "always", which tests nothing, 1."""
    mixture: Mixture = "distill"
    """distill: KL to the mixture on sampled states. interpolate: (1 - alpha) w + alpha w'."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    beta: float | None = None
    """Weight of D (the problems as the environment starts them) in (1 - beta) mu + beta D, in the
    loss and in the estimate. None: the fraction among the method's training samples."""
    horizon: int | None = None
    """step only. H, the largest number of steps of an episode. None: the env's max_steps."""
    max_return: float = 1.0
    """R: returns lie in [0, R]."""
    realised_problems: int = 64
    """Fresh draws from D to measure the realised gain after the step; 0: not measured."""
    realised_samples: int = 2
    """Episodes of each policy for each of these draws."""
    realised_restarts: bool = False
    """Also measure the realised gain from (1 - beta) mu + beta D, which the bound is about."""

    rejected_problems: int = 0
    """Fresh draws from D to measure what a rejected candidate would have gained; 0: not measured.
    The test decides alone: this says how often it is right."""

    def __post_init__(self) -> None:
        names = {"estimator": Estimator, "mixture": Mixture, "accept": Accept}
        check_names(self, {name: get_args(kind) for name, kind in names.items()})
        for name, least in (
            ("num_restarts", 2),
            ("samples", 2 if self.estimator == "response_weighted" else 1),
            ("realised_samples", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        self._check_measured()
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence must lie between 0 and 1, got {self.confidence!r}")
        for name in ("step_size", "beta"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie in 0..1, got {value!r}")
        if self.horizon is not None and self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1, got {self.horizon!r}")
        if not 0 < self.max_return < float("inf"):
            raise ConfigError(f"max_return must be above 0 and finite, got {self.max_return!r}")
        needs_formula = self.step_size is None and self.accept != "always"
        if needs_formula and self.estimator == "step" and not self.roll_in:
            raise ConfigError(
                "step_size must be given without roll_in, got None; tau / (2 R H) needs the "
                "advantage over d_{pi,mu}"
            )

    def _check_measured(self) -> None:
        for name in ("realised_problems", "rejected_problems"):
            value = getattr(self, name)
            if value < 0 or value == 1:
                raise ConfigError(f"{name} must be 0 (off) or at least 2, got {value!r}")
