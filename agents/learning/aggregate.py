"""Aggregation of per-token losses to one number, by a weight for each token.

The weights are computed from the totals of the whole optimizer step, never from the rows of a
micro-batch. The losses and gradients of micro-batches therefore sum to those of the step, without
rescaling.

Axis letters: B sequences, T tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reason_env.agents.learning.loss_config import Aggregation
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTotals:
    """The denominators of one optimizer step, over all rows on all devices.

    Raises:
        ConfigError: A count is not positive.

    >>> LossTotals.of(torch.tensor([[0, 1, 1], [0, 0, 1]]), max_tokens=8)
    LossTotals(num_tokens=3, num_sequences=2, max_tokens=8)
    """

    num_tokens: int
    """Sampled tokens."""
    num_sequences: int
    """Rows that hold a sampled token. (verl counts likewise; TRL counts empty rows too.)"""
    max_tokens: int | None = None
    """Response budget, tokens: the divisor of `seq_mean_token_sum`; None: unknown."""

    def __post_init__(self) -> None:
        for name in ("num_tokens", "num_sequences", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"{name} of an optimizer step must be at least 1, got {value!r}; "
                    "skip a step without sampled tokens"
                )

    @classmethod
    def of(cls, action_mask_BT: Tensor, max_tokens: int | None = None) -> "LossTotals":
        """Count the totals of the rows of a whole optimizer step."""
        tokens_B = action_mask_BT.bool().sum(dim=1)
        return cls(
            num_tokens=int(tokens_B.sum()),
            num_sequences=int((tokens_B > 0).sum()),
            max_tokens=max_tokens,
        )


def token_weights(
    action_mask_BT: Tensor, aggregation: Aggregation, totals: LossTotals, dtype: torch.dtype
) -> Tensor:
    """Compute w_BT such that sum(w_BT * loss_BT) is the aggregated loss; 0 outside the mask.

    With L_b tokens in sequence b, N tokens and S sequences in the whole optimizer step, and M the
    response budget:

        seq_mean_token_mean    1 / (L_b S)
        token_mean             1 / N
        seq_mean_token_sum     1 / (S M)

    Raises:
        ConfigError: `seq_mean_token_sum` has no response budget.

    Source:
        Shao et al. 2024, arXiv 2402.03300, eq. 3; Yu et al. 2025 (DAPO), arXiv 2503.14476, eq. 8;
        Liu et al. 2025 (Dr.GRPO), arXiv 2503.20783, section 3.

    >>> mask = torch.tensor([[0, 1, 1], [0, 0, 1]])
    >>> token_weights(mask, "seq_mean_token_mean", LossTotals.of(mask), torch.float64).tolist()
    [[0.0, 0.25, 0.25], [0.0, 0.0, 0.5]]
    """
    mask_BT = action_mask_BT.bool().to(dtype)
    if aggregation == "token_mean":
        return mask_BT / totals.num_tokens
    if aggregation == "seq_mean_token_mean":
        tokens_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return mask_BT / (tokens_B1 * totals.num_sequences)
    if totals.max_tokens is None:
        raise ConfigError(
            "aggregation 'seq_mean_token_sum' must have a response budget to divide by, got "
            "None; give max_tokens"
        )
    return mask_BT / (totals.num_sequences * totals.max_tokens)
