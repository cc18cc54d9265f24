"""Distillation: the divergence of the policy's next-token distribution from a teacher's.

    forward          KL(teacher || policy)
    reverse          KL(policy || teacher)
    jensen_shannon   b KL(teacher || m) + (1 - b) KL(policy || m),  m = (1 - b) policy + b teacher

with b the `mixture`. All are over the whole vocabulary, or over the `top_k` likeliest ids of the
policy or of the teacher, with the other ids as one more outcome (`tail`) or left out and the rest
renormalised. The gradient flows through the policy's log-probabilities alone.

Only one chunk of rows has its logits in memory; the backward pass computes them again.

Source: Agarwal et al. 2024 (GKD), arXiv 2306.13649, eq. 1; the tail: Huebotter et al. 2026 (SDPO),
arXiv 2601.20802; renormalising: the release of OPSD, arXiv 2601.18734. TRL's and OPSD's `beta`, and
SDPO's `alpha`, are 0 for forward, 1 for reverse, and `mixture` between.

Axis letters: N rows (next-token distributions), V vocabulary, K places whose divergence is wanted.
"""

# torch leaves checkpoint and unique untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reason_env.agents.policy import MAX_CHUNK_LOGITS, Predictions
from reason_env.errors import ConfigError, did_you_mean

Divergence = Literal["forward", "reverse", "jensen_shannon"]
Support = Literal["policy", "teacher"]
POLICY, INITIAL, AVERAGE = "policy", "initial", "average"
"""Teachers that need no model of their own."""
LARGEST_LOG_MASS = -1e-7
"""Limit of the log-mass of the likeliest ids, so that the rest has a logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig:
    """Which teacher, and how far from it the policy is.

    Raises:
        ConfigError: A name is unknown, a number is out of range, or two settings contradict.
    """

    divergence: Divergence = "jensen_shannon"
    """forward: KL(teacher || policy). reverse: KL(policy || teacher). jensen_shannon: of both to
    their mixture."""
    mixture: float = 0.5
    """jensen_shannon only: the teacher's share of the mixture, between 0 and 1."""
    top_k: int | None = None
    """Compare the likeliest ids alone; None: the whole vocabulary."""
    support: Support = "policy"
    """Whose likeliest ids `top_k` takes."""
    tail: bool = True
    """With `top_k`: the other ids are one more outcome. False: they are left out."""
    teacher: str = POLICY
    """policy: the weights that are trained, as they are. initial: those before training. average:
    their moving average. Otherwise a model to load, whose token ids are the policy's."""
    average_rate: float = 0.05
    """average only: the share of the new weights in the average after each update, in (0, 1]."""
    ratio_cap: float | None = None
    """Multiply a token's divergence by min(policy / old policy, cap), without gradient; None: no
    weight. It is 1 in the first update of an iteration."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("divergence", get_args(Divergence)),
            ("support", get_args(Support)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(
                    f"{name} must be one of {', '.join(choices)}, got {value!r}"
                    + did_you_mean(str(value), choices)
                )
        if not 0 < self.mixture < 1:
            raise ConfigError(
                f"mixture must lie between 0 and 1, got {self.mixture!r}; for the limits use the "
                "divergence forward (0) or reverse (1)"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(
                f"top_k must be at least 1, got {self.top_k!r}; use None for the whole vocabulary"
            )
        if not self.tail and self.top_k == 1:
            raise ConfigError(
                "top_k must be at least 2 without a tail, got 1; one outcome has probability 1"
            )
        if not self.teacher:
            raise ConfigError(
                f"teacher must be {POLICY}, {INITIAL}, {AVERAGE} or a model, got ''; use {POLICY}"
            )
        if not 0 < self.average_rate <= 1:
            raise ConfigError(f"average_rate must lie in (0, 1], got {self.average_rate!r}")
        if self.ratio_cap is not None and not 0 < self.ratio_cap < math.inf:
            raise ConfigError(f"ratio_cap must be above 0 and finite, got {self.ratio_cap!r}")


def divergence(policy_NV: Tensor, teacher_NV: Tensor, config: DistillationConfig) -> Tensor:
    """Compute the divergence of each row, [N], in nats.

    Args:
        policy_NV: Log-probabilities, nats; carry the gradient.
        teacher_NV: Log-probabilities, nats.
        config: Which divergence, over which outcomes.

    >>> policy, teacher = (torch.tensor([p]).log() for p in ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
    >>> [round(divergence(policy, teacher, DistillationConfig(divergence=name)).item(), 4)
    ...  for name in ("forward", "reverse", "jensen_shannon")]  # log(2) / 4 twice
    [0.1733, 0.1733, 0.0425]
    """
    policy_NV, teacher_NV = _outcomes(policy_NV, teacher_NV.detach(), config)
    if config.divergence == "forward":
        return _kl(teacher_NV, policy_NV)
    if config.divergence == "reverse":
        return _kl(policy_NV, teacher_NV)
    share = config.mixture
    mixed_NV = torch.logaddexp(policy_NV + math.log1p(-share), teacher_NV + math.log(share))
    return share * _kl(teacher_NV, mixed_NV) + (1 - share) * _kl(policy_NV, mixed_NV)


def divergences(
    policy: Predictions,
    teacher: Predictions,
    config: DistillationConfig,
    *,
    temperature: float,
    places: Tensor | None = None,
) -> Tensor:
    """Compute the divergence at each wanted place, [K], in nats, chunk by chunk.

    Args:
        policy: Of the trained policy; carries the gradient.
        teacher: Of the same tokens after other contexts, by the same or another model; its place k
            is the policy's place k.
        config: Which divergence.
        temperature: Divides the logits of both.
        places: Which of the policy's places the teacher has; None: all.
    """
    own = policy.row_of_each
    both = torch.stack([own if places is None else own[places], teacher.row_of_each])
    pairs, pair_of_each = both.unique(dim=1, return_inverse=True)

    def of_rows(policy_rows: Tensor, teacher_rows: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_nV = _log_probs(teacher.logits(teacher_rows), temperature)
        return divergence(_log_probs(policy.logits(policy_rows), temperature), teacher_nV, config)

    size = max(1, MAX_CHUNK_LOGITS // policy.vocab_size)
    parts: list[Tensor] = []
    for number in range(0, pairs.shape[1], size):
        rows = pairs[:, number : number + size]
        parts.append(
            checkpoint(of_rows, rows[0], rows[1], use_reentrant=False, preserve_rng_state=False)
        )
    return torch.cat(parts)[pair_of_each]


def _log_probs(logits_nV: Tensor, temperature: float) -> Tensor:
    wide = logits_nV.to(torch.promote_types(logits_nV.dtype, torch.float32))
    return torch.log_softmax(wide / temperature, dim=-1)


def _kl(first_NV: Tensor, second_NV: Tensor) -> Tensor:
    """Compute KL(first || second) of each row."""
    return (first_NV.exp() * (first_NV - second_NV)).sum(dim=-1)


def _outcomes(
    policy_NV: Tensor, teacher_NV: Tensor, config: DistillationConfig
) -> tuple[Tensor, Tensor]:
    """Reduce both distributions to the outcomes that are compared."""
    if config.top_k is None or config.top_k >= policy_NV.shape[-1]:
        return policy_NV, teacher_NV
    chosen = policy_NV.detach() if config.support == "policy" else teacher_NV
    index = chosen.topk(config.top_k, dim=-1).indices
    kept = (policy_NV.gather(-1, index), teacher_NV.gather(-1, index))
    policy, teacher = map(_with_tail if config.tail else _renormalised, kept)
    return policy, teacher


def _with_tail(log_probs_Nk: Tensor) -> Tensor:
    mass_N1 = log_probs_Nk.logsumexp(dim=-1, keepdim=True).clamp(max=LARGEST_LOG_MASS)
    return torch.cat([log_probs_Nk, torch.log(-torch.expm1(mass_N1))], dim=-1)


def _renormalised(log_probs_Nk: Tensor) -> Tensor:
    return log_probs_Nk - log_probs_Nk.logsumexp(dim=-1, keepdim=True)
