r"""How much better a candidate acts at given states than the policy that it comes from, sampled.

Three estimators, by name. Each is unbiased at every restart state s (undiscounted; pi' the
candidate, pi the old policy, r the return of an episode through the environment):

* `response`: V_{pi'}(s) - V_pi(s), by episodes of both from s. The action is the whole rest of the
  response, so mu is a bandit's context and this is its policy advantage, exactly.
* `response_weighted`: the same number from episodes of pi alone,
  mean_g w_g (r_g - mean of the other r), w = pi'(y|s) / pi(y|s). No sample of pi' is needed, and
  the variance grows with the chi-square divergence of whole responses: for close policies only.
* `step`: the policy advantage of the step-level MDP; `cpi_steps.py`.

Both policies draw from equal random streams, which changes no mean: while they agree, they say the
same.

Episodes whose verifier failed are left out with their pair; a restart without any is None. Texts
that only one policy can write (top-p, top-k) have no importance weight: `response_weighted` refuses
truncated sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.restarts import Restart
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import Policy
from reason_env.agents.rollout import RolloutBatch, Trajectory, collect
from reason_env.errors import ConfigError


class ScoringPolicy(Policy, Protocol):
    """A policy that can also say how likely a completion is."""

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        sampling: SamplingConfig,
    ) -> list[tuple[float, ...]]:
        """Returns each completion token's log-probability, nats."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What an estimator found at the restarts it was given."""

    values: tuple[float | None, ...]
    """Advantage at each restart, in return; None where no episode was graded."""
    num_tokens: int
    """Generated for it."""
    returns: tuple[float, ...]
    """Of every graded episode."""
    max_steps: int = 1
    """Steps of the longest episode that was rolled in (`step`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """The two policies that are compared, and where."""

    old: ScoringPolicy
    new: ScoringPolicy
    env: gym.Env[Any, Any]
    sampling: SamplingConfig

    def collect(
        self, restarts: Sequence[Restart], num: int, policy: Policy, seed: int
    ) -> RolloutBatch:
        """Returns `num` episodes of a policy from each restart, a group each, in order."""
        starts = [restart.start(num, str(index)) for index, restart in enumerate(restarts)]
        return collect(starts, env=self.env, policy=policy, sampling=self.sampling, seed=seed)


def response_advantages(
    arms: Arms, restarts: Sequence[Restart], *, samples: int, seed: int
) -> Sampled:
    """Returns the estimate `response` with `samples` episodes a restart and policy."""
    old, new = (arms.collect(restarts, samples, policy, seed) for policy in (arms.old, arms.new))
    values: list[float | None] = []
    for of_old, of_new in zip(old.groups, new.groups, strict=True):
        pairs = [
            after.episode_return - before.episode_return
            for before, after in zip(of_old.trajectories, of_new.trajectories, strict=True)
            if before.is_graded and after.is_graded
        ]
        values.append(mean(pairs))
    return sampled(values, (*old.trajectories, *new.trajectories))


def weighted_advantages(
    arms: Arms, restarts: Sequence[Restart], *, samples: int, seed: int
) -> Sampled:
    """Returns the estimate `response_weighted` with `samples` episodes a restart, at least 2.

    Raises:
        ConfigError: Sampling is truncated.
    """
    if arms.sampling.top_p < 1 or arms.sampling.top_k > 0:
        raise ConfigError(
            "estimator 'response_weighted' must have untruncated sampling, got top_p "
            f"{arms.sampling.top_p!r} and top_k {arms.sampling.top_k!r}; use estimator 'response'"
        )
    batch = arms.collect(restarts, samples, arms.old, seed)
    weights = iter(_weights(arms, batch.trajectories))
    values: list[float | None] = []
    for group in batch.groups:
        own = [next(weights) for _ in group.trajectories]
        is_graded = [item.is_graded for item in group.trajectories]
        values.append(
            weighted_advantage(
                [item.episode_return for item in group.graded],
                [weight for weight, known in zip(own, is_graded, strict=True) if known],
            )
        )
    return sampled(values, batch.trajectories)


def weighted_advantage(returns: Sequence[float], weights: Sequence[float]) -> float | None:
    """Returns mean_g w_g (r_g - mean of the other r); None for fewer than two returns.

    >>> weighted_advantage([1.0, 0.0], [1.5, 0.5]), weighted_advantage([1.0], [1.5])
    (0.5, None)
    """
    if len(returns) < 2:
        return None
    r, w = np.array(returns), np.array(weights)
    others = (r.sum() - r) / (len(r) - 1)
    return float((w * (r - others)).mean())


def _weights(arms: Arms, trajectories: Sequence[Trajectory]) -> list[float]:
    """Returns pi'(y|s) / pi(y|s) of the tokens that the environment kept."""
    contexts = [item.prompt_ids + item.start.state.response for item in trajectories]
    kept = [item.completion_ids[: len(item.behavior_log_probs)] for item in trajectories]
    scores = arms.new.score(contexts, kept, arms.sampling)
    return [
        float(np.exp(sum(new) - sum(item.behavior_log_probs)))
        for new, item in zip(scores, trajectories, strict=True)
    ]


def sampled(values: Sequence[float | None], trajectories: Sequence[Trajectory]) -> Sampled:
    """Returns the values with the tokens and returns of the episodes that gave them."""
    return Sampled(
        values=tuple(values),
        num_tokens=sum(item.num_sampled_tokens for item in trajectories),
        returns=tuple(item.episode_return for item in trajectories if item.is_graded),
    )


def mean(values: Sequence[float]) -> float | None:
    """Returns the mean; None of nothing."""
    return sum(values) / len(values) if values else None
