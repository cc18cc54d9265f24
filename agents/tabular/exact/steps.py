"""Step-size rules of CPI, CPI+, CPI(alpha) and safe policy iteration.

A rule takes an evaluation, exact or sampled; its guarantee holds as far as the evaluation is right.

Axes: S states, A actions.
"""

from collections.abc import Callable

import numpy as np

from reason_env.agents.tabular.exact import bounds
from reason_env.agents.tabular.exact.critic import Critic, ExactCritic
from reason_env.agents.tabular.exact.mdp import (
    Array,
    Evaluation,
    TabularMDP,
    check_step_size,
    mix,
    performance,
    policy_advantage,
)

StepRule = Callable[[TabularMDP, Evaluation, Array], tuple[float, float]]
"""(mdp, evaluation, candidate) -> (step size, guaranteed gain)."""


def kakade_langford_step(
    mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array
) -> tuple[float, float]:
    """Compute CPI's step and gain. Source: Kakade and Langford 2002, Corollary 4.2."""
    return _conservative(mdp, policy_advantage(evaluation, candidate_SA))


def cautious_step(error: float) -> StepRule:
    """Build CPI's rule for an estimated advantage; it subtracts `error` from the advantage first.

    Source: Kakade and Langford 2002, section 4 (the algorithm), with a third of the accuracy.
    """

    def rule(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
        return _conservative(mdp, policy_advantage(evaluation, candidate_SA) - error)

    return rule


def _conservative(mdp: TabularMDP, advantage: float) -> tuple[float, float]:
    reward = mdp.max_reward
    step = bounds.cpi_step_size(
        policy_advantage=advantage, max_reward=reward, discount=mdp.discount
    )
    return step, bounds.cpi_gain(policy_advantage=advantage, max_reward=reward)


def safe_step(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
    """Compute step and gain of unique-parameter safe policy iteration. Source: Pirotta 2013."""
    advantage_S = (candidate_SA * evaluation.advantage_SA).sum(-1)
    figures = {
        "policy_advantage": policy_advantage(evaluation, candidate_SA),
        "policy_distance": float(np.abs(candidate_SA - evaluation.policy_SA).sum(-1).max()),
        "advantage_range": float(np.ptp(advantage_S)),
        "discount": mdp.discount,
    }
    step = bounds.safe_step_size(**figures)
    return step, bounds.safe_gain(step_size=step, **figures)


def line_search(critic: Critic) -> StepRule:
    """Build CPI+'s rule: the best of the steps 1, 1/2, ..., 1/1024 from mu, or 0 if none gains.

    The critic measures the gain. With samples it is an estimate, biased upwards by the maximum.
    """

    def rule(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
        steps = [0.0, *(2.0**-power for power in range(11))]
        mixtures = [mix(evaluation.policy_SA, candidate_SA, step) for step in steps]
        values = critic.performances(mdp, mixtures, evaluation.restart_S)
        best = int(np.argmax(values))
        return steps[best], values[best] - values[0]

    return rule


line_search_step = line_search(ExactCritic())
"""CPI+ with exact values."""


def doubling_step(
    mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array
) -> tuple[float, float]:
    """Search the best of CPI's own step times 1, 2, 4, ..., with exact values.

    Source: Scherrer 2014 (arXiv 1405.2878), footnote 6.
    """
    step, gain = kakade_langford_step(mdp, evaluation, candidate_SA)
    if step == 0.0:
        return 0.0, 0.0
    steps = [0.0]
    while step <= 1.0:
        steps.append(step)
        step *= 2
    values = [
        performance(mdp, mix(evaluation.policy_SA, candidate_SA, one), evaluation.restart_S)
        for one in steps
    ]
    best = int(np.argmax(values))
    return steps[best], max(gain, values[best] - values[0])


def fixed_step(step_size: float) -> StepRule:
    """Build the rule of CPI(alpha), which always takes the same step and guarantees no gain."""
    check_step_size(step_size)

    def rule(mdp: TabularMDP, evaluation: Evaluation, candidate_SA: Array) -> tuple[float, float]:
        return step_size, -np.inf

    return rule
