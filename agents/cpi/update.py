"""The conservative update of a language model: propose a candidate, test it, step or reject it.

    pi'    = m optimizer steps of the method's loss on samples of pi, from the current weights
    A      = the policy advantage of pi' under (1 - beta) mu + beta D, on fresh restarts
    accept = the lower limit of A's interval is above 0; else weights and optimizer are restored
    alpha  = tau / (2 R H), tau the lower limit of A per step; or fixed; 1 if all are accepted
    pi     = (1 - alpha) pi + alpha pi', distilled or interpolated

D is the initial-state distribution, uniform over the problems as the environment starts them; mu is
the distribution of the method's other starts. The method's loss is the sampled policy advantage:
samples of pi, ratios pi'/pi. `step_size=1` is the method's update, kept if it passes the test.

`cpi/bound` is `mixture_horizon_gain` at the lower limit of A with the worst case eps = R. It bounds
the gain from (1 - beta) mu + beta D (not from D) of the mixture over whole policies, which
`mixture.py` approximates. With H = 1 (response) it is alpha A. `cpi/realised` is the gain from D of
the final weights on fresh samples; it decides nothing.

Both policies use one model in turns, so the engine must sample with the model's weights at the
call. Not covered: wrappers with a memory (a curriculum also counts the episodes of the test).

Source: Kakade and Langford 2002, section 4; Vieillard et al. 2019, arXiv 1906.09784 (Deep CPI). The
interval instead of their eps / 3, and the step size for a horizon, are our choice.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi.config import CPIConfig
from reason_env.agents.cpi.measure import AdvantageEstimate, AdvantageEstimator
from reason_env.agents.cpi.mixture import (
    Distiller,
    DistillReport,
    Weights,
    copy_weights,
    interpolate,
    load_weights,
)
from reason_env.agents.cpi.restarts import INITIAL_ROLES
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.learning import Learner, UpdateReport
from reason_env.agents.methods import Method
from reason_env.agents.metrics import Number
from reason_env.agents.policy import Judge, JudgeConfig, LanguageModelPolicy
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.statistics import Interval
from reason_env.agents.tabular.exact import mixture_horizon_gain, random_reset_step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a candidate is accepted, and the step towards it."""

    is_accepted: bool
    step_size: float
    """alpha; 0 if the candidate is rejected."""
    bound: float | None
    """Lower bound on the gain in return from the restarts; None if no theorem covers the
    estimator."""


REJECTED = Decision(is_accepted=False, step_size=0.0, bound=None)


def decide(advantage: Interval, config: CPIConfig, horizon: int) -> Decision:
    """Accept or reject a candidate with this policy advantage, and choose the step size.

    tau 0.1 over 5 steps: alpha = 0.1 / (2 * 1 * 5)

    >>> decide(Interval(0.2, 0.1, 0.3), CPIConfig(estimator="step"), 5).step_size
    0.01
    >>> decide(Interval(0.2, 0.0, 0.4), CPIConfig(), 1).is_accepted
    False
    """
    tested = advantage.estimate if config.accept == "positive" else advantage.low
    if config.accept != "always" and not tested > 0:
        return REJECTED
    step_size = config.step_size
    if step_size is None and config.accept == "always":
        # Without a test tau may be negative, and then the formula would undo the update.
        step_size = 1.0
    elif step_size is None:
        step_size = random_reset_step_size(
            policy_advantage=tested, max_return=config.max_return, horizon=horizon
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
    """Replaces the learner's update in a run; keeps no state between iterations."""

    def __init__(
        self,
        config: CPIConfig,
        *,
        policy: LanguageModelPolicy,
        learner: Learner,
        method: Method,
        env: gym.Env[Any, Any],
        sampling: SamplingConfig,
        judges: Mapping[JudgeConfig, Judge] | None = None,
    ) -> None:
        """Keep references to the live objects of a run.

        Raises:
            ConfigError: The estimator cannot use this sampling.
        """
        self.config = config
        self.policy, self.learner, self.method = policy, learner, method
        self.temperature = sampling.temperature
        self.estimator = AdvantageEstimator(
            config,
            policy=policy,
            method=method,
            env=env,
            sampling=sampling,
            judges=judges or {},
        )

    def update(
        self,
        samples: Sequence[TrainingSample],
        rng: np.random.Generator,
        *,
        problem_ids: Sequence[str],
        seed: int,
        run_share: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[UpdateReport, dict[str, Number]]:
        """Train a candidate on the samples, and move the policy towards it if the test accepts it.

        Args:
            samples: The method's, collected with the current policy; at least one.
            rng: Splits the samples, as in `Learner.update`.
            problem_ids: D is uniform over these problems.
            seed: Determines the restarts, the episodes of the test and the distillation.
            run_share: As in `Learner.update`.

        Returns:
            The report of the candidate's update, and the `cpi/` metrics.

        Raises:
            ConfigError, VerifierError: As `AdvantageEstimator.advantage`.
            TrainingError: As `Learner.update` and `Distiller.fit`. After any error, weights,
                optimizer and policy version are those from before the call.
        """
        seeds = [int(one) for one in np.random.SeedSequence(seed).generate_state(3, np.uint64)]
        advantage_seed, distill_seed, gain_seed = seeds
        model, beta = self.policy.model, self.config.beta
        scaled = scale_advantages(samples, self.method, beta)
        if beta is None:
            beta = initial_fraction(samples, self.method)

        old = copy_weights(model)
        distillation = None
        with ExitStack() as undo:
            # Undone unless the candidate is accepted: if it is rejected, and after any error.
            undo.callback(self._restore, old, self._state())
            report = self.learner.update(scaled, rng, run_share=run_share)
            new = copy_weights(model)
            # The old policy, until the candidate is accepted.
            load_weights(model, old)
            advantage, decision = None, REJECTED
            if report.num_updates:
                advantage = self.estimator.advantage(
                    old, new, problem_ids=problem_ids, beta=beta, seed=advantage_seed
                )
                decision = decide(advantage.interval, self.config, self.estimator.horizon)
            if decision.step_size > 0:
                distillation = self._step(samples, old, new, decision.step_size, distill_seed)
                undo.pop_all()
        return report, {
            **_advantage_metrics(advantage),
            "cpi/accepted": int(decision.is_accepted),
            "cpi/alpha": decision.step_size,
            "cpi/bound": decision.bound,
            "cpi/kl_mixture": None if distillation is None else distillation.kl,
            "cpi/kl_interpolated": None if distillation is None else distillation.kl_interpolated,
            **self._gain_metrics(old, decision, problem_ids, beta, gain_seed),
            **(
                self._rejected_metrics(old, new, problem_ids, gain_seed)
                if report.num_updates and not decision.is_accepted
                else {}
            ),
        }

    def _state(self) -> tuple[dict[str, Any], int]:
        return copy.deepcopy(self.learner.state_dict()), self.policy.policy_version

    def _restore(self, weights: Weights, state: tuple[dict[str, Any], int]) -> None:
        """Put back the weights, and the optimizer and policy version that `_state` returned."""
        learner_state, version = state
        load_weights(self.policy.model, weights)
        # Of the candidate: a run whose updates are not finite must stop, although none is kept.
        num_nonfinite = self.learner.num_nonfinite_in_a_row
        self.learner.load_state_dict(learner_state)
        self.learner.num_nonfinite_in_a_row = num_nonfinite
        self.policy.mark_updated(version)

    def _step(
        self,
        samples: Sequence[TrainingSample],
        old: Weights,
        new: Weights,
        step_size: float,
        seed: int,
    ) -> DistillReport | None:
        """Set the policy to the mixture; the optimizer keeps the state of the candidate's steps."""
        if step_size == 1 or self.config.mixture == "interpolate":
            load_weights(self.policy.model, interpolate(old, new, step_size))
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

    def _gain_metrics(
        self,
        old: Weights,
        decision: Decision,
        problem_ids: Sequence[str],
        beta: float,
        seed: int,
    ) -> dict[str, Number]:
        """Measure the gain of the current policy over `old`."""
        if not self.config.realised_problems:
            return {}
        if decision.step_size == 0:
            # Equal weights: the gain is 0 without sampling.
            gain = restarts_gain = Interval(0.0, 0.0, 0.0)
            num_tokens = 0
        else:
            initial, restarts = self.estimator.realised_gain(
                old,
                copy_weights(self.policy.model),
                num_problems=self.config.realised_problems,
                problem_ids=problem_ids,
                beta=beta,
                seed=seed,
            )
            gain, restarts_gain = initial.interval, restarts.interval
            num_tokens = initial.num_tokens
        metrics: dict[str, Number] = {
            **_interval_metrics("cpi/realised", gain),
            "cpi/tokens_realised": num_tokens,
        }
        if self.config.realised_restarts:
            metrics |= _interval_metrics("cpi/realised_restarts", restarts_gain)
        return metrics

    def _rejected_metrics(
        self,
        old: Weights,
        new: Weights,
        problem_ids: Sequence[str],
        seed: int,
    ) -> dict[str, Number]:
        """Measure what a rejected candidate would have gained over `old`."""
        num = self.config.rejected_problems
        if not num:
            return {}
        gain, _ = self.estimator.realised_gain(
            old, new, num_problems=num, problem_ids=problem_ids, beta=1.0, seed=seed
        )
        return {
            **_interval_metrics("cpi/rejected", gain.interval),
            "cpi/tokens_rejected": gain.num_tokens,
        }


def initial_fraction(samples: Sequence[TrainingSample], method: Method) -> float:
    """Compute the fraction of a method's samples that start in D; 1 without samples."""
    counted = [sample for sample in samples if not _has_separate_loss(sample, method)]
    if not counted:
        return 1.0
    return sum(sample.role in INITIAL_ROLES for sample in counted) / len(counted)


def scale_advantages(
    samples: Sequence[TrainingSample], method: Method, beta: float | None
) -> list[TrainingSample]:
    """Scale the advantages so that samples from D weigh beta and samples from mu 1 - beta.

    Every loss is linear in a positive factor of the advantage, so the gradient is the mixture's.
    Samples with a separate loss (ExPO's likelihood) have no policy advantage and keep their weight.
    Nothing is scaled if beta is None or if all samples are from D or all from mu.
    """
    fraction = initial_fraction(samples, method)
    if beta is None or fraction in (0.0, 1.0):
        return list(samples)
    factors = {True: beta / fraction, False: (1 - beta) / (1 - fraction)}
    return [
        sample
        if _has_separate_loss(sample, method)
        else sample.scaled(factors[sample.role in INITIAL_ROLES])
        for sample in samples
    ]


def _has_separate_loss(sample: TrainingSample, method: Method) -> bool:
    loss = method.role_losses.get(sample.role)
    return loss is not None and loss.separate_normaliser


def _advantage_metrics(advantage: AdvantageEstimate | None) -> dict[str, Number]:
    if advantage is None:
        return {"cpi/tokens_advantage": 0}
    return {
        **_interval_metrics("cpi/advantage", advantage.interval),
        "cpi/num_restarts": advantage.num_restarts,
        "cpi/restart_share": advantage.restart_weight,
        "cpi/tokens_advantage": advantage.num_tokens,
        **advantage.asked.metrics("cpi"),
    }


def _interval_metrics(name: str, interval: Interval) -> dict[str, Number]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
