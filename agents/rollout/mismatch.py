"""Measure the gap between the sampler's and the trainer's log-probabilities in each iteration.

The sampler (torch with a forked cache, vLLM, a server) and the trainer run the same weights through
different kernels, in different batches, perhaps in different precision. The loss corrects the gap
by truncated importance weights (`LossConfig.importance_weight_cap`). The gap is measured under the
context, temperature and truncation that the tokens were sampled with. A gap above the limit
indicates a fault: stale weights, a stale cache, another temperature.

The learner scores the episodes that it trains anyway. Those that it trains as they were sampled
(`is_trained_as_sampled`) are all compared, at no cost; only if they are too few, the trainer scores
others before the update.

Episodes that were sampled from stale weights on purpose (`EngineConfig.max_staleness`) are not
compared: their gap is no fault.

`update/behavior_gap_mean` differs: it is over all trained tokens, under the context that they are
trained under, which for hinted episodes is not the sampling context.
"""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from reason_env.agents.engines import MismatchConfig, SamplingConfig
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout.trajectory import TrainingSample, Trajectory
from reason_env.errors import EngineError

_log = logging.getLogger(__name__)
Item = TypeVar("Item")

SHARED = 4
"""Scored episodes of one group."""


Scores = dict[int, tuple[float, ...]]
"""Number of a trajectory -> the trainer's log-probabilities of its sampled tokens, in nats."""


def is_trained_as_sampled(
    item: Trajectory, sample: TrainingSample, sampling: SamplingConfig
) -> bool:
    """Return whether a sample trains an episode's sampled tokens as they were drawn.

    Then the learner's log-probabilities before the update are under the sampling context, and, at
    the run's temperature, of the distribution that sampling used.
    """
    is_plain = sampling.top_p == 1 and not sampling.top_k and not sampling.is_greedy
    return (
        is_plain
        and item.start.temperature in (None, sampling.temperature)
        and sample.context_ids == item.prompt_ids
        and sample.token_ids == item.final_state.response
        and not any(sample.action_mask[: item.prefix_length])
        and sum(sample.action_mask) == len(item.behavior_log_probs)
    )


def trainer_scores(
    policy: LanguageModelPolicy,
    trajectories: Sequence[Trajectory],
    sampling: SamplingConfig,
    config: MismatchConfig,
    *,
    learned: Collection[int] = (),
) -> Scores:
    """Score as many trajectories as `config.sequences` asks for beyond those that are learned.

    Args:
        policy: Has the weights that the trajectories were sampled with.
        trajectories: One iteration's; neighbours are scored together (`spread`).
        sampling: The run's settings; a start's own temperature replaces theirs.
        config: How many trajectories are compared at least.
        learned: Numbers of trajectories that the learner scores.
    """
    known = frozenset(learned)
    others = [
        number
        for number, item in enumerate(trajectories)
        if item.behavior_log_probs and number not in known and not item.staleness
    ]
    missing = config.sequences - len(known)
    if not others or missing <= 0:
        return {}
    chosen = spread(others, missing)
    found = _scores(policy, [trajectories[number] for number in chosen], sampling)
    return dict(zip(chosen, found, strict=True))


def mismatch_metrics(
    trajectories: Sequence[Trajectory],
    scores: Mapping[int, Sequence[float]],
    config: MismatchConfig,
) -> dict[str, Number]:
    """Compute the `rollout/mismatch_` metrics of the scored trajectories; `{}` if there are none.

    Args:
        trajectories: One iteration's.
        scores: By number of the trajectory, the trainer's numbers before the update.
        config: The limit of the mean.

    Raises:
        EngineError: The mean is above the limit, and `config.alarm` is "stop".
    """
    if not scores:
        return {}
    numbers = sorted(scores)
    trainer = [value for number in numbers for value in scores[number]]
    sampler = [value for number in numbers for value in trajectories[number].behavior_log_probs]
    metrics = mismatch_of(trainer, sampler)
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


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Take at most about `most` items, in runs of `SHARED` neighbours from all over the sequence.

    Neighbours are of one group: their prompt goes through the model once.

    >>> spread(range(20), 8)
    [0, 1, 2, 3, 12, 13, 14, 15]
    """
    run = min(SHARED, most)
    period = run * math.ceil(len(items) / most)
    return [item for number, item in enumerate(items) if number % period < run]


def mismatch_of(trainer: Sequence[float], sampler: Sequence[float]) -> dict[str, Number]:
    """Compare two log-probabilities, in nats, of each of N tokens drawn from the sampler.

    With d = trainer - sampler and r = exp(d): mean and largest |d|; k3 = mean (r - 1 - d), an
    estimate of KL(sampler || trainer); effective sample fraction (sum r)^2 / (N sum r^2). A token
    that the trainer's truncation cuts off (-inf) is counted separately and enters no mean.

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


def _scores(
    policy: LanguageModelPolicy, trajectories: Sequence[Trajectory], sampling: SamplingConfig
) -> list[tuple[float, ...]]:
    """Score the sampled tokens of each trajectory, in one call for each temperature."""
    scores: dict[int, tuple[float, ...]] = {}
    for temperature in dict.fromkeys(item.start.temperature for item in trajectories):
        numbers = [i for i, x in enumerate(trajectories) if x.start.temperature == temperature]
        chosen = [trajectories[number] for number in numbers]
        contexts = [item.prompt_ids + item.start.state.response for item in chosen]
        tokens = [item.completion_ids[: len(item.behavior_log_probs)] for item in chosen]
        used = sampling if temperature is None else replace(sampling, temperature=temperature)
        scores |= zip(numbers, policy.score(contexts, tokens, used), strict=True)
    return [scores[number] for number in range(len(trajectories))]
