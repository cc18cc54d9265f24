"""Exact values of an undiscounted MDP with a horizon; the names of `mdp.py`, a step axis first.

A policy may differ from step to step, [H, S, A]. The return is the plain sum of H rewards; the
bounds in R ask for a return in `[0, R]`, as a graded answer's is. "Mean" is over the H steps: the
state met at a uniformly drawn step, which is what a random reset draws.

The two candidates of the reset papers are here too: deviate at every step (random resets), or only
where an oracle finds something to improve (credit assignment).

Axes: H steps, S states, A actions.
"""

from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, check_threshold, greedy
from reason_env.errors import ConfigError, shown
from reason_env.tabular import check_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HorizonEvaluation:
    """Everything exact about one policy of a finite-horizon MDP."""

    policy_HSA: Array
    value_HS: Array
    """Expected sum of the rewards from step h on."""
    action_value_HSA: Array
    advantage_HSA: Array
    occupancy_HS: Array
    """Probability of each state at step h; every row sums to 1."""
    performance: float
    """Expected return from the start distribution."""


def evaluate(mdp: TabularMDP, policy_HSA: Array, start_S: Array | None = None) -> HorizonEvaluation:
    """Returns values by backward induction and occupancies by forward.

    Args:
        mdp: An MDP with a horizon.
        policy_HSA: The policy; [S, A] is taken for every step.
        start_S: Where episodes begin; the MDP's start distribution if None.
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
    """Returns the probability of each state at each step, [H, S]."""
    policy_HSA = checked_policy(mdp, policy_HSA)
    occupancy_HS = np.empty(policy_HSA.shape[:2])
    state_S = start_S
    for step, policy_SA in enumerate(policy_HSA):
        occupancy_HS[step] = state_S
        state_S = np.einsum("s,sa,sat->t", state_S, policy_SA, mdp.transition_SAS)
    return occupancy_HS


def visits_after(mdp: TabularMDP, policy_HSA: Array, restart_HS: Array) -> Array:
    """Returns how often each step and state is met by episodes that begin at mu and go on, [H, S].

    The sum is the mean number of steps an episode has left: what a reset costs to sample.
    """
    policy_HSA = checked_policy(mdp, policy_HSA)
    visits_HS = restart_HS.copy()
    for step in range(1, len(policy_HSA)):
        transition_SS = (policy_HSA[step - 1][:, None, :] @ mdp.transition_SAS)[:, 0]
        visits_HS[step] += visits_HS[step - 1] @ transition_SS
    return visits_HS


def policy_advantage(evaluation: HorizonEvaluation, new_policy_HSA: Array) -> float:
    """Returns the mean over steps of `E_{s ~ d_h} E_{a ~ pi'} A_h(s, a)`, Abar of the bounds."""
    advantage_HS = (new_policy_HSA * evaluation.advantage_HSA).sum(-1)
    return float((evaluation.occupancy_HS * advantage_HS).sum(-1).mean())


def performance_difference(
    mdp: TabularMDP, evaluation: HorizonEvaluation, new_policy_HSA: Array
) -> float:
    """Returns `sum_h E_{s ~ d'_h} E_{a ~ pi'} A_h(s, a)`: the gain in return, an equality.

    Source: Kakade 2003, Lemma 5.2.1 (the finite-horizon form).
    """
    new_policy_HSA = checked_policy(mdp, new_policy_HSA)
    new_occupancy_HS = occupancy(mdp, new_policy_HSA, evaluation.occupancy_HS[0])
    return float((new_occupancy_HS[:, :, None] * new_policy_HSA * evaluation.advantage_HSA).sum())


def improvable_coverage(evaluation: HorizonEvaluation, threshold: float) -> float:
    """Returns pbar: the chance that a uniformly drawn step finds `max_a A_h(s, a) >= threshold`."""
    return float((evaluation.occupancy_HS * is_improvable(evaluation, threshold)).sum(-1).mean())


def is_improvable(evaluation: HorizonEvaluation, threshold: float) -> np.ndarray:
    """Returns where some action gains at least `threshold` (reward units), booleans [H, S]."""
    check_threshold(threshold)
    return evaluation.advantage_HSA.max(-1) >= threshold


def everywhere_candidate(evaluation: HorizonEvaluation) -> Array:
    """Returns the candidate of random resets: greedy at every step and state, [H, S, A]."""
    return greedy(evaluation.action_value_HSA)


def oracle_candidate(evaluation: HorizonEvaluation, threshold: float) -> Array:
    """Returns the candidate of credit assignment: greedy only in improvable states, [H, S, A]."""
    chosen_HS = is_improvable(evaluation, threshold)
    return np.where(chosen_HS[:, :, None], everywhere_candidate(evaluation), evaluation.policy_HSA)


def optimal_policy(mdp: TabularMDP) -> Array:
    """Returns a deterministic optimal policy, by backward induction, [H, S, A]."""
    value_S = np.zeros(mdp.num_states)
    policy_HSA = np.empty((_num_steps(mdp), *mdp.reward_SA.shape))
    for step in reversed(range(len(policy_HSA))):
        q_SA = mdp.reward_SA + mdp.transition_SAS @ value_S
        policy_HSA[step] = greedy(q_SA)
        value_S = q_SA.max(-1)
    return policy_HSA


def checked_policy(mdp: TabularMDP, policy: Array) -> Array:
    """Returns the policy with its step axis, after checking it.

    Raises:
        ConfigError: The MDP has no horizon, or the array is no policy of it.
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
            f"this quantity must have a horizon, got discount {shown(mdp.discount)} without one; "
            "use the function of the same name in reason_env.agents.tabular.exact.mdp"
        )
    return mdp.horizon
