"""What a conservative update measures: the policy advantage, and afterwards the realised gain.

Problems are drawn from D with replacement, so that draws are independent and the intervals speak of
D, the training problems as the environment starts them. Everything is sampled through the
environment, with the run's own sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.config import CPIConfig
from reason_env.agents.cpi.estimators import Arms, Sampled, response_advantages, weighted_advantages
from reason_env.agents.cpi.interval import advantage_interval, base_weight
from reason_env.agents.cpi.mixture import Weights, acting_with
from reason_env.agents.cpi.restarts import Restart, base_restarts, drawn_restarts
from reason_env.agents.cpi.step_advantages import step_advantages
from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.methods import Method
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import RolloutBatch, Start, collect, initial_states
from reason_env.agents.statistics import Interval
from reason_env.env import reason_env_of
from reason_env.errors import ConfigError
from reason_env.state import ReasonState


class AtWeights:
    """A policy with other weights: the model has them while it samples or scores."""

    def __init__(self, policy: LanguageModelPolicy, weights: Weights) -> None:
        self.policy, self.weights = policy, weights
        self.codec = policy.codec

    @property
    def policy_version(self) -> int:
        """That of the policy."""
        return self.policy.policy_version

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Returns what the policy samples with these weights."""
        with acting_with(self.policy.model, self.weights):
            return self.policy.sample(contexts, sampling, seed=seed, stop_ids=stop_ids)

    def score(
        self,
        contexts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        sampling: SamplingConfig,
    ) -> list[tuple[float, ...]]:
        """Returns how likely the policy says these are, with these weights."""
        with acting_with(self.policy.model, self.weights):
            return self.policy.score(contexts, completions, sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An advantage or a gain over restarts, and what its measurement took."""

    interval: Interval
    """In return; the mean over the H steps where the estimator is `step`."""
    num_restarts: int
    """Restarts with a graded episode."""
    restart_share: float
    """Weight of mu: 1 - beta; 0 where no start of mu was found."""
    num_tokens: int
    """Generated, those that found the restarts included."""


class Measurement:
    """Measures two sets of weights of one policy against each other."""

    def __init__(
        self,
        config: CPIConfig,
        *,
        policy: LanguageModelPolicy,
        method: Method,
        env: gym.Env[Any, Any],
        sampling: SamplingConfig,
    ) -> None:
        """Takes the live objects of a run, which stay the caller's.

        Raises:
            ConfigError: The sampling does not suit the estimator.
        """
        self.config = config
        self.policy, self.method = policy, method
        self.env, self.sampling = env, sampling
        if config.estimator == "response_weighted" and (sampling.top_p < 1 or sampling.top_k):
            raise ConfigError(
                "estimator 'response_weighted' must have untruncated sampling, got top_p "
                f"{sampling.top_p!r} and top_k {sampling.top_k!r}; use estimator 'response'"
            )

    @property
    def horizon(self) -> int:
        """H: 1 for whole responses; the steps that an episode may have for single steps."""
        if self.config.estimator != "step":
            return 1
        return self.config.horizon or reason_env_of(self.env).rules.max_steps

    def advantage(
        self, old: Weights, new: Weights, *, problem_ids: Sequence[str], beta: float, seed: int
    ) -> Measured:
        """Returns the policy advantage of `new` over `old` under (1 - beta) mu + beta D.

        Raises:
            ConfigError: A return lies outside [0, max_return], or an episode has more steps than
                the horizon.
            VerifierError: No episode was graded.
        """
        rng = np.random.default_rng(seed)
        arms = self._arms(old, new)
        restarts, tokens = self._restarts(arms, self.config.num_restarts, problem_ids, beta, rng)
        found = self._estimate(arms, restarts, _drawn_seed(rng))
        self._check(found)
        return self._measured(found, restarts, beta, tokens, scale=1 / self.horizon)

    def realised(
        self, old: Weights, new: Weights, *, problem_ids: Sequence[str], beta: float, seed: int
    ) -> tuple[Measured, Measured]:
        """Returns the gain in return of `new` over `old`: from D, and from (1 - beta) mu + beta D.

        The second is the first where beta is 1, or where the config does not ask for it.
        """
        config = self.config
        rng = np.random.default_rng(seed)
        arms = self._arms(old, new)
        share = beta if config.realised_restarts else 1.0
        restarts, tokens = self._restarts(
            arms, config.realised_problems, problem_ids, share, rng, keep_base=True
        )
        found = response_advantages(
            arms, restarts, samples=config.realised_samples, seed=_drawn_seed(rng)
        )
        self._check(found)
        from_start = self._measured(found, restarts, 1.0, tokens)
        return from_start, self._measured(found, restarts, share, tokens)

    def _arms(self, old: Weights, new: Weights) -> Arms:
        return Arms(
            old=AtWeights(self.policy, old),
            new=AtWeights(self.policy, new),
            env=self.env,
            sampling=self.sampling,
        )

    def _restarts(
        self,
        arms: Arms,
        num: int,
        problem_ids: Sequence[str],
        beta: float,
        rng: np.random.Generator,
        *,
        keep_base: bool = False,
    ) -> tuple[list[Restart], int]:
        """Returns fresh restarts of `num` draws, and the tokens generated to find them."""
        drawn = [problem_ids[int(at)] for at in rng.integers(len(problem_ids), size=num)]
        states: list[ReasonState] = initial_states(self.env, drawn, seed=_drawn_seed(rng))

        def sample(starts: Sequence[Start]) -> RolloutBatch:
            seed = _drawn_seed(rng)
            return collect(starts, env=self.env, policy=arms.old, sampling=self.sampling, seed=seed)

        if beta == 1:
            return base_restarts(states), 0
        restarts, tokens = drawn_restarts(self.method, states, sample, rng)
        of_mu = [one for one in restarts if not one.is_base]
        return (of_mu if beta == 0 and of_mu and not keep_base else restarts), tokens

    def _estimate(self, arms: Arms, restarts: Sequence[Restart], seed: int) -> Sampled:
        config = self.config
        match config.estimator:
            case "response":
                return response_advantages(arms, restarts, samples=config.samples, seed=seed)
            case "response_weighted":
                return weighted_advantages(arms, restarts, samples=config.samples, seed=seed)
            case "step":
                return step_advantages(
                    arms, restarts, samples=config.samples, seed=seed, roll_in=config.roll_in
                )

    def _measured(
        self,
        found: Sampled,
        restarts: Sequence[Restart],
        beta: float,
        tokens: int,
        *,
        scale: float = 1.0,
    ) -> Measured:
        known = [
            (value * scale, one)
            for value, one in zip(found.values, restarts, strict=True)
            if value is not None
        ]
        is_base = [one.is_base for _, one in known]
        interval = advantage_interval(
            [value for value, _ in known],
            [one.unit for _, one in known],
            is_base,
            beta=beta,
            confidence=self.config.confidence,
            limit=self.config.max_return,
        )
        return Measured(
            interval=interval,
            num_restarts=len(known),
            restart_share=1 - base_weight(is_base, beta),
            num_tokens=tokens + found.num_tokens,
        )

    def _check(self, found: Sampled) -> None:
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


def _drawn_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**62))
