"""The policy loss: a pure function of all rows of an optimizer step, or of some of them.

    loss = sum_BT w_BT (rho_BT surrogate_BT + kl_coefficient kl_BT - entropy_coefficient entropy_BT)

with w from `aggregate.py`, the surrogate from `surrogate.py` and rho the truncated importance
weight. Values outside the action mask, even nan and inf, change neither the loss nor its gradient.

Axis letters: B sequences, T tokens. Not covered: sums over devices (the totals include them), and
losses of pairs of responses (`dpo.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reason_env.agents.learning.aggregate import LossTotals, token_weights
from reason_env.agents.learning.loss_config import KlEstimator, LossConfig
from reason_env.agents.learning.loss_metrics import row_statistics
from reason_env.agents.learning.surrogate import (
    MAX_LOG_RATIO,
    SURROGATES,
    SurrogateInput,
    SurrogateOutput,
    exp_ratio,
)
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossOutput:
    """The loss of some rows, in parts, and their statistics."""

    loss: Tensor
    """Scalar with gradient; the losses of the parts of an optimizer step sum to the step's loss."""
    policy: Tensor
    """Scalar, detached: the surrogate's share of the loss."""
    kl: Tensor
    """Scalar, detached: the KL term's share, including the coefficient."""
    entropy: Tensor
    """Scalar, detached: the entropy term's share, including coefficient and minus sign."""
    rows: Mapping[str, Tensor]
    """Statistics of each row, [B], detached; `loss_metrics.summarize` turns them into metrics."""


def policy_loss(
    log_probs_BT: Tensor,
    old_log_probs_BT: Tensor,
    advantages_BT: Tensor,
    action_mask_BT: Tensor,
    *,
    config: LossConfig,
    totals: LossTotals,
    ref_log_probs_BT: Tensor | None = None,
    behavior_log_probs_BT: Tensor | None = None,
    entropy_BT: Tensor | None = None,
    divergence_BT: Tensor | None = None,
) -> LossOutput:
    """Compute the rows' share of the loss of an optimizer step with these totals.

    Args:
        log_probs_BT: Nats, of the trained policy; carries the gradient.
        old_log_probs_BT: Nats, before the iteration's first update; no gradient flows.
        advantages_BT: Advantage of each token; no gradient flows.
        action_mask_BT: True (or 1) on tokens that the policy sampled.
        config: Which loss.
        totals: Totals of the whole optimizer step, not of these rows.
        ref_log_probs_BT: Nats, of the reference policy.
        behavior_log_probs_BT: Nats, of the sampler under the sampling context.
        entropy_BT: Nats, of the trained policy's distribution at each token.
        divergence_BT: Nats, of that distribution from the teacher's; carries the gradient.

    Raises:
        ConfigError: The config needs log-probabilities or an entropy that is not given, or an
            aggregation needs a response budget that the totals lack.

    >>> zero, mask = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2)
    >>> config = LossConfig(clip_high=0.3, importance_weight_cap=None)
    >>> out = policy_loss(
    ...     torch.tensor([[0.5, 0.0]], dtype=torch.float64).log1p(), zero, mask, mask,
    ...     config=config, totals=LossTotals.of(mask))
    >>> round(out.loss.item(), 6)  # ratios 1.5 and 1: -(1.3 + 1.0) / 2
    -1.15
    """
    mask_BT = action_mask_BT.bool()
    _check_given(config, ref_log_probs_BT, behavior_log_probs_BT, entropy_BT, divergence_BT)

    def inside(values_BT: Tensor | None) -> Tensor | None:
        # Zero outside the mask before exp: padding holds arbitrary values, and 0 * inf is nan.
        return None if values_BT is None else torch.where(mask_BT, values_BT, 0.0)

    log_probs_BT = torch.where(mask_BT, log_probs_BT, 0.0)
    old_BT = torch.where(mask_BT, old_log_probs_BT.detach(), 0.0)
    advantages_BT = torch.where(mask_BT, advantages_BT.detach(), 0.0)
    behavior_BT, ref_BT = inside(behavior_log_probs_BT), inside(ref_log_probs_BT)
    entropy_BT, divergence_BT = inside(entropy_BT), inside(divergence_BT)

    log_ratio_BT = log_probs_BT - _denominator(config, old_BT, behavior_BT)
    surrogate = _checked(
        SURROGATES[config.surrogate](
            SurrogateInput(log_probs_BT, log_ratio_BT, advantages_BT, mask_BT, divergence_BT),
            config,
        ),
        config.surrogate,
        mask_BT.shape,
    )
    importance_BT = _importance_weights(config, old_BT, behavior_BT)
    weights_BT = token_weights(mask_BT, config.aggregation, totals, log_probs_BT.dtype)

    policy = (weights_BT * importance_BT * surrogate.loss_BT).sum()
    kl = entropy = torch.zeros_like(policy)
    if ref_BT is not None and config.kl_coefficient > 0:
        kl_BT = kl_estimate(log_probs_BT, ref_BT.detach(), config.kl_estimator)
        if config.kl_times_ratio:
            kl_BT = kl_BT * exp_ratio(log_ratio_BT)
        kl = config.kl_coefficient * (weights_BT * kl_BT).sum()
    if entropy_BT is not None and config.entropy_coefficient > 0:
        entropy = -config.entropy_coefficient * (weights_BT * entropy_BT).sum()
    return LossOutput(
        loss=policy + kl + entropy,
        policy=policy.detach(),
        kl=kl.detach(),
        entropy=entropy.detach(),
        rows=row_statistics(
            log_probs_BT=log_probs_BT.detach(),
            old_log_probs_BT=old_BT,
            ratio_BT=surrogate.ratio_BT,
            advantages_BT=advantages_BT,
            mask_BT=mask_BT,
            importance_BT=importance_BT,
            behavior_log_probs_BT=behavior_BT,
            ref_log_probs_BT=ref_BT,
            entropy_BT=entropy_BT,
            divergence_BT=divergence_BT,
            config=config,
        ),
    )


def kl_estimate(log_probs_BT: Tensor, ref_log_probs_BT: Tensor, estimator: KlEstimator) -> Tensor:
    """Estimate kl_policy_ref, KL(policy || reference), at each sampled token, in nats.

    With d = ref_log_probs - log_probs, for tokens sampled from the policy: k1 = -d (unbiased, may
    be negative), k2 = d^2 / 2 (biased; on-policy it has the gradient of the KL), k3 = exp(d) - d -
    1 (unbiased, never negative; d is clamped to +-20).

    Source:
        Schulman 2020, "Approximating KL divergence". In GRPO: arXiv 2402.03300, eq. 4.

    >>> policy, ref = torch.tensor([-1.0]), torch.tensor([-1.5])  # d = -0.5
    >>> [round(kl_estimate(policy, ref, k).item(), 4) for k in ("k1", "k2", "k3")]
    [0.5, 0.125, 0.1065]
    """
    difference_BT = ref_log_probs_BT - log_probs_BT
    if estimator == "k1":
        return -difference_BT
    if estimator == "k2":
        return difference_BT.square() / 2
    difference_BT = difference_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return difference_BT.expm1() - difference_BT


def _checked(found: object, name: str, shape: torch.Size) -> SurrogateOutput:
    """Refuse a registered surrogate's mean: it would broadcast and train on something else."""
    if isinstance(found, SurrogateOutput) and found.loss_BT.shape == shape:
        return found
    given = tuple(getattr(getattr(found, "loss_BT", found), "shape", ()))
    raise ConfigError(
        f"the surrogate {name!r} must return a SurrogateOutput with a loss for each token, shape "
        f"{tuple(shape)}, got {type(found).__name__} of {given}"
    )


def _denominator(config: LossConfig, old_BT: Tensor, behavior_BT: Tensor | None) -> Tensor:
    if config.ratio_denominator == "old":
        return old_BT
    if config.ratio_denominator == "one":
        return torch.zeros_like(old_BT)
    assert behavior_BT is not None, "checked by _check_given"
    return behavior_BT.detach()


def _importance_weights(config: LossConfig, old_BT: Tensor, behavior_BT: Tensor | None) -> Tensor:
    cap = config.importance_weight_cap
    if cap is None or config.ratio_denominator != "old":
        return torch.ones_like(old_BT)
    assert behavior_BT is not None, "checked by _check_given"
    gap_BT = old_BT - behavior_BT.detach()
    if config.importance_level == "sequence":
        gap_BT = gap_BT.sum(dim=1, keepdim=True).expand_as(gap_BT)
    return exp_ratio(gap_BT).clamp(max=cap)


def _check_given(
    config: LossConfig,
    ref_BT: Tensor | None,
    behavior_BT: Tensor | None,
    entropy_BT: Tensor | None,
    divergence_BT: Tensor | None,
) -> None:
    for is_needed, value, name, reason in (
        (
            config.needs_behavior,
            behavior_BT,
            "behavior_log_probs_BT",
            "ratio_denominator='behavior'"
            if config.ratio_denominator == "behavior"
            else "importance_weight_cap",
        ),
        (config.kl_coefficient > 0, ref_BT, "ref_log_probs_BT", "kl_coefficient"),
        (config.entropy_coefficient > 0, entropy_BT, "entropy_BT", "entropy_coefficient"),
        (config.distillation is not None, divergence_BT, "divergence_BT", "distillation"),
    ):
        if is_needed and value is None:
            raise ConfigError(
                f"{name} must be given with {reason}, got None; pass it or change the config"
            )
