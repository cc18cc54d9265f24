"""LossConfig: every number of the policy loss, with its paper.

The config is flat, because the parts combine freely: a surrogate, the denominator of its ratio, the
average over tokens, and three optional additions (importance weight, KL, entropy).
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from reason_env.agents.learning.distillation import DistillationConfig
from reason_env.agents.learning.surrogate import DISTILL, SURROGATES
from reason_env.errors import ConfigError, did_you_mean, shown

RatioDenominator = Literal["old", "behavior", "one"]
Aggregation = Literal["seq_mean_token_mean", "token_mean", "seq_mean_token_sum"]
KlEstimator = Literal["k1", "k2", "k3"]
ImportanceLevel = Literal["token", "sequence"]

CLIPPED_SURROGATES = ("clip", "gspo", "cispo")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The loss to minimise; by default GRPO with DAPO's token mean and a truncated weight.

    | algorithm | settings |
    |---|---|
    | GRPO | `aggregation="seq_mean_token_mean"`, `kl_coefficient=0.04` |
    | DAPO | `aggregation="token_mean"`, `clip_high=0.28` |
    | Dr.GRPO | `aggregation="seq_mean_token_sum"` |
    | GSPO | `surrogate="gspo"`, `seq_mean_token_mean`, `clip_low=3e-4`, `clip_high=4e-4` |
    | CISPO | `surrogate="cispo"`, `aggregation="token_mean"`, `clip_low=1`, `clip_high=4` |
    | SRPO | `surrogate="reinforce"`, `aggregation="seq_mean_token_mean"` |

    Raises:
        ConfigError: A number is out of range, a name is unknown, or two settings contradict.
    """

    surrogate: str = "clip"
    """clip: PPO's clipped surrogate. reinforce: -A log pi. cispo: -sg(clip(ratio)) A log pi.
    gspo: the clipped surrogate of a sequence's mean log-ratio. shaped: -A ratio / (ratio +
    shape_gamma). distill: A times the divergence from a teacher."""
    ratio_denominator: RatioDenominator = "old"
    """old: the trained policy before the iteration's first update, under the trained context.
    behavior: the sampler, under the sampling context. one: 1, so that the ratio is pi."""
    clip_low: float = 0.2
    """Ratios below 1 - clip_low are clipped; 0..1, and 1 means no lower limit."""
    clip_high: float = 0.2
    """Ratios above 1 + clip_high are clipped; 1e9 means no upper limit."""
    dual_clip: float | None = None
    """clip only: upper limit of the ratio if the advantage is negative, above 1; None: off. (Ye
    et al. 2019, arXiv 1912.09729; usually 3. TRL's `delta`, verl's `clip_ratio_c`.)"""
    shape_gamma: float = 0.1
    """shaped only: gamma of x / (x + gamma). (LUFFY: Yan et al. 2025, arXiv 2504.14945.)"""
    aggregation: Aggregation = "token_mean"
    """Average over the tokens of one optimizer step. seq_mean_token_mean: mean within a sequence,
    then over sequences (GRPO). token_mean: over all tokens (DAPO). seq_mean_token_sum: sum within a
    sequence divided by the response budget, then mean over sequences (Dr.GRPO)."""
    importance_weight_cap: float | None = 2.0
    """Multiply each token's surrogate by min(exp(old - behavior log-probability), cap), without
    gradient, because sampler and trainer never agree exactly; None: off. Only with
    `ratio_denominator="old"`: "behavior" corrects for the sampler already, "one" on purpose not.
    (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training".)"""
    importance_level: ImportanceLevel = "token"
    """token: one weight a token. sequence: one a row, from the sum of its log-ratios."""
    kl_coefficient: float = 0.0
    """Weight of kl_policy_ref in the loss, per nat; above 0 needs a reference policy."""
    kl_estimator: KlEstimator = "k3"
    """With d = log pi_ref - log pi: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1 (Schulman 2020).
    The expected gradient of k1 is 0 unless it is multiplied by the ratio."""
    kl_times_ratio: bool = False
    """Multiply each token's KL estimate by its ratio, which gives k1 and k3 the gradient of the KL
    divergence (TRL's default, `use_bias_correction_kl`)."""
    separate_normaliser: bool = False
    """In the loss of one role: average over the rows of this role alone, so that their loss is
    added to that of the other rows, not averaged with it (ExPO's log-likelihood)."""
    entropy_coefficient: float = 0.0
    """Weight of the policy's entropy (nats a token), subtracted from the loss."""
    temperature: float | None = None
    """Temperature of the log-probabilities, above 0. None: that of sampling, which ratios to the
    sampler need. 1: the model's own distribution, which a likelihood is about."""

    distillation: Annotated[DistillationConfig | None, tyro.conf.Suppress] = None
    """distill only: the teacher, and the divergence from it; None: no teacher."""

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        if (self.surrogate == DISTILL) != (self.distillation is not None):
            raise ConfigError(
                f"distillation must be given with the surrogate {DISTILL!r} and with no other, got "
                f"{shown(self.distillation)} with {self.surrogate!r}; change one of them"
            )
        if self.dual_clip is not None and self.surrogate != "clip":
            raise ConfigError(
                f"dual_clip must be None with surrogate {self.surrogate!r}, got "
                f"{self.dual_clip!r}; only the surrogate 'clip' has a dual clip"
            )

    def _check_names(self) -> None:
        for name, choices in (
            ("surrogate", tuple(SURROGATES)),
            ("ratio_denominator", get_args(RatioDenominator)),
            ("aggregation", get_args(Aggregation)),
            ("importance_level", get_args(ImportanceLevel)),
            ("kl_estimator", get_args(KlEstimator)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(choices)}, got {value!r}"
                    + did_you_mean(str(value), choices)
                )

    def _check_numbers(self) -> None:
        for name, low, high, is_open in (
            ("clip_low", 0.0, 1.0, False),
            ("clip_high", 0.0, math.inf, False),
            ("dual_clip", 1.0, math.inf, True),
            ("shape_gamma", 0.0, math.inf, True),
            ("importance_weight_cap", 0.0, math.inf, True),
            ("kl_coefficient", 0.0, math.inf, False),
            ("entropy_coefficient", 0.0, math.inf, False),
            ("temperature", 0.0, math.inf, True),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            in_range = low < value if is_open else low <= value
            if not (in_range and value <= high and math.isfinite(value)):
                rule = f"{'above' if is_open else 'at least'} {low:g}"
                rule += " and finite" if math.isinf(high) else f" and at most {high:g}"
                raise ConfigError(f"{name} must be {rule}, got {value!r}")

    @property
    def needs_behavior(self) -> bool:
        """True if the loss reads the sampler's log-probabilities."""
        if self.ratio_denominator == "old":
            return self.importance_weight_cap is not None
        return self.ratio_denominator == "behavior"

    @property
    def trains_without_advantage(self) -> bool:
        """True if a row with advantage 0 has a gradient (from KL or entropy)."""
        return self.kl_coefficient > 0 or self.entropy_coefficient > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLossConfig:
    """DPO's loss of a chosen and a rejected response.

    Raises:
        ConfigError: A number is not positive and finite.
    """

    beta: float = 0.1
    """Scale of the implicit reward beta log(pi / pi_ref) of a response, reward units per nat."""
    temperature: float | None = 1.0
    """Temperature of all log-probabilities, above 0; 1 is the model's own distribution. None: that
    of sampling."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ConfigError(f"beta must be above 0 and finite, got {self.beta!r}")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature must be above 0 and finite, got {self.temperature!r}")
