"""Improvement by resets with a horizon: CPI-RR, CPI-CARO, and PSDP as a reverse curriculum.

The two conservative steps differ in one thing. Random resets (RR) know only that a step is one of
the chain's: the candidate is greedy everywhere, and its advantage is diluted by the steps where
nothing can be gained. The credit-assignment oracle (CARO) says where something can be gained, and
its step size does not shrink with how rare that is.

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
    """One conservative step, what it promised and what it brought."""

    policy_HSA: Array
    step_size: float
    guaranteed_gain: float
    """Lower bound on the gain in return from the start distribution."""
    realised_gain: float
    coverage: float
    """p: chance that a uniformly drawn step of the old policy is improvable."""


def random_reset_step(
    mdp: TabularMDP, policy_HSA: Array, *, threshold: float, max_return: float = 1.0
) -> ResetStep:
    """Returns CPI-RR's step: greedy everywhere, `alpha = Abar / (2 R H)`."""
    old = finite.evaluate(mdp, policy_HSA)
    candidate_HSA = finite.everywhere_candidate(old)
    advantage = finite.policy_advantage(old, candidate_HSA)
    step_size = bounds.random_reset_step_size(
        policy_advantage=advantage, max_return=max_return, horizon=len(old.policy_HSA)
    )
    gain = bounds.random_reset_gain(policy_advantage=advantage, max_return=max_return)
    new = _mixed(mdp, old, candidate_HSA, step_size)
    return ResetStep(
        policy_HSA=new.policy_HSA,
        step_size=step_size,
        guaranteed_gain=gain,
        realised_gain=new.performance - old.performance,
        coverage=finite.improvable_coverage(old, threshold),
    )


def oracle_reset_step(
    mdp: TabularMDP, policy_HSA: Array, *, threshold: float, max_return: float = 1.0
) -> ResetStep:
    """Returns CPI-CARO's step: greedy where it gains `threshold`, `alpha = tau / (2 R H)`."""
    old = finite.evaluate(mdp, policy_HSA)
    candidate_HSA = finite.oracle_candidate(old, threshold)
    step_size = bounds.oracle_reset_step_size(
        threshold=threshold, max_return=max_return, horizon=len(old.policy_HSA)
    )
    coverage = finite.improvable_coverage(old, threshold)
    gain = bounds.oracle_reset_gain(coverage=coverage, threshold=threshold, max_return=max_return)
    new = _mixed(mdp, old, candidate_HSA, step_size)
    return ResetStep(
        policy_HSA=new.policy_HSA,
        step_size=step_size,
        guaranteed_gain=gain,
        realised_gain=new.performance - old.performance,
        coverage=finite.improvable_coverage(old, threshold),
    )


def _mixed(
    mdp: TabularMDP, old: finite.HorizonEvaluation, candidate_HSA: Array, step_size: float
) -> finite.HorizonEvaluation:
    return finite.evaluate(mdp, mix(old.policy_HSA, candidate_HSA, step_size))


def budgeted_gain(mdp: TabularMDP, policy_HSA: Array, visits_HS: Array, budget: float) -> float:
    """Returns the gain in return when each state moves towards greedy as often as it is met.

    The weight of a state is `budget * visits / occupancy`, at most 1: equal budgets spend equally
    many visits, wherever they are.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The policy.
        visits_HS: Where the samples are; only their proportions count.
        budget: Visits to spend, as a fraction of an episode's.
    """
    old = finite.evaluate(mdp, policy_HSA)
    share_HS = visits_HS / visits_HS.sum()
    weight_HS = np.divide(
        budget * share_HS, old.occupancy_HS, out=np.zeros_like(share_HS), where=share_HS > 0
    )
    # Rare states may be met more often than the policy meets them, and need no more than all.
    weight_HS1 = weight_HS.clip(max=1.0)[:, :, None]
    new_HSA = (1 - weight_HS1) * old.policy_HSA + weight_HS1 * finite.everywhere_candidate(old)
    return finite.evaluate(mdp, new_HSA).performance - old.performance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchStep:
    """PSDP after one more step of the chain is chosen, from the last to the first."""

    step: int
    """The step h whose policy was chosen last; h and all later steps are done."""
    policy_HSA: Array
    performance: float
    """Return from the start distribution, the old policy acting before step h."""


def reverse_policy_search(
    mdp: TabularMDP, policy_HSA: Array, restart_HS: Array
) -> Iterator[SearchStep]:
    """Yields PSDP's policies: step H - 1 first, each chosen for what was chosen after it.

    That is a reverse curriculum: the last step of a solution is learned first, then the one before
    with a policy that already finishes. In a state that mu_h misses, the old policy stays.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The old policy.
        restart_HS: mu_h of each step, up to a factor; a row may be 0 where nothing is learned.

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
    """Returns `bounds.search_gap` of a policy: infinite where mu misses an optimal state."""
    evaluation = finite.evaluate(mdp, policy_HSA)
    optimal_HS = finite.occupancy(mdp, finite.optimal_policy(mdp), mdp.start_S)
    error_HS = evaluation.advantage_HSA.max(-1)
    return bounds.search_gap(
        mismatches=[mismatch(*pair) for pair in zip(optimal_HS, restart_HS, strict=True)],
        errors=[float(error) for error in (restart_HS * error_HS).sum(-1)],
    )
