"""Measure a candidate: its policy advantage before the step, and the realised gain after it.

Problems are drawn from D with replacement, so that the draws are independent and the intervals hold
for D, the training problems as the environment starts them. Episodes run through the environment
with the run's sampling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.config import CPIConfig
from reason_env.agents.cpi.estimators import (
    PolicyPair,
    RestartAdvantages,
    check_untruncated,
    response_advantages,
    weighted_advantages,
)
from reason_env.agents.cpi.interval import advantage_interval, initial_weight
from reason_env.agents.cpi.mixture import Weights, using_weights
from reason_env.agents.cpi.restarts import Restart, draw_restarts, initial_restarts
from reason_env.agents.cpi.step_advantages import step_advantages
from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.methods import CountedServices, Method, ServiceCounts
from reason_env.agents.policy import Judge, JudgeConfig, LanguageModelPolicy, TokenScores
from reason_env.agents.rollout import (
    DrawnStart,
    RolloutBatch,
    Start,
    chosen_starts,
    collect,
    initial_starts,
)
from reason_env.agents.statistics import Interval
from reason_env.env import chooses_problems, reason_env_of
from reason_env.errors import ConfigError
from reason_env.state import ReasonState


class PolicyWithWeights:
    """A policy that loads these weights into its model while it samples or scores."""

    def __init__(self, policy: LanguageModelPolicy, weights: Weights) -> None:
        self.policy, self.weights = policy, weights
        self.codec = policy.codec

    @property
    def policy_version(self) -> int:
        """The version of the wrapped policy."""
        return self.policy.policy_version

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Sample completions with these weights."""
        with using_weights(self.policy.model, self.weights):
            return self.policy.sample(contexts, sampling, seed=seed, stop_ids=stop_ids)

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        sampling: SamplingConfig,
    ) -> list[tuple[float, ...]]:
        """Compute the completions' log-probabilities with these weights."""
        with using_weights(self.policy.model, self.weights):
            return self.policy.score(contexts, completions, sampling)

    def token_scores(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int = 0,
    ) -> list[TokenScores]:
        """Score the completions' tokens with these weights."""
        with using_weights(self.policy.model, self.weights):
            return self.policy.token_scores(
                contexts, completions, temperature=temperature, top_k=top_k
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageEstimate:
    """An estimated advantage or gain, and what the estimate cost."""

    interval: Interval
    """In return; with the estimator `step`, the mean over the H steps."""
    num_restarts: int
    """Restarts with a graded episode."""
    restart_weight: float
    """Weight of mu: 1 - beta; 0 if no start from mu was found."""
    num_tokens: int
    """Generated tokens, including those that found the restarts."""
    asked: ServiceCounts = field(default_factory=ServiceCounts)
    """What the method asked for to find the restarts."""


@dataclass(frozen=True, slots=True)
class _DrawnRestarts:
    """Restarts, and what it took to find them."""

    restarts: list[Restart]
    num_tokens: int
    asked: ServiceCounts


class AdvantageEstimator:
    """Compares two sets of weights of one policy on episodes of the run's environment."""

    def __init__(
        self,
        config: CPIConfig,
        *,
        policy: LanguageModelPolicy,
        method: Method,
        env: gym.Env[Any, Any],
        sampling: SamplingConfig,
        judges: Mapping[JudgeConfig, Judge],
    ) -> None:
        """Keep references to the live objects of a run.

        Raises:
            ConfigError: The estimator cannot use this sampling.
        """
        self.config = config
        self.policy, self.method = policy, method
        self.env, self.sampling = env, sampling
        self.judges = judges
        if config.estimator == "response_weighted":
            check_untruncated(sampling)

    @property
    def horizon(self) -> int:
        """H: the largest number of steps of an episode; 1 if an action is a whole response."""
        if self.config.estimator != "step":
            return 1
        return self.config.horizon or reason_env_of(self.env).rules.max_steps

    def advantage(
        self, old: Weights, new: Weights, *, problem_ids: Sequence[str], beta: float, seed: int
    ) -> AdvantageEstimate:
        """Estimate the policy advantage of `new` over `old` under (1 - beta) mu + beta D.

        Raises:
            ConfigError: A return lies outside [0, max_return], or an episode has more steps than
                the horizon.
            VerifierError: No episode was graded.
        """
        rng = np.random.default_rng(seed)
        pair = self._pair(old, new, self._draw(self.config.num_restarts, problem_ids, rng))
        pair, drawn = self._draw_restarts(pair, beta, rng, problem_ids, seed)
        restarts = drawn.restarts
        # All weight on mu: starts from D only serve if no start from mu was found.
        if beta == 0 and not all(one.is_initial for one in restarts):
            restarts = [one for one in restarts if not one.is_initial]
        found = self._estimate(pair, restarts, _draw_seed(rng))
        self._check_assumptions(found)
        return self._summarize(found, restarts, beta, drawn, scale=1 / self.horizon)

    def realised_gain(
        self,
        old: Weights,
        new: Weights,
        *,
        num_problems: int,
        problem_ids: Sequence[str],
        beta: float,
        seed: int,
    ) -> tuple[AdvantageEstimate, AdvantageEstimate]:
        """Estimate the gain in return of `new` over `old`, from D and from (1 - beta) mu + beta D.

        The two are equal if beta is 1 or `realised_restarts` is off.
        """
        config = self.config
        rng = np.random.default_rng(seed)
        pair = self._pair(old, new, self._draw(num_problems, problem_ids, rng))
        weight = beta if config.realised_restarts else 1.0
        pair, drawn = self._draw_restarts(pair, weight, rng, problem_ids, seed)
        found = response_advantages(
            pair, drawn.restarts, samples=config.realised_samples, seed=_draw_seed(rng)
        )
        self._check_assumptions(found)
        from_initial = self._summarize(found, drawn.restarts, 1.0, drawn)
        return from_initial, self._summarize(found, drawn.restarts, weight, drawn)

    def _pair(self, old: Weights, new: Weights, drawn: Sequence[DrawnStart]) -> PolicyPair:
        return PolicyPair(
            old=PolicyWithWeights(self.policy, old),
            new=PolicyWithWeights(self.policy, new),
            env=self.env,
            sampling=self.sampling,
            drawn=drawn,
        )

    def _draw(
        self, num: int, problem_ids: Sequence[str], rng: np.random.Generator
    ) -> list[DrawnStart]:
        """Draw `num` starts from D."""
        if chooses_problems(self.env):
            return chosen_starts(self.env, num, among=problem_ids, seed=_draw_seed(rng))
        drawn = [problem_ids[int(at)] for at in rng.integers(len(problem_ids), size=num)]
        return initial_starts(self.env, drawn, seed=_draw_seed(rng))

    def _draw_restarts(
        self,
        pair: PolicyPair,
        beta: float,
        rng: np.random.Generator,
        problem_ids: Sequence[str],
        seed: int,
    ) -> tuple[PolicyPair, _DrawnRestarts]:
        """Find the restarts of the drawn starts, and of further ones that the method asks for.

        Returns:
            The pair, with the further starts; the restarts, and what it took to find them.
        """
        states = [start.state for start in pair.drawn]
        if beta == 1:
            return pair, _DrawnRestarts(initial_restarts(states), 0, ServiceCounts())
        drawn = list(pair.drawn)
        # Apart from `rng`: a method that asks for nothing has the same numbers as without services.
        further_rng = np.random.default_rng([seed, 1])

        def draw_further(num: int) -> list[ReasonState]:
            room = max(len(states), len(problem_ids)) - len(drawn)
            further = self._draw(min(num, room), problem_ids, further_rng)
            drawn.extend(further)
            return [start.state for start in further]

        services = CountedServices(
            states,
            draw=draw_further,
            policy=pair.old,
            temperature=self.sampling.temperature,
            judges=self.judges,
            seed=_draw_seed(further_rng),
        )

        def collect_batch(starts: Sequence[Start]) -> RolloutBatch:
            return collect(
                starts,
                env=self.env,
                policy=pair.old,
                sampling=self.sampling,
                seed=_draw_seed(rng),
                drawn=drawn,
            )

        restarts, tokens = draw_restarts(self.method, states, collect_batch, rng, services)
        found = _DrawnRestarts(restarts, tokens, services.counts)
        return replace(pair, drawn=tuple(drawn)), found

    def _estimate(
        self, pair: PolicyPair, restarts: Sequence[Restart], seed: int
    ) -> RestartAdvantages:
        config = self.config
        match config.estimator:
            case "response":
                return response_advantages(pair, restarts, samples=config.samples, seed=seed)
            case "response_weighted":
                return weighted_advantages(pair, restarts, samples=config.samples, seed=seed)
            case "step":
                return step_advantages(
                    pair, restarts, samples=config.samples, seed=seed, roll_in=config.roll_in
                )

    def _summarize(
        self,
        found: RestartAdvantages,
        restarts: Sequence[Restart],
        beta: float,
        drawn: _DrawnRestarts,
        *,
        scale: float = 1.0,
    ) -> AdvantageEstimate:
        known = [
            (value * scale, restart)
            for value, restart in zip(found.values, restarts, strict=True)
            if value is not None
        ]
        is_initial = [restart.is_initial for _, restart in known]
        interval = advantage_interval(
            [value for value, _ in known],
            [restart.draw for _, restart in known],
            is_initial,
            beta=beta,
            confidence=self.config.confidence,
            limit=self.config.max_return,
        )
        return AdvantageEstimate(
            interval=interval,
            num_restarts=len(known),
            restart_weight=1 - initial_weight(is_initial, beta),
            num_tokens=drawn.num_tokens + found.num_tokens,
            asked=drawn.asked,
        )

    def _check_assumptions(self, found: RestartAdvantages) -> None:
        most = self.config.max_return
        wrong = [one for one in found.returns if not 0 <= one <= most]
        if wrong:
            raise ConfigError(
                f"returns must lie in 0..{most!r} for a conservative step, got {wrong[0]!r}; set "
                "max_return, or rewards that are not negative"
            )
        if found.max_steps > self.horizon:
            raise ConfigError(
                f"horizon must be at least the steps of every episode, got {self.horizon} and an "
                f"episode of {found.max_steps}; raise horizon"
            )


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**62))
