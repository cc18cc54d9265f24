"""CPIConfig: every number of the conservative update of a language model.

Which starts are mu, and what the candidate is trained on, is the method's own config beside it.
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
    """How the mixture is fitted: Adam on KL(mixture || policy), the rate falling to 0.

    Raises:
        ConfigError: A number is out of its range.
    """

    updates: int = 40
    """Optimizer steps."""
    rows: int = 32
    """Sampled responses a step, in random order."""
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
    """Conservative policy iteration: the candidate is the method's update, taken if it holds up.

    Raises:
        ConfigError: A number is out of its range, or two settings contradict each other.
    """

    estimator: Estimator = "response"
    """response: an action is the whole rest of the response; paired samples of both policies.
    response_weighted: the same, from samples of the old policy and importance weights alone.
    step: an action is one step; the old policy goes on after it."""
    roll_in: bool = True
    """With step: deviations are at steps of the old policy's episodes from mu (d_{pi,mu}). False
    takes mu itself as the distribution of the steps that deviate, as a reset does."""
    num_restarts: int = 64
    """Fresh draws of a problem for the advantage; each gives its own start and the method's."""
    samples: int = 2
    """Episodes a start and policy (response), or steps a start that deviate (step)."""
    confidence: float = 0.95
    """Of the two-sided interval; its lower limit is above the truth in half of the rest."""
    accept: Accept = "confident"
    """What is asked of the candidate. confident: the interval's lower limit is above 0. positive:
    the estimate is. always: nothing (a control)."""
    step_size: float | None = None
    """alpha, 0..1; 1 is the candidate itself. None: `tau / (2 R H)` with the lower limit."""
    mixture: Mixture = "distill"
    """distill: KL to the mixture on sampled states. interpolate: (1 - alpha) w + alpha w'."""
    distill: DistillConfig = field(default_factory=DistillConfig)
    beta: float | None = None
    """Share of D, the problems' own starts, in (1 - beta) mu + beta D, in training and estimate.
    None: as the method's training samples are."""
    horizon: int | None = None
    """H of the step estimator: no episode has more steps. None: the environment's max_steps."""
    max_return: float = 1.0
    """R: returns lie in [0, R]."""
    realised_problems: int = 64
    """Fresh draws from D that the improvement is measured on, after the fact; 0: not measured."""
    realised_samples: int = 2
    """Episodes a draw and policy."""
    realised_restarts: bool = False
    """Measures the improvement from (1 - beta) mu + beta D too: what the bound speaks of."""

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
        if self.realised_problems < 0 or self.realised_problems == 1:
            raise ConfigError(
                f"realised_problems must be 0 (off) or at least 2, got {self.realised_problems!r}"
            )
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
        if self.step_size is None and self.estimator == "step" and not self.roll_in:
            raise ConfigError(
                "step_size must be given without roll_in, got None; the step size of the theory "
                "needs the advantage over d_{pi,mu}"
            )
