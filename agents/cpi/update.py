"""The conservative update of a language model: propose, measure afresh, step, or put back.

    pi'    = m optimizer steps of the method's loss on samples of pi, from the current weights
    A      = the policy advantage of pi' under (1 - beta) mu + beta D, on fresh restarts
    accept = the lower limit of A's interval is above 0; else weights and optimizer are put back
    alpha  = tau / (2 R H), tau the lower limit of A per step; or fixed
    pi     = (1 - alpha) pi + alpha pi', distilled or interpolated

The method's loss is the sampled policy advantage: samples of pi, ratios pi'/pi. `step_size=1`
is the method's own update behind an acceptance test.

What is promised: `cpi/bound`, `bounds.mixture_horizon_gain` with the lower limit and the worst
eps = R, is a gain from (1 - beta) mu + beta D, not from D, and of the mixture over whole policies
that `mixture.py` only approximates. With H = 1 (response) it is alpha A. `cpi/realised` is the gain
from D, of the weights that were kept, on fresh samples; it decides nothing.

The two policies take turns in one model: the engine must sample with the model's weights as they
are at the call. Not covered: wrappers that remember (a curriculum sees measured episodes too).

Source: Kakade and Langford 2002, section 4; Vieillard et al. 2019, arXiv 1906.09784 (Deep CPI). The
interval in place of their eps / 3, and the horizon's step size, are ours.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.config import CPIConfig
from reason_env.agents.cpi.measure import Measured, Measurement
from reason_env.agents.cpi.mixture import (
    Distilled,
    Distiller,
    Weights,
    copied_weights,
    interpolated,
    load_weights,
)
from reason_env.agents.cpi.restarts import BASE_ROLES
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.learning import Learner, UpdateReport
from reason_env.agents.methods import Method
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.statistics import Interval
from reason_env.agents.tabular.exact import mixture_horizon_gain, random_reset_step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a candidate."""

    is_accepted: bool
    step_size: float
    """0 if rejected."""
    bound: float | None
    """Promised gain in return from the restarts; None where no theorem covers the estimator."""


def decide(advantage: Interval, config: CPIConfig, horizon: int) -> Decision:
    """Returns whether a candidate with this policy advantage is taken, and how far.

    Tau 0.1 over 5 steps: alpha = 0.1 / (2 * 1 * 5)

    >>> decide(Interval(0.2, 0.1, 0.3), CPIConfig(estimator="step"), 5).step_size
    0.01
    >>> decide(Interval(0.2, 0.0, 0.4), CPIConfig(), 1).is_accepted
    False
    """
    trusted = advantage.estimate if config.accept == "positive" else advantage.low
    if config.accept != "always" and not trusted > 0:
        return Decision(is_accepted=False, step_size=0.0, bound=None)
    step_size = config.step_size
    if step_size is None:
        step_size = random_reset_step_size(
            policy_advantage=trusted, max_return=config.max_return, horizon=horizon
        )
    bound = mixture_horizon_gain(
        step_size=step_size,
        policy_advantage=advantage.low,
        max_advantage=config.max_return,
        horizon=horizon,
    )
    has_theorem = config.estimator != "step" or config.roll_in
    return Decision(is_accepted=True, step_size=step_size, bound=bound if has_theorem else None)


class ConservativeUpdate:
    """Wraps the learner's update; remembers nothing between iterations."""

    def __init__(
        self,
        config: CPIConfig,
        *,
        policy: LanguageModelPolicy,
        learner: Learner,
        method: Method,
        env: gym.Env[Any, Any],
        sampling: SamplingConfig,
    ) -> None:
        """Takes the live objects of a run, which stay the caller's.

        Raises:
            ConfigError: The sampling does not suit the estimator.
        """
        self.config = config
        self.policy, self.learner, self.method = policy, learner, method
        self.temperature = sampling.temperature
        self.measurement = Measurement(
            config, policy=policy, method=method, env=env, sampling=sampling
        )

    def update(
        self,
        samples: Sequence[TrainingSample],
        rng: np.random.Generator,
        *,
        problem_ids: Sequence[str],
        seed: int,
    ) -> tuple[UpdateReport, dict[str, Number]]:
        """Makes a candidate of these samples and leaves the policy as the test decides.

        Args:
            samples: The method's, collected with the policy as it is; at least one.
            rng: Splits the samples, as `Learner.update` does.
            problem_ids: D is uniform over these.
            seed: Decides all that is measured and distilled.

        Returns:
            The candidate's update, and the `cpi/` metrics.

        Raises:
            ConfigError, VerifierError: As `Measurement.advantage`; the weights are then as before.
            TrainingError: As `Learner.update`.
        """
        seeds = [int(one) for one in np.random.SeedSequence(seed).generate_state(3, np.uint64)]
        old, memory = copied_weights(self.policy.model), copy.deepcopy(self.learner.state_dict())
        version = self.policy.policy_version
        beta = base_share(samples, self.method) if self.config.beta is None else self.config.beta
        weighted = reweighted(samples, self.method, self.config.beta)
        report = self.learner.update(weighted, rng)
        new = copied_weights(self.policy.model)
        # The old policy until the test is passed, whatever happens on the way.
        load_weights(self.policy.model, old)
        measured = None
        decision = Decision(is_accepted=False, step_size=0.0, bound=None)
        if report.num_updates:
            measured = self.measurement.advantage(
                old, new, problem_ids=problem_ids, beta=beta, seed=seeds[0]
            )
            decision = decide(measured.interval, self.config, self.measurement.horizon)
        distilled = None
        if decision.step_size > 0:
            distilled = self._step(samples, old, new, decision.step_size, seeds[1])
        else:
            self.learner.load_state_dict(memory)
            self.policy.mark_updated(version)
        metrics = {
            **_measured_metrics(measured),
            "cpi/accepted": int(decision.is_accepted),
            "cpi/alpha": decision.step_size,
            "cpi/bound": decision.bound,
            "cpi/kl_mixture": None if distilled is None else distilled.kl,
            "cpi/kl_interpolated": None if distilled is None else distilled.kl_interpolated,
            **self._realised(old, decision, problem_ids, beta, seeds[2]),
        }
        return report, metrics

    def _step(
        self,
        samples: Sequence[TrainingSample],
        old: Weights,
        new: Weights,
        step_size: float,
        seed: int,
    ) -> Distilled | None:
        """Leaves the mixture in the policy; the optimizer goes on from the candidate's steps."""
        if step_size == 1 or self.config.mixture == "interpolate":
            load_weights(self.policy.model, interpolated(old, new, step_size))
            return None
        distiller = Distiller(
            self.policy,
            samples,
            old=old,
            new=new,
            step_size=step_size,
            level="step" if self.config.estimator == "step" else "response",
            temperature=self.temperature,
            micro_batch_tokens=self.learner.config.micro_batch_tokens,
        )
        return distiller.fit(self.config.distill, np.random.default_rng(seed))

    def _realised(
        self,
        old: Weights,
        decision: Decision,
        problem_ids: Sequence[str],
        beta: float,
        seed: int,
    ) -> dict[str, Number]:
        """Returns the gain of the policy as it is now over `old`."""
        if not self.config.realised_problems:
            return {}
        if decision.step_size == 0:
            # The same weights: nothing to sample.
            start = restarts = Interval(0.0, 0.0, 0.0)
            num_tokens = 0
        else:
            now = copied_weights(self.policy.model)
            found, from_restarts = self.measurement.realised(
                old, now, problem_ids=problem_ids, beta=beta, seed=seed
            )
            start, restarts, num_tokens = (
                found.interval,
                from_restarts.interval,
                found.num_tokens,
            )
        metrics: dict[str, Number] = {
            **_interval_metrics("cpi/realised", start),
            "cpi/tokens_realised": num_tokens,
        }
        if self.config.realised_restarts:
            metrics |= _interval_metrics("cpi/realised_restarts", restarts)
        return metrics


def base_share(samples: Sequence[TrainingSample], method: Method) -> float:
    """Returns the share of D among a method's training samples; 1 if there are none."""
    own = [sample for sample in samples if not _is_auxiliary(sample, method)]
    return sum(sample.role in BASE_ROLES for sample in own) / len(own) if own else 1.0


def reweighted(
    samples: Sequence[TrainingSample], method: Method, beta: float | None
) -> list[TrainingSample]:
    """Returns the samples with advantages scaled so that D weighs beta, and mu 1 - beta.

    Every loss is linear in a positive factor of the advantage, so this is the mixture's gradient.
    Terms that are no policy advantage (ExPO's likelihood) keep their weight. Nothing is scaled for
    a beta of None, or where one of the two has no sample.
    """
    share = base_share(samples, method)
    if beta is None or share in (0.0, 1.0):
        return list(samples)
    factors = {True: beta / share, False: (1 - beta) / (1 - share)}
    return [
        sample
        if _is_auxiliary(sample, method)
        else replace(sample, advantage=sample.advantage * factors[sample.role in BASE_ROLES])
        for sample in samples
    ]


def _is_auxiliary(sample: TrainingSample, method: Method) -> bool:
    loss = method.role_losses.get(sample.role)
    return loss is not None and loss.separate_normaliser


def _measured_metrics(measured: Measured | None) -> dict[str, Number]:
    if measured is None:
        return {"cpi/tokens_advantage": 0}
    return {
        **_interval_metrics("cpi/advantage", measured.interval),
        "cpi/num_restarts": measured.num_restarts,
        "cpi/restart_share": measured.restart_share,
        "cpi/tokens_advantage": measured.num_tokens,
    }


def _interval_metrics(name: str, interval: Interval) -> dict[str, Number]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
