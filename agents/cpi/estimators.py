r"""Estimators of the advantage of a candidate pi' over the old policy pi at given states.

Each is unbiased at every restart s (undiscounted; r is the return of an episode through the
environment):

* `response`: V_{pi'}(s) - V_pi(s), by episodes of both from s. The action is the whole rest of the
  response, so the restarts are contexts of a bandit, and this is its exact policy advantage.
* `response_weighted`: the same number from episodes of pi alone,
  mean_g w_g (r_g - mean of the other r), w = pi'(y|s) / pi(y|s). It needs no sample of pi', but the
  variance grows with the chi-square divergence of whole responses: for close policies only.
* `step`: the policy advantage of the step-level MDP; see `step_advantages.py`.

Both policies sample from equal random streams, which changes no mean and lowers the variance: as
long as they agree, they generate the same tokens.

A pair with an episode whose verifier failed is dropped; a restart without any pair has the value
None. Truncated sampling (top-p, top-k) can leave responses of pi' that pi never generates, so
`response_weighted` refuses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.restarts import Restart
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.metrics import mean
from reason_env.agents.policy import Policy, TokenScores
from reason_env.agents.rollout import DrawnStart, RolloutBatch, Trajectory, collect
from reason_env.errors import ConfigError


class ScoringPolicy(Policy, Protocol):
    """A policy that also computes the log-probabilities of given completions."""

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        sampling: SamplingConfig,
    ) -> list[tuple[float, ...]]:
        """Compute each completion token's log-probability, nats."""
        ...

    def token_scores(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Score each completion's tokens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAdvantages:
    """The estimated advantage at each restart, with totals of the episodes that gave it."""

    values: tuple[float | None, ...]
    """Advantage at each restart, in return; None if no episode was graded."""
    num_tokens: int
    """Generated tokens."""
    returns: tuple[float, ...]
    """Returns of all graded episodes."""
    max_steps: int = 1
    """Steps of the longest episode that was rolled in (`step`)."""

    @classmethod
    def of(
        cls, values: Sequence[float | None], trajectories: Sequence[Trajectory]
    ) -> "RestartAdvantages":
        """Combine the values with the tokens and returns of the episodes that gave them."""
        return cls(
            values=tuple(values),
            num_tokens=sum(item.num_sampled_tokens for item in trajectories),
            returns=tuple(item.episode_return for item in trajectories if item.is_graded),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPair:
    """The two policies to compare, and the environment and sampling to compare them in."""

    old: ScoringPolicy
    new: ScoringPolicy
    env: gym.Env[Any, Any]
    sampling: SamplingConfig
    drawn: Sequence[DrawnStart] = ()
    """The starts from D, by the restarts' `draw`."""

    def collect(
        self, restarts: Sequence[Restart], num: int, policy: Policy, seed: int
    ) -> RolloutBatch:
        """Collect `num` episodes of a policy from each restart, one group a restart, in order."""
        starts = [restart.start(num, str(index)) for index, restart in enumerate(restarts)]
        return collect(
            starts,
            env=self.env,
            policy=policy,
            sampling=self.sampling,
            seed=seed,
            drawn=self.drawn,
        )


def response_advantages(
    pair: PolicyPair, restarts: Sequence[Restart], *, samples: int, seed: int
) -> RestartAdvantages:
    """Estimate by `response`, with `samples` episodes of each policy from each restart."""
    old, new = (pair.collect(restarts, samples, policy, seed) for policy in (pair.old, pair.new))
    values: list[float | None] = []
    for old_group, new_group in zip(old.groups, new.groups, strict=True):
        differences = [
            after.episode_return - before.episode_return
            for before, after in zip(old_group.trajectories, new_group.trajectories, strict=True)
            if before.is_graded and after.is_graded
        ]
        values.append(mean(differences))
    return RestartAdvantages.of(values, (*old.trajectories, *new.trajectories))


def weighted_advantages(
    pair: PolicyPair, restarts: Sequence[Restart], *, samples: int, seed: int
) -> RestartAdvantages:
    """Estimate by `response_weighted`, with `samples` episodes from each restart, at least 2.

    Raises:
        ConfigError: Sampling is truncated.
    """
    check_untruncated(pair.sampling)
    batch = pair.collect(restarts, samples, pair.old, seed)
    weights = _importance_weights(pair, batch.trajectories)
    values = [
        weighted_advantage(
            [item.episode_return for item in group.graded],
            [weights[item.trajectory_id] for item in group.graded],
        )
        for group in batch.groups
    ]
    return RestartAdvantages.of(values, batch.trajectories)


def check_untruncated(sampling: SamplingConfig) -> None:
    """Refuse truncated sampling for the estimator `response_weighted`.

    Raises:
        ConfigError: Sampling is truncated by top-p or top-k.
    """
    if sampling.top_p < 1 or sampling.top_k > 0:
        raise ConfigError(
            "estimator 'response_weighted' must have untruncated sampling, got top_p "
            f"{sampling.top_p!r} and top_k {sampling.top_k!r}; use estimator 'response'"
        )


def weighted_advantage(returns: Sequence[float], weights: Sequence[float]) -> float | None:
    """Compute mean_g w_g (r_g - mean of the other r); None for fewer than two returns.

    >>> weighted_advantage([1.0, 0.0], [1.5, 0.5]), weighted_advantage([1.0], [1.5])
    (0.5, None)
    """
    if len(returns) < 2:
        return None
    r, w = np.array(returns), np.array(weights)
    others = (r.sum() - r) / (len(r) - 1)
    return float((w * (r - others)).mean())


def _importance_weights(pair: PolicyPair, trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Compute pi'(y|s) / pi(y|s) over the tokens that the environment kept, by trajectory id."""
    contexts = [item.prompt_ids + item.start.state.response for item in trajectories]
    kept = [item.completion_ids[: len(item.behavior_log_probs)] for item in trajectories]
    scores = pair.new.score(contexts, kept, pair.sampling)
    return {
        item.trajectory_id: float(np.exp(sum(new) - sum(item.behavior_log_probs)))
        for new, item in zip(scores, trajectories, strict=True)
    }
