"""The surrogates: the policy loss of each sampled token, before weights and averaging.

Log-probabilities and advantages must be zero outside the mask; the losses are finite there.
Log-ratios are clamped to +-20 nats (as in verl): beyond, exp overflows float32, and an infinite
ratio in the branch that `minimum` does not choose still makes the gradient nan.

Axis letters: B sequences, T tokens.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from reason_env.agents.learning.distillation import DistillationConfig
from reason_env.errors import ConfigError

MAX_LOG_RATIO = 20.0
"""Nats."""
DISTILL = "distill"
"""The surrogate that has a teacher."""


class SurrogateNumbers(Protocol):
    """The fields of `LossConfig` that the surrogates here read."""

    @property
    def clip_low(self) -> float: ...
    @property
    def clip_high(self) -> float: ...
    @property
    def dual_clip(self) -> float | None: ...
    @property
    def shape_gamma(self) -> float: ...
    @property
    def distillation(self) -> DistillationConfig | None: ...


class SurrogateInput(NamedTuple):
    """The inputs of a surrogate. All [B, T], zero outside the mask."""

    log_probs_BT: Tensor
    """Nats, of the trained policy; carries the gradient."""
    log_ratio_BT: Tensor
    """log_probs minus the log-probabilities of the denominator; carries the gradient."""
    advantages_BT: Tensor
    mask_BT: Tensor
    """bool."""
    divergence_BT: Tensor | None = None
    """Nats, of the policy from the teacher; carries the gradient. None without a teacher."""


class SurrogateOutput(NamedTuple):
    """The loss of each token and the ratio that it used. Both [B, T]."""

    loss_BT: Tensor
    ratio_BT: Tensor
    """Detached."""


def exp_ratio(log_ratio: Tensor) -> Tensor:
    """Compute exp(log_ratio) with the log-ratio clamped to +-20 nats."""
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def clip_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """-min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A), with the dual clip if A < 0.

    The dual clip c limits the loss of a token with A < 0 to -c A: a ratio above c has no gradient.

    Source:
        Schulman et al. 2017 (PPO), arXiv 1707.06347, eq. 7. Unequal limits: Yu et al. 2025 (DAPO),
        arXiv 2503.14476. Dual clip: Ye et al. 2019, arXiv 1912.09729, eq. 5.
    """
    ratio_BT = exp_ratio(x.log_ratio_BT)
    loss_BT = _clipped(ratio_BT, x.advantages_BT, config)
    if config.dual_clip is not None:
        limit_BT = -config.dual_clip * x.advantages_BT
        loss_BT = torch.where(x.advantages_BT < 0, torch.minimum(loss_BT, limit_BT), loss_BT)
    return SurrogateOutput(loss_BT, ratio_BT.detach())


def gspo_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """The clipped surrogate of s = exp(mean over the sequence of log_ratio), in the token form.

    Each token has s_t = sg(s) pi_t / sg(pi_t): the value of s, and the gradient of log pi_t. If all
    tokens of a sequence have one advantage, loss and gradient are those of the sequence form.

    Source:
        Zheng et al. 2025 (GSPO), arXiv 2507.18071, eq. 5 and 14.
    """
    tokens_B1 = x.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    mean_log_ratio_B1 = x.log_ratio_BT.sum(dim=1, keepdim=True) / tokens_B1
    own_gradient_BT = x.log_probs_BT - x.log_probs_BT.detach()
    ratio_BT = exp_ratio(mean_log_ratio_B1.detach() + own_gradient_BT)
    return SurrogateOutput(_clipped(ratio_BT, x.advantages_BT, config), ratio_BT.detach())


def cispo_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """-sg(clip(ratio, 1 - clip_low, 1 + clip_high)) A log pi: a clipped token keeps its gradient.

    TRL's `epsilon_high` is the limit 1 + clip_high; TRL has no lower limit (clip_low=1).

    Source:
        MiniMax 2025 (MiniMax-M1), arXiv 2506.13585, eq. 4 and 5.
    """
    ratio_BT = exp_ratio(x.log_ratio_BT).detach()
    weight_BT = ratio_BT.clamp(1 - config.clip_low, 1 + config.clip_high)
    return SurrogateOutput(-weight_BT * x.advantages_BT * x.log_probs_BT, ratio_BT)


def reinforce_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """-A log pi: no ratio, no clip.

    Source:
        Williams 1992. As the loss of SRPO: arXiv 2605.25507 (its released code).
    """
    ratio_BT = exp_ratio(x.log_ratio_BT.detach())
    return SurrogateOutput(-x.advantages_BT * x.log_probs_BT, ratio_BT)


def shaped_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """-A ratio / (ratio + gamma), as -A sigmoid(log_ratio - log gamma): no clip, saturates at -A.

    Source:
        Yan et al. 2025 (LUFFY), arXiv 2504.14945, policy shaping; used on hinted tokens by LTE,
        arXiv 2510.26109.
    """
    log_ratio_BT = x.log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    share_BT = torch.sigmoid(log_ratio_BT - math.log(config.shape_gamma))
    return SurrogateOutput(-x.advantages_BT * share_BT, log_ratio_BT.detach().exp())


def distill_surrogate(x: SurrogateInput, config: SurrogateNumbers) -> SurrogateOutput:
    """A divergence, A as its weight: towards the teacher if A > 0; with min(ratio, ratio_cap).

    Source:
        Agarwal et al. 2024 (GKD), arXiv 2306.13649; the weight: SDPO, arXiv 2601.20802, `is_clip`.
    """
    assert config.distillation is not None, "checked by LossConfig"
    assert x.divergence_BT is not None, "checked by policy_loss"
    ratio_BT = exp_ratio(x.log_ratio_BT.detach())
    loss_BT = x.advantages_BT * x.divergence_BT
    if config.distillation.ratio_cap is not None:
        loss_BT = loss_BT * ratio_BT.clamp(max=config.distillation.ratio_cap)
    return SurrogateOutput(loss_BT, ratio_BT)


def _clipped(ratio_BT: Tensor, advantages_BT: Tensor, config: SurrogateNumbers) -> Tensor:
    clipped_BT = ratio_BT.clamp(1 - config.clip_low, 1 + config.clip_high)
    return -torch.minimum(ratio_BT * advantages_BT, clipped_BT * advantages_BT)


SurrogateFunction = Callable[[SurrogateInput, Any], SurrogateOutput]
"""(input, the run's `LossConfig`) -> loss and ratio of each token."""
SURROGATES: dict[str, SurrogateFunction] = {
    "clip": clip_surrogate,
    "gspo": gspo_surrogate,
    "cispo": cispo_surrogate,
    "reinforce": reinforce_surrogate,
    "shaped": shaped_surrogate,
    DISTILL: distill_surrogate,
}
"""The function for each `LossConfig.surrogate`."""


def register_surrogate(name: str, function: SurrogateFunction) -> None:
    """Add a surrogate to `SURROGATES`, for a method that lives outside the library.

    Its own numbers belong into a subclass of `LossConfig`, which the function receives.

    Raises:
        ConfigError: Another function has that name.
    """
    if SURROGATES.setdefault(name, function) is not function:
        raise ConfigError(f"a surrogate must be registered once, got {name!r} twice; rename one")
