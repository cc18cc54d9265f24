"""Improvement by resets with a horizon: CPI-RR, CPI-CARO, and PSDP as a reverse curriculum.

The two conservative steps differ in the candidate. With random resets (RR) the candidate is greedy
everywhere, and steps without a possible gain dilute its policy advantage. With a credit-assignment
oracle (CARO) the candidate is greedy only in improvable states, and the step size does not shrink
when such states are rare.

Axes: H steps, S states, A actions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact import bounds
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, greedy, mismatch, mix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResetStep:
    """A conservative step with its guaranteed and its realised gain."""

    policy_HSA: Array
    step_size: float
    guaranteed_gain: float
    """Lower bound on the gain in return from the start distribution."""
    realised_gain: float
    coverage: float
    """p: probability that a uniformly drawn step of the old policy is improvable."""


def random_reset_step(
    mdp: TabularMDP, policy_HSA: Array, *, threshold: float, max_return: float = 1.0
) -> ResetStep:
    """Take CPI-RR's step: a candidate that is greedy everywhere, `alpha = Abar / (2 R H)`."""
    old = finite.evaluate(mdp, policy_HSA)
    candidate_HSA = finite.everywhere_candidate(old)
    advantage = finite.policy_advantage(old, candidate_HSA)
    step_size = bounds.random_reset_step_size(
        policy_advantage=advantage, max_return=max_return, horizon=len(old.policy_HSA)
    )
    gain = bounds.random_reset_gain(policy_advantage=advantage, max_return=max_return)
    coverage = finite.improvable_coverage(old, threshold)
    return _reset_step(
        mdp, old, candidate_HSA, step_size=step_size, guaranteed_gain=gain, coverage=coverage
    )


def oracle_reset_step(
    mdp: TabularMDP, policy_HSA: Array, *, threshold: float, max_return: float = 1.0
) -> ResetStep:
    """Take CPI-CARO's step: greedy in improvable states only, `alpha = tau / (2 R H)`."""
    old = finite.evaluate(mdp, policy_HSA)
    candidate_HSA = finite.oracle_candidate(old, threshold)
    step_size = bounds.oracle_reset_step_size(
        threshold=threshold, max_return=max_return, horizon=len(old.policy_HSA)
    )
    coverage = finite.improvable_coverage(old, threshold)
    gain = bounds.oracle_reset_gain(coverage=coverage, threshold=threshold, max_return=max_return)
    return _reset_step(
        mdp, old, candidate_HSA, step_size=step_size, guaranteed_gain=gain, coverage=coverage
    )


def _reset_step(
    mdp: TabularMDP,
    old: finite.HorizonEvaluation,
    candidate_HSA: Array,
    *,
    step_size: float,
    guaranteed_gain: float,
    coverage: float,
) -> ResetStep:
    new = finite.evaluate(mdp, mix(old.policy_HSA, candidate_HSA, step_size))
    return ResetStep(
        policy_HSA=new.policy_HSA,
        step_size=step_size,
        guaranteed_gain=guaranteed_gain,
        realised_gain=new.performance - old.performance,
        coverage=coverage,
    )


def budgeted_gain(mdp: TabularMDP, policy_HSA: Array, visits_HS: Array, budget: float) -> float:
    """Compute the gain in return if each state moves towards greedy in proportion to its visits.

    The weight of a state is `budget * visits / occupancy`, at most 1. Equal budgets thus spend the
    same number of visits, wherever these are.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The policy.
        visits_HS: Visits to each step and state; only their proportions matter.
        budget: Visits to spend, as a fraction of an episode's visits.
    """
    old = finite.evaluate(mdp, policy_HSA)
    share_HS = visits_HS / visits_HS.sum()
    weight_HS = np.divide(
        budget * share_HS, old.occupancy_HS, out=np.zeros_like(share_HS), where=share_HS > 0
    )
    # Visits may exceed the occupancy of a rare state, but the weight of its mixture is at most 1.
    weight_HS1 = weight_HS.clip(max=1.0)[:, :, None]
    new_HSA = (1 - weight_HS1) * old.policy_HSA + weight_HS1 * finite.everywhere_candidate(old)
    return finite.evaluate(mdp, new_HSA).performance - old.performance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchStep:
    """PSDP after choosing the policy of one more step; it goes from the last step to the first."""

    step: int
    """The step h whose policy was chosen last; h and all later steps are fixed."""
    policy_HSA: Array
    performance: float
    """Return from the start distribution, with the old policy acting before step h."""


def reverse_policy_search(
    mdp: TabularMDP, policy_HSA: Array, restart_HS: Array
) -> Iterator[SearchStep]:
    """Yield PSDP's policies; choose step H - 1 first, each step greedy for the later steps.

    This is a reverse curriculum: learn the last step of a solution first, then the one before it
    with a policy that already finishes. In states that mu_h misses, the old policy stays.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The old policy.
        restart_HS: mu_h of each step, up to a factor; a row of zeros learns nothing at its step.

    Source: Bagnell, Kakade, Ng and Schneider 2003.
    """
    chosen_HSA = finite.checked_policy(mdp, policy_HSA).copy()
    value_S = np.zeros(mdp.num_states)
    for step in reversed(range(len(chosen_HSA))):
        q_SA = mdp.reward_SA + mdp.transition_SAS @ value_S
        is_met_S = restart_HS[step] > 0
        if is_met_S.any():
            chosen_HSA[step] = np.where(is_met_S[:, None], greedy(q_SA), chosen_HSA[step])
        value_S = (chosen_HSA[step] * q_SA).sum(-1)
        performance = finite.evaluate(mdp, chosen_HSA).performance
        yield SearchStep(step=step, policy_HSA=chosen_HSA.copy(), performance=performance)


def search_gap_bound(mdp: TabularMDP, policy_HSA: Array, restart_HS: Array) -> float:
    """Compute `bounds.search_gap` of a policy; infinite if mu misses an optimal state."""
    evaluation = finite.evaluate(mdp, policy_HSA)
    optimal_HS = finite.occupancy(mdp, finite.optimal_policy(mdp), mdp.start_S)
    error_HS = evaluation.advantage_HSA.max(-1)
    return bounds.search_gap(
        mismatches=[mismatch(*pair) for pair in zip(optimal_HS, restart_HS, strict=True)],
        errors=[float(error) for error in (restart_HS * error_HS).sum(-1)],
    )
