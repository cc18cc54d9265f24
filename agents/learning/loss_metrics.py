"""The metrics of a loss: statistics of each row, then metrics over any set of rows.

Statistics are kept by row, so that rows of one role, source or micro-batch can be combined without
another pass through the model.

Axis letters: B sequences, T tokens. Nothing here carries a gradient.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reason_env.agents.learning.loss_config import CLIPPED_SURROGATES, LossConfig
from reason_env.agents.learning.surrogate import MAX_LOG_RATIO

MAX_SUFFIX = "_max"
"""Row statistics with this suffix are maxima; all others are sums over a row's tokens."""


@torch.no_grad()
def row_statistics(
    *,
    log_probs_BT: Tensor,
    old_log_probs_BT: Tensor,
    ratio_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    importance_BT: Tensor,
    behavior_log_probs_BT: Tensor | None,
    ref_log_probs_BT: Tensor | None,
    entropy_BT: Tensor | None,
    config: LossConfig,
    divergence_BT: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compute sums and maxima over each row's sampled tokens, each [B].

    Outside the mask, `ratio_BT` and `importance_BT` are 1 and all other inputs 0.
    """
    low_BT, high_BT, dual_BT = _clipped_tokens(ratio_BT, advantages_BT, config)
    moved_BT = (log_probs_BT - old_log_probs_BT).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    sums_BT = {
        "tokens": mask_BT,
        "ratio": ratio_BT,
        "ratio_square": ratio_BT.square(),
        "chi_square": (ratio_BT - 1).square(),
        "clip_low": low_BT,
        "clip_high": high_BT,
        "dual_clip": dual_BT,
        "kl_old_policy": moved_BT.expm1() - moved_BT,
        "importance_weight": importance_BT,
    }
    maxima_BT = {"ratio": ratio_BT}
    if config.importance_weight_cap is not None and config.ratio_denominator == "old":
        sums_BT["importance_capped"] = importance_BT >= config.importance_weight_cap
    if behavior_log_probs_BT is not None:
        gap_BT = (old_log_probs_BT - behavior_log_probs_BT).abs()
        sums_BT["behavior_gap"] = maxima_BT["behavior_gap"] = gap_BT
    if ref_log_probs_BT is not None:
        difference_BT = (ref_log_probs_BT - log_probs_BT).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        sums_BT["kl_policy_ref"] = difference_BT.expm1() - difference_BT
    if entropy_BT is not None:
        sums_BT["entropy"] = entropy_BT
    if divergence_BT is not None:
        sums_BT["teacher_divergence"] = divergence_BT
    dtype = log_probs_BT.dtype
    rows = {name: (x * mask_BT).sum(dim=1, dtype=dtype) for name, x in sums_BT.items()}
    return rows | {
        name + MAX_SUFFIX: (x * mask_BT).amax(dim=1).to(dtype) for name, x in maxima_BT.items()
    }


def _clipped_tokens(
    ratio_BT: Tensor, advantages_BT: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor, Tensor]:
    none_BT = torch.zeros_like(ratio_BT, dtype=torch.bool)
    if config.surrogate not in CLIPPED_SURROGATES:
        return none_BT, none_BT, none_BT
    low_BT = ratio_BT < 1 - config.clip_low
    high_BT = ratio_BT > 1 + config.clip_high
    if config.surrogate == "cispo":
        has_term_BT = advantages_BT != 0
        return low_BT & has_term_BT, high_BT & has_term_BT, none_BT
    dual_BT = none_BT
    if config.dual_clip is not None:
        dual_BT = (advantages_BT < 0) & (ratio_BT > config.dual_clip)
    return low_BT & (advantages_BT < 0), high_BT & (advantages_BT > 0), dual_BT


def summarize(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Compute the metrics over all rows of the parts; `{}` without parts.

    Means are over sampled tokens. effective_sample_fraction is (sum ratio)^2 / (N sum ratio^2),
    0..1; chi_square is mean (ratio - 1)^2; kl_old_policy is mean (r - 1 - log r) with
    r = policy / old, an estimate of KL(old || policy).

    >>> rows = {"tokens": torch.tensor([2.0]), "ratio": torch.tensor([2.0]),
    ...         "ratio_square": torch.tensor([2.5]), "ratio_max": torch.tensor([1.5])}
    >>> metrics = summarize([rows])  # ratios 0.5 and 1.5
    >>> metrics["update/effective_sample_fraction"], metrics["update/ratio_mean"]
    (0.8, 1.0)
    """
    if not parts:
        return {}
    names = [name for name in parts[0] if all(name in part for part in parts)]
    rows = {name: torch.cat([part[name] for part in parts]) for name in names}
    num_tokens = rows["tokens"].sum().item()
    maxima = {n: rows[n].max().item() for n in names if n.endswith(MAX_SUFFIX)}
    means = {n: rows[n].sum().item() / num_tokens for n in names if n not in maxima}
    del means["tokens"]
    ratio, ratio_square = means.pop("ratio"), means.pop("ratio_square")
    metrics = {
        "tokens": num_tokens,
        "ratio_mean": ratio,
        "effective_sample_fraction": ratio * ratio / ratio_square,
        **maxima,
    }
    for name, value in means.items():
        metrics[METRIC_NAMES[name]] = value
    return {f"update/{name}": value for name, value in metrics.items()}


METRIC_NAMES = {
    "chi_square": "chi_square",
    "clip_low": "clip_low_fraction",
    "clip_high": "clip_high_fraction",
    "dual_clip": "dual_clip_fraction",
    "kl_old_policy": "kl_old_policy",
    "importance_weight": "importance_weight_mean",
    "importance_capped": "importance_capped_fraction",
    "behavior_gap": "behavior_gap_mean",
    "kl_policy_ref": "kl_policy_ref",
    "entropy": "entropy",
    "teacher_divergence": "teacher_divergence",
}
"""Row statistic -> name of its mean as a metric, after `update/`."""
