"""LossConfig: every number of the policy loss, by name, with its paper.

One flat config, because the parts combine freely: a policy term, what its ratio is taken against,
how tokens are averaged, and three optional additions (importance weight, KL, entropy).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from reason_env.agents.learning.surrogate import SURROGATES
from reason_env.errors import ConfigError, did_you_mean

RatioDenominator = Literal["old", "behavior", "one"]
Aggregation = Literal["seq_mean_token_mean", "token_mean", "seq_mean_token_sum"]
KlEstimator = Literal["k1", "k2", "k3"]
ImportanceLevel = Literal["token", "sequence"]

CLIPPED_SURROGATES = ("clip", "gspo", "cispo")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What is minimised. The defaults are GRPO with DAPO's token mean, and a truncated weight.

    | algorithm | settings |
    |---|---|
    | GRPO | `aggregation="seq_mean_token_mean"`, `kl_coefficient=0.04` |
    | DAPO | `aggregation="token_mean"`, `clip_high=0.28` |
    | Dr.GRPO | `aggregation="seq_mean_token_sum"` |
    | GSPO | `surrogate="gspo"`, `seq_mean_token_mean`, `clip_low=3e-4`, `clip_high=4e-4` |
    | CISPO | `surrogate="cispo"`, `aggregation="token_mean"`, `clip_low=1`, `clip_high=4` |
    | SRPO | `surrogate="reinforce"`, `aggregation="seq_mean_token_mean"` |

    Raises:
        ConfigError: A number is out of its range, a name is unknown, or two settings contradict.
    """

    surrogate: str = "clip"
    """clip: PPO's clipped surrogate. reinforce: -A log pi. cispo: -sg(clip(ratio)) A log pi.
    gspo: the clipped surrogate of a sequence's mean log-ratio. shaped: -A ratio / (ratio +
    shape_gamma)."""
    ratio_denominator: RatioDenominator = "old"
    """The ratio's denominator. old: the trained policy before the iteration's first update, under
    the trained context. behavior: the sampler, under the sampling context. one: no denominator."""
    clip_low: float = 0.2
    """Ratios below 1 - clip_low are clipped; 0..1, where 1 is no lower limit."""
    clip_high: float = 0.2
    """Ratios above 1 + clip_high are clipped; 1e9 is no upper limit."""
    dual_clip: float | None = None
    """clip only: upper limit of the ratio where the advantage is negative, above 1; None: off.
    (Ye et al. 2019, arXiv 1912.09729; usually 3. TRL's `delta`, verl's `clip_ratio_c`.)"""
    shape_gamma: float = 0.1
    """shaped only: gamma of x / (x + gamma). (LUFFY: Yan et al. 2025, arXiv 2504.14945.)"""
    aggregation: Aggregation = "token_mean"
    """How tokens are averaged over one optimizer step. seq_mean_token_mean: mean of a sequence,
    mean over sequences (GRPO). token_mean: every token alike (DAPO). seq_mean_token_sum: sum of a
    sequence over the response budget, mean over sequences (Dr.GRPO)."""
    importance_weight_cap: float | None = 2.0
    """Each policy term is multiplied by min(exp(old - behavior log-probability), cap), without
    gradient, because sampler and trainer never agree exactly; None: off. Only with
    `ratio_denominator="old"`: the others hold the sampler already, or leave it out on purpose.
    (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training".)"""
    importance_level: ImportanceLevel = "token"
    """token: a weight for each token. sequence: one for a row, exp of its summed log-ratio."""
    kl_coefficient: float = 0.0
    """Weight of kl_policy_ref in the loss, per nat; above 0 a reference policy is needed."""
    kl_estimator: KlEstimator = "k3"
    """With d = log pi_ref - log pi: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1 (Schulman 2020).
    The gradient of k1 is 0 in expectation unless it is multiplied by the ratio."""
    kl_times_ratio: bool = False
    """Multiply each token's estimate by the token's ratio, which makes the gradient of k1 and of k3
    that of the KL divergence itself (TRL's default, `use_bias_correction_kl`)."""
    separate_normaliser: bool = False
    """For the loss of one role: average its rows among themselves, so that it is a term added to
    the others' loss, not a share of it (ExPO's log-likelihood)."""
    entropy_coefficient: float = 0.0
    """Weight of the policy's entropy (nats a token), which is subtracted from the loss."""

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        if self.dual_clip is not None and self.surrogate != "clip":
            raise ConfigError(
                f"dual_clip must be None with surrogate {self.surrogate!r}, got "
                f"{self.dual_clip!r}; only the term 'clip' has a dual clip"
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
        """True if a row whose advantage is 0 still has a gradient (from KL or entropy)."""
        return self.kl_coefficient > 0 or self.entropy_coefficient > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLossConfig:
    """DPO's loss of a chosen and a rejected response (`dpo.py`).

    Raises:
        ConfigError: `beta` is not positive and finite.
    """

    beta: float = 0.1
    """Scale of the implied reward, beta log(pi / pi_ref), per nat of a whole response."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ConfigError(f"beta must be above 0 and finite, got {self.beta!r}")
