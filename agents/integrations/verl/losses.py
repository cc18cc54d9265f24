# pyright: reportMissingImports=false
# verl is in the environment of `make test-interop` only.
"""The estimator that hands advantages to verl, and the policy losses by role.

verl's policy loss gets five tensors of a micro-batch, and no names of roles. The sampler's
log-probabilities and the role travel in one of them, `rollout_is_weights`, which verl itself fills
only if a rollout correction is configured (`settings.py` refuses one): a token's value is its
log-probability less 1024 for each number of its loss, in float64. So every loss of this project's
is computed by this project's own function, with its ratios under the recorded contexts.

The averages are over verl's numbers of the optimizer step: tokens of the step, over all devices;
sequences by `ppo_mini_batch_size`, a constant, which is what verl divides by; the response budget
by `actor.loss_scale_factor`.

Axis letters: B sequences, T tokens. Not covered: KL and entropy terms, which are verl's own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import register_adv_est, register_policy_loss

from reason_env.agents.integrations.verl.served import (
    PREFIX,
    SERVED_METHODS,
    Served,
    served_method,
    summed,
)
from reason_env.agents.learning import LossTotals, policy_loss
from reason_env.agents.methods import MethodConfig, method_config
from reason_env.errors import ConfigError

ESTIMATOR = "reason_env"
"""`algorithm.adv_estimator`."""
STEP = 1024.0
"""Nats between the losses; a sampled token's log-probability lies above -STEP."""
ROUNDING = 1e-3
"""Nats above 0 that a server's log-probability may have by rounding; it then counts as 0."""
SERVED: dict[str, Served] = {}
"""Name of a policy loss -> its method; `serve` adds one."""
PolicyLoss = Callable[..., tuple[Tensor, dict[str, Any]]]


def packed(log_probs: Sequence[float], number: int) -> Tensor:
    """Join the sampler's log-probabilities [T] and the number of the row's loss.

    Raises:
        ConfigError: A log-probability is positive, or too small to be of a sampled token.

    >>> packed([-0.5, 0.0], 2).tolist()
    [-2048.5, -2048.0]
    """
    for value in log_probs:
        if not -STEP < value <= ROUNDING:
            raise ConfigError(
                f"a sampled token's log-probability must lie above {-STEP:g} and be at most 0, got "
                f"{value!r}; sample with a server that returns them"
            )
    return torch.tensor(log_probs, dtype=torch.float64).clamp(max=0.0) - STEP * number


def unpacked(packed_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Separate `packed`: the sampler's log-probabilities and the numbers of the losses, [B, T].

    >>> unpacked(torch.tensor([[-2048.5, 0.0]], dtype=torch.float64))[1].tolist()
    [[2, 0]]
    """
    number_BT = torch.div(-packed_BT, STEP, rounding_mode="floor")
    return packed_BT + STEP * number_BT, number_BT.long()


@register_adv_est(ESTIMATOR)
def given_advantages(
    token_level_rewards: Tensor, response_mask: Tensor, **_: Any
) -> tuple[Tensor, Tensor]:
    """Return the advantages that the agent loop wrote in place of rewards, [B, T], twice.

    Args:
        token_level_rewards: [B, T], an advantage for each trained token.
        response_mask: [B, T], 1 on trained tokens.
    """
    advantages = token_level_rewards * response_mask
    return advantages, advantages


def policy_loss_of(served: Served) -> PolicyLoss:
    """Give the policy loss of a method, with the arguments that verl calls one with."""

    def loss(
        *,
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        del loss_agg_mode  # the method's own aggregation
        if rollout_is_weights is None:
            raise ConfigError(
                f"the policy loss {served.name!r} must get rows of the agent loop 'reason_env', "
                "got others; write agent_name into the data with reason-env export verl"
            )
        # A row that verl adds as padding has as many values as the row that it was copied from.
        packed_BT = rollout_is_weights[:, : log_prob.shape[1]]
        behavior_BT, number_BT = unpacked(packed_BT.to(torch.float64))
        mask_BT = response_mask.bool()
        info = {} if config is None else config.global_batch_info
        totals = _totals(info, mask_BT)
        # Also a micro-batch of padding alone needs a gradient.
        total = torch.where(mask_BT, log_prob, 0.0).sum() * 0.0
        ratios: list[Tensor] = []
        for number, own in enumerate(served.losses):
            own_BT = mask_BT & (number_BT == number)
            if not bool(own_BT.any()):
                continue
            is_summed = own.separate_normaliser
            found = policy_loss(
                log_prob,
                old_log_prob,
                advantages,
                own_BT,
                config=summed(own) if is_summed else own,
                totals=LossTotals(num_tokens=1, num_sequences=1) if is_summed else totals,
                behavior_log_probs_BT=behavior_BT.to(log_prob.dtype),
            )
            total = total + found.loss
            ratios.append((log_prob.detach() - old_log_prob)[own_BT])
        moved = -torch.cat(ratios).mean().item() if ratios else 0.0
        return total * info.get("dp_size", 1), {"actor/ppo_kl": moved}

    return loss


def serve(name: str, method: MethodConfig) -> Served:
    """Register a method's policy loss with verl; the agent loop then runs the method of that name.

    Args:
        name: Of the loss: `actor_rollout_ref.actor.policy_loss.loss_mode`.
        method: A single method or a composition.

    Raises:
        ConfigError: verl cannot run the method.
    """
    served = served_method(name, method)
    register_policy_loss(name)(policy_loss_of(served))
    SERVED[name] = served
    return served


def _totals(info: Any, mask_BT: Tensor) -> LossTotals:
    """Give the denominators of verl's step; those of the rows outside of a step."""
    counted = int(mask_BT.sum())
    return LossTotals(
        num_tokens=max(1, int(info.get("batch_num_tokens") or counted)),
        num_sequences=max(1, int(info.get("global_batch_size") or (mask_BT.sum(dim=1) > 0).sum())),
        max_tokens=info.get("loss_scale_factor"),
    )


for _name in SERVED_METHODS:
    serve(f"{PREFIX}{_name}", method_config(_name))
