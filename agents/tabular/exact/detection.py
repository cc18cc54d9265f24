"""How many resets show that a candidate is better than the policy.

A sample of the candidate's policy advantage: draw a step and a state from the restart distribution
mu, an action uniformly, follow the policy for the return G:

    X     = A (pi'(a|s) - pi(a|s)) (G - b(s)),   b = 0, or b = V with a value baseline
    E X   = E_mu sum_a pi'(a|s) Adv(s, a)
    E X^2 = E_mu A sum_a (pi'(a|s) - pi(a|s))^2 E[(G - b(s))^2 | s, a]

`detection` splits E X^2 into the states where an action gains at least tau (a share p of mu) and
the others:

    E X = p delta (if the candidate gains nothing elsewhere),  E X^2 = p M1 + (1 - p) M0
    n_z = z^2 (p M1 + (1 - p) M0 - p^2 delta^2) / (p delta)^2

resets put the mean z standard errors above 0. With delta, M1 and M0 fixed, n_z is of order 1/p^2 if
M0 > 0 and of order 1/p if M0 = 0: the noise of the steps that cannot be improved decides. A bound
that knows only |pi' - pi| <= 1 and returns in [0, R] must allow for it (`bernstein_samples`).

Axes: H steps, S states, A actions.

Source: the estimator is Kakade and Langford's (2002, section 4); the split is ours.
"""

import math
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import Array, TabularMDP
from reason_env.errors import ConfigError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The moments of a sample of a candidate's policy advantage."""

    mean: float
    """E X, in return."""
    improvable: float
    """p: share of the restart distribution where an action gains at least the threshold."""
    square_improvable: float
    """p M1: part of E X^2 from these states."""
    square_elsewhere: float
    """(1 - p) M0: part of E X^2 from the others."""

    @property
    def variance(self) -> float:
        """Variance of a sample."""
        return self.square_improvable + self.square_elsewhere - self.mean**2

    @property
    def share_elsewhere(self) -> float:
        """Share of E X^2 from states that cannot be improved."""
        return self.square_elsewhere / (self.square_improvable + self.square_elsewhere)

    def samples(self, standard_errors: float = 3.0) -> float:
        """Return n_z: resets that put the mean this many standard errors above 0, at least 1.

        Raises:
            ConfigError: The candidate has no advantage.
        """
        if not self.mean > 0:
            raise ConfigError(
                f"a candidate must have an advantage to be detected, got {shown(self.mean)}; give "
                "one that is better at the restarts"
            )
        return max(1.0, standard_errors**2 * self.variance / self.mean**2)


def detection(
    mdp: TabularMDP,
    old: finite.HorizonEvaluation,
    candidate_HSA: Array,
    restart_HS: Array,
    *,
    threshold: float,
    has_baseline: bool,
) -> Detection:
    """Compute the moments of a sample exactly.

    Args:
        mdp: An MDP with a horizon.
        old: The policy that the returns are of.
        candidate_HSA: pi'.
        restart_HS: mu over steps and states; sums to 1.
        threshold: tau, in return.
        has_baseline: Whether the state's value is subtracted from the return.
    """
    num_actions = candidate_HSA.shape[-1]
    q_HSA, square_HSA = old.action_value_HSA, return_squares(mdp, old)
    base_HS1 = (old.value_HS if has_baseline else np.zeros_like(old.value_HS))[:, :, None]
    square_HSA = square_HSA - 2 * base_HS1 * q_HSA + base_HS1**2
    change_HSA = candidate_HSA - old.policy_HSA
    mean_HS = restart_HS * (change_HSA * (q_HSA - base_HS1)).sum(-1)
    square_HS = restart_HS * num_actions * (change_HSA**2 * square_HSA).sum(-1)
    is_improvable_HS = finite.is_improvable(old, threshold)
    return Detection(
        mean=float(mean_HS.sum()),
        improvable=float(restart_HS[is_improvable_HS].sum()),
        square_improvable=float(square_HS[is_improvable_HS].sum()),
        square_elsewhere=float(square_HS[~is_improvable_HS].sum()),
    )


def return_squares(mdp: TabularMDP, old: finite.HorizonEvaluation) -> Array:
    """Compute `E[G^2 | s, a]` at each step by backward induction, [H, S, A].

    With return G = r + G': `E G^2 = r^2 + 2 r E V(s') + E[G'^2]`.
    """
    found_HSA = np.empty_like(old.action_value_HSA)
    value_S, square_S = np.zeros(mdp.num_states), np.zeros(mdp.num_states)
    for step in reversed(range(len(found_HSA))):
        next_SA = mdp.transition_SAS @ value_S
        found_HSA[step] = (
            mdp.reward_SA**2 + 2 * mdp.reward_SA * next_SA + mdp.transition_SAS @ square_S
        )
        value_S = old.value_HS[step]
        square_S = (old.policy_HSA[step] * found_HSA[step]).sum(-1)
    return found_HSA


def bernstein_samples(
    *, num_actions: int, max_return: float, policy_advantage: float, failure: float
) -> int:
    """Compute resets that make the mean's sign right with probability `1 - failure`, whatever M0.

    Without a baseline `|X - E X| <= 2 A R`, and `E X^2 <= 2 A R^2` because the squared changes of
    two distributions sum to at most 2. Bernstein's inequality for an error of the whole mean m:

        n = ln(1 / failure) (4 A R^2 + (4/3) A R m) / m^2, at most (16/3) A R^2 ln(1/failure) / m^2

    With random resets m is at least `p tau`, with the oracle's at least tau: the orders
    `A R^2 / (p tau)^2` and `A R^2 / tau^2` of the theorem in arXiv 2605.25507.

    Source: Bernstein's inequality, Boucheron, Lugosi and Massart 2013, equation 2.10.

    >>> bernstein_samples(num_actions=2, max_return=1.0, policy_advantage=0.5, failure=0.05)
    112
    """
    if not (num_actions >= 1 and max_return > 0 and policy_advantage > 0 and 0 < failure < 1):
        raise ConfigError(
            "num_actions, max_return and policy_advantage must be above 0 and failure in 0..1, got "
            f"{shown(num_actions)}, {shown(max_return)}, {shown(policy_advantage)} and "
            f"{shown(failure)}; correct them"
        )
    numerator = 4 * num_actions * max_return * (max_return + policy_advantage / 3)
    return math.ceil(math.log(1 / failure) * numerator / policy_advantage**2)
