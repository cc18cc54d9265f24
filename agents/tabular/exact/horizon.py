"""Exact values of an undiscounted MDP with a horizon; same names as in `mdp.py`, with a step axis.

A policy may differ from step to step, [H, S, A]. The return is the sum of H rewards; the bounds in
R require a return in `[0, R]`, as for a graded answer. "Mean" averages over the H steps, that is
over the state at a uniformly drawn step, which a random reset draws.

The module also has the two candidates of the reset papers: greedy at every step (random resets), or
only where an oracle finds an improvement (credit assignment).

Axes: H steps, S states, A actions.
"""

from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, check_threshold, greedy
from reason_env.errors import ConfigError, shown
from reason_env.tabular import check_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HorizonEvaluation:
    """Values, advantages and occupancies of one policy of a finite-horizon MDP."""

    policy_HSA: Array
    value_HS: Array
    """Expected sum of rewards from step h on."""
    action_value_HSA: Array
    advantage_HSA: Array
    occupancy_HS: Array
    """Probability of each state at step h; every row sums to 1."""
    performance: float
    """Expected return from the start distribution."""


def evaluate(mdp: TabularMDP, policy_HSA: Array, start_S: Array | None = None) -> HorizonEvaluation:
    """Compute values by backward induction and occupancies by forward recursion.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The policy; [S, A] is used for every step.
        start_S: Distribution of the first state; the MDP's start distribution if None.
    """
    policy_HSA = checked_policy(mdp, policy_HSA)
    num_steps = len(policy_HSA)
    value_S = np.zeros(mdp.num_states)
    value_HS = np.empty((num_steps, mdp.num_states))
    q_HSA = np.empty(policy_HSA.shape)
    for step in reversed(range(num_steps)):
        q_HSA[step] = mdp.reward_SA + mdp.transition_SAS @ value_S
        value_HS[step] = value_S = (policy_HSA[step] * q_HSA[step]).sum(-1)
    start_S = mdp.start_S if start_S is None else start_S
    check_rows("start_S", start_S)
    return HorizonEvaluation(
        policy_HSA=policy_HSA,
        value_HS=value_HS,
        action_value_HSA=q_HSA,
        advantage_HSA=q_HSA - value_HS[:, :, None],
        occupancy_HS=occupancy(mdp, policy_HSA, start_S),
        performance=float(start_S @ value_HS[0]),
    )


def occupancy(mdp: TabularMDP, policy_HSA: Array, start_S: Array) -> Array:
    """Compute the probability of each state at each step, [H, S]."""
    policy_HSA = checked_policy(mdp, policy_HSA)
    occupancy_HS = np.empty(policy_HSA.shape[:2])
    state_S = start_S
    for step, policy_SA in enumerate(policy_HSA):
        occupancy_HS[step] = state_S
        state_S = np.einsum("s,sa,sat->t", state_S, policy_SA, mdp.transition_SAS)
    return occupancy_HS


def visits_after(mdp: TabularMDP, policy_HSA: Array, restart_HS: Array) -> Array:
    """Compute the expected visits to each step and state of episodes that start from mu, [H, S].

    Their sum is the mean number of steps after a reset, which is the cost of sampling it.
    """
    policy_HSA = checked_policy(mdp, policy_HSA)
    visits_HS = restart_HS.copy()
    for step in range(1, len(policy_HSA)):
        transition_SS = (policy_HSA[step - 1][:, None, :] @ mdp.transition_SAS)[:, 0]
        visits_HS[step] += visits_HS[step - 1] @ transition_SS
    return visits_HS


def policy_advantage(evaluation: HorizonEvaluation, new_policy_HSA: Array) -> float:
    """Compute the mean over steps of `E_{s ~ d_h} E_{a ~ pi'} A_h(s, a)`, Abar of the bounds."""
    advantage_HS = (new_policy_HSA * evaluation.advantage_HSA).sum(-1)
    return float((evaluation.occupancy_HS * advantage_HS).sum(-1).mean())


def performance_difference(
    mdp: TabularMDP, evaluation: HorizonEvaluation, new_policy_HSA: Array
) -> float:
    """Compute `sum_h E_{s ~ d'_h} E_{a ~ pi'} A_h(s, a)`, which equals the gain in return.

    Source: Kakade 2003, Lemma 5.2.1 (the finite-horizon form).
    """
    new_policy_HSA = checked_policy(mdp, new_policy_HSA)
    new_occupancy_HS = occupancy(mdp, new_policy_HSA, evaluation.occupancy_HS[0])
    return float((new_occupancy_HS[:, :, None] * new_policy_HSA * evaluation.advantage_HSA).sum())


def improvable_coverage(evaluation: HorizonEvaluation, threshold: float) -> float:
    """Compute pbar, the probability of `max_a A_h(s, a) >= threshold` at a uniform step h."""
    return float((evaluation.occupancy_HS * is_improvable(evaluation, threshold)).sum(-1).mean())


def is_improvable(evaluation: HorizonEvaluation, threshold: float) -> np.ndarray:
    """Return whether some action gains at least `threshold` (reward units), booleans [H, S]."""
    check_threshold(threshold)
    return evaluation.advantage_HSA.max(-1) >= threshold


def everywhere_candidate(evaluation: HorizonEvaluation) -> Array:
    """Return the candidate of random resets, greedy at every step and state, [H, S, A]."""
    return greedy(evaluation.action_value_HSA)


def oracle_candidate(evaluation: HorizonEvaluation, threshold: float) -> Array:
    """Return the candidate of credit assignment, greedy only in improvable states, [H, S, A]."""
    chosen_HS = is_improvable(evaluation, threshold)
    return np.where(chosen_HS[:, :, None], everywhere_candidate(evaluation), evaluation.policy_HSA)


def optimal_policy(mdp: TabularMDP) -> Array:
    """Compute a deterministic optimal policy by backward induction, [H, S, A]."""
    value_S = np.zeros(mdp.num_states)
    policy_HSA = np.empty((_num_steps(mdp), *mdp.reward_SA.shape))
    for step in reversed(range(len(policy_HSA))):
        q_SA = mdp.reward_SA + mdp.transition_SAS @ value_S
        policy_HSA[step] = greedy(q_SA)
        value_S = q_SA.max(-1)
    return policy_HSA


def checked_policy(mdp: TabularMDP, policy: Array) -> Array:
    """Check a policy and add the step axis if it has none.

    Raises:
        ConfigError: The MDP has no horizon, or the array is not a policy of the MDP.
    """
    shape = (_num_steps(mdp), *mdp.reward_SA.shape)
    if policy.shape not in (shape, shape[1:]):
        raise ConfigError(
            f"policy_HSA must have shape {shape!r}, got {policy.shape!r}; "
            "give a distribution over actions for each step and state"
        )
    check_rows("policy_HSA", policy)
    return np.broadcast_to(policy, shape)


def _num_steps(mdp: TabularMDP) -> int:
    if mdp.horizon is None:
        raise ConfigError(
            f"this function needs a horizon, got discount {shown(mdp.discount)} without one; "
            "use the function of the same name in reason_env.agents.tabular.exact.mdp"
        )
    return mdp.horizon
