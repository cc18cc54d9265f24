"""How far the sampler's log-probabilities are from the trainer's, before each update.

The sampler (torch with a forked cache, vLLM, a server) and the trainer run the same weights through
other kernels, in other batches, perhaps in another precision. The loss corrects what is left by
truncated importance weights (`LossConfig.importance_weight_cap`); this measures how much there is
to correct, under the context, temperature and truncation that the tokens were sampled with. An
alarm above a limit is the sign of a fault: stale weights, a stale cache, another temperature.

`update/behavior_gap_mean` is another number: over trained tokens, under the context they are
learned in, which for hinted episodes is another one.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from reason_env.agents.engines import MismatchConfig, SamplingConfig
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout.trajectory import Trajectory
from reason_env.errors import EngineError

_log = logging.getLogger(__name__)


def mismatch_metrics(
    policy: LanguageModelPolicy,
    trajectories: Sequence[Trajectory],
    sampling: SamplingConfig,
    config: MismatchConfig,
) -> dict[str, Number]:
    """Returns the `rollout/mismatch_` metrics of some of the trajectories; `{}` of none.

    Args:
        policy: With the weights that the trajectories were sampled from.
        trajectories: Of one iteration; every n-th is scored, so that all groups are seen.
        sampling: Of the run; a start's own temperature stands instead.
        config: How many are scored, and the limit.

    Raises:
        EngineError: The mean is above the limit, and the alarm is to stop the run.
    """
    sampled = [item for item in trajectories if item.behavior_log_probs]
    if not (sampled and config.sequences):
        return {}
    chosen = sampled[:: math.ceil(len(sampled) / config.sequences)]
    pairs = [pair for item in chosen for pair in _pairs(policy, item, sampling)]
    metrics = mismatch_of([trainer for trainer, _ in pairs], [sampler for _, sampler in pairs])
    mean = metrics["rollout/mismatch_mean"]
    is_alarm = mean is not None and not mean <= config.limit
    if is_alarm:
        message = (
            f"sampler and trainer must agree within {config.limit:g} nats a token, got "
            f"{mean:.4g}; look for stale weights or another temperature, or raise "
            "engine.mismatch.limit"
        )
        if config.alarm == "stop":
            raise EngineError(message)
        _log.warning("%s", message)
    return metrics | {"rollout/mismatch_alarm": int(is_alarm)}


def mismatch_of(trainer: Sequence[float], sampler: Sequence[float]) -> dict[str, Number]:
    """Returns the metrics of log-probabilities of the same tokens, in nats.

    With d = trainer - sampler and r = exp(d), over tokens drawn from the sampler: mean and largest
    |d|; k3 = mean (r - 1 - d), an estimate of KL(sampler || trainer); effective sample fraction
    (sum r)^2 / (N sum r^2). A token that the trainer's own truncation would have cut off (-inf) is
    counted apart and is in no mean.

    >>> found = mismatch_of([-1.0, -2.5], [-1.0, -2.0])  # d = 0 and -0.5
    >>> found["rollout/mismatch_mean"], round(found["rollout/mismatch_kl_behavior_policy"], 4)
    (0.25, 0.0533)
    """
    gaps = [a - b for a, b in zip(trainer, sampler, strict=True) if a > -math.inf]
    count = len(gaps)
    ratios = [math.exp(min(gap, 20.0)) for gap in gaps]
    square = sum(ratio * ratio for ratio in ratios)
    return {
        "rollout/mismatch_mean": sum(map(abs, gaps)) / count if count else None,
        "rollout/mismatch_max": max(map(abs, gaps)) if count else None,
        "rollout/mismatch_kl_behavior_policy": (
            sum(ratio - 1 - gap for ratio, gap in zip(ratios, gaps, strict=True)) / count
            if count
            else None
        ),
        "rollout/mismatch_effective_sample_fraction": (
            sum(ratios) ** 2 / (count * square) if count else None
        ),
        "rollout/mismatch_cut_fraction": 1 - count / len(trainer) if trainer else None,
    }


def _pairs(
    policy: LanguageModelPolicy, item: Trajectory, sampling: SamplingConfig
) -> list[tuple[float, float]]:
    """Returns (trainer, sampler) log-probabilities of the tokens that the policy sampled."""
    own = item.start.temperature
    used = sampling if own is None else replace(sampling, temperature=own)
    context = item.prompt_ids + item.start.state.response
    tokens = item.completion_ids[: len(item.behavior_log_probs)]
    (scored,) = policy.score([context], [tokens], used)
    return list(zip(scored, item.behavior_log_probs, strict=True))
