"""A discounted or finite-horizon MDP as arrays, and its exact values, occupancies and advantages.

Decisions. Discounted values are **normalised**, `V = (1 - discount) * sum_t discount**t * r_t`, so
that they lie in `[0, R]` and a state occupancy is a distribution over states (Kakade and Langford
2002). Linear systems are solved directly, so values are exact to the solver's rounding. The
functions for a finite horizon have the same names and are in `horizon.py`.

A restart distribution that misses a state which the optimal policy visits has an infinite mismatch,
and `mismatch` returns infinity.

Axes: S states, A actions, H steps of the horizon.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reason_env.errors import ConfigError, shown
from reason_env.tabular import TabularModel, check_rows

Array = NDArray[np.float64]
_TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TabularMDP:
    """A finite MDP with a discount below 1, or with a horizon and no discount."""

    transition_SAS: Array
    """Probability of each next state; every row sums to 1."""
    reward_SA: Array
    """Expected reward of an action."""
    start_S: Array
    """The start distribution D, which defines performance."""
    discount: float = 1.0
    """Discount, 0..1; below 1 without a horizon."""
    horizon: int | None = None
    """Number of steps in an episode; None for an infinite discounted one."""

    def __post_init__(self) -> None:
        if self.reward_SA.ndim != 2:
            raise ConfigError(
                f"reward_SA must have two axes, got shape {self.reward_SA.shape!r}; give [S, A]"
            )
        num_states, num_actions = self.reward_SA.shape
        expected = {
            "transition_SAS": (num_states, num_actions, num_states),
            "start_S": (num_states,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ConfigError(
                    f"{name} must have shape {shape!r}, got {getattr(self, name).shape!r}; "
                    f"reward_SA has {self.reward_SA.shape!r}"
                )
            check_rows(name, getattr(self, name))
        if not np.isfinite(self.reward_SA).all():
            raise ConfigError("reward_SA must be finite, got nan or infinity; correct the array")
        _check_time(self.discount, self.horizon)

    @classmethod
    def from_model(
        cls, model: TabularModel, *, discount: float = 1.0, horizon: int | None = None
    ) -> "TabularMDP":
        """Build the MDP of a model; its terminal states are absorbing with reward 0."""
        return cls(
            transition_SAS=model.transition,
            reward_SA=model.reward,
            start_S=model.start,
            discount=discount,
            horizon=horizon,
        )

    @property
    def num_states(self) -> int:
        """S."""
        return self.reward_SA.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.reward_SA.shape[1]

    @property
    def max_reward(self) -> float:
        """R of the bounds, which require rewards in `[0, R]`.

        Raises:
            ConfigError: A reward is negative.
        """
        if self.reward_SA.min() < 0:
            raise ConfigError(
                f"rewards must be >= 0 for a bound in R, got {float(self.reward_SA.min())!r}; "
                "add a constant to every reward"
            )
        return float(self.reward_SA.max())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Value, advantage and occupancy of one policy under one restart distribution."""

    policy_SA: Array
    value_S: Array
    action_value_SA: Array
    advantage_SA: Array
    restart_S: Array
    """mu."""
    occupancy_S: Array
    """d_{pi,mu}."""


def evaluate(mdp: TabularMDP, policy_SA: Array, restart_S: Array | None = None) -> Evaluation:
    """Compute value, action value, advantage and occupancy with two linear solves.

    Args:
        mdp: A discounted MDP.
        policy_SA: The policy.
        restart_S: The restart distribution mu; the start distribution if None.
    """
    check_policy(mdp, policy_SA)
    restart_S = mdp.start_S if restart_S is None else check_distribution(mdp, restart_S)
    system_SS = _system(mdp, policy_SA)
    reward_S = (policy_SA * mdp.reward_SA).sum(-1)
    value_S = _solve(system_SS, (1.0 - mdp.discount) * reward_S)
    q_SA = action_value(mdp, value_S)
    return Evaluation(
        policy_SA=policy_SA,
        value_S=value_S,
        action_value_SA=q_SA,
        advantage_SA=q_SA - value_S[:, None],
        restart_S=restart_S,
        occupancy_S=(1.0 - mdp.discount) * _solve(system_SS.T, restart_S),
    )


def policy_value(mdp: TabularMDP, policy_SA: Array) -> Array:
    """Compute the normalised value of each state, [S].

    A single state with reward 1 has value 1 for any discount:

    >>> loop = TabularMDP(transition_SAS=np.ones((1, 1, 1)), reward_SA=np.ones((1, 1)),
    ...                   start_S=np.ones(1), discount=0.9)
    >>> policy_value(loop, np.ones((1, 1))).round(12).tolist()
    [1.0]
    """
    check_policy(mdp, policy_SA)
    reward_S = (policy_SA * mdp.reward_SA).sum(-1)
    return _solve(_system(mdp, policy_SA), (1.0 - mdp.discount) * reward_S)


def action_value(mdp: TabularMDP, value_S: Array) -> Array:
    """Compute `Q = (1 - discount) * r + discount * E V(next)`, normalised, [S, A]."""
    _check_discounted(mdp)
    return (1.0 - mdp.discount) * mdp.reward_SA + mdp.discount * (mdp.transition_SAS @ value_S)


def occupancy(mdp: TabularMDP, policy_SA: Array, restart_S: Array | None = None) -> Array:
    """Compute d_{pi,mu}: `(1 - discount) * sum_t discount**t * Pr(s_t = s)`, [S]."""
    check_policy(mdp, policy_SA)
    restart_S = mdp.start_S if restart_S is None else check_distribution(mdp, restart_S)
    return (1.0 - mdp.discount) * _solve(_system(mdp, policy_SA).T, restart_S)


def performance(mdp: TabularMDP, policy_SA: Array, restart_S: Array | None = None) -> float:
    """Compute the normalised value from the start distribution, or from `restart_S`."""
    start_S = mdp.start_S if restart_S is None else check_distribution(mdp, restart_S)
    return float(start_S @ policy_value(mdp, policy_SA))


def policy_advantage(evaluation: Evaluation, new_policy_SA: Array) -> float:
    """Compute `A_{pi,mu}(pi') = E_{s ~ d_{pi,mu}} E_{a ~ pi'} A_pi(s, a)`."""
    advantage_S = (new_policy_SA * evaluation.advantage_SA).sum(-1)
    return float(evaluation.occupancy_S @ advantage_S)


def performance_difference(mdp: TabularMDP, evaluation: Evaluation, new_policy_SA: Array) -> float:
    """Compute `E_{s ~ d_{pi',mu}} E_{a ~ pi'} A_pi(s, a) / (1 - discount)`.

    It equals `performance(pi') - performance(pi)` from mu for any two policies.

    Source: Kakade and Langford 2002, Lemma 6.1.
    """
    advantage_S = (new_policy_SA * evaluation.advantage_SA).sum(-1)
    new_occupancy_S = occupancy(mdp, new_policy_SA, evaluation.restart_S)
    return float(new_occupancy_S @ advantage_S) / (1.0 - mdp.discount)


def mismatch(target_S: Array, base_S: Array) -> float:
    """Compute `max_s target(s) / base(s)`; infinity if the base misses a state of the target.

    >>> mismatch(np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    2.5
    >>> mismatch(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    inf
    """
    visited = target_S > 0
    target, base = target_S[visited], base_S[visited]
    if (base <= 0).any():
        return float("inf")
    return float((target / base).max())


def improvable_coverage(evaluation: Evaluation, threshold: float) -> float:
    """Compute p_pi(tau), the probability under d_{pi,mu} that `max_a A(s, a) >= threshold`.

    Raises:
        ConfigError: The threshold is not positive; every state has an action of advantage >= 0.
    """
    check_threshold(threshold)
    is_improvable_S = evaluation.advantage_SA.max(-1) >= threshold
    return float(evaluation.occupancy_S[is_improvable_S].sum())


def optimal_policy(mdp: TabularMDP) -> Array:
    """Compute a deterministic optimal policy by exact policy iteration, [S, A]."""
    policy_SA = greedy(mdp.reward_SA)
    while True:
        value_S = policy_value(mdp, policy_SA)
        q_SA = action_value(mdp, value_S)
        # Change an action only for a gain above rounding, or two equal actions would alternate.
        gains_S = q_SA.max(-1) - value_S > _TIE * max(1.0, float(np.abs(value_S).max()))
        if not gains_S.any():
            return policy_SA
        policy_SA = np.where(gains_S[:, None], greedy(q_SA), policy_SA)


def greedy(action_value_SA: Array) -> Array:
    """Return the policy that takes the first best action, [..., S, A]; leading axes are allowed.

    >>> greedy(np.array([[0.0, 2.0, 2.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    """
    num_actions = action_value_SA.shape[-1]
    return np.eye(num_actions)[action_value_SA.argmax(-1)]


def uniform_policy(mdp: TabularMDP) -> Array:
    """Return the policy that takes every action with equal probability, [S, A]."""
    return np.full((mdp.num_states, mdp.num_actions), 1.0 / mdp.num_actions)


def mix(policy: Array, new_policy: Array, step_size: float) -> Array:
    """Return the mixture `(1 - step_size) * pi + step_size * pi'`, CPI's conservative update.

    Raises:
        ConfigError: The step size is outside 0..1.
    """
    check_step_size(step_size)
    return (1.0 - step_size) * policy + step_size * new_policy


def check_step_size(step_size: float) -> None:
    """Raise ConfigError unless the step size, CPI's alpha, is in 0..1."""
    if not 0.0 <= step_size <= 1.0:
        raise ConfigError(
            f"step_size must be in 0..1, got {shown(step_size)}; a mixture needs a probability"
        )


def check_threshold(threshold: float) -> None:
    """Raise ConfigError unless the threshold of an improvement is positive."""
    if not threshold > 0.0:
        raise ConfigError(
            f"threshold must be above 0, got {shown(threshold)}; "
            "every state has an action with advantage 0 or more"
        )


def check_policy(mdp: TabularMDP, policy_SA: Array) -> None:
    """Raise ConfigError unless the array is a policy of this discounted MDP."""
    _check_discounted(mdp)
    if policy_SA.shape != mdp.reward_SA.shape:
        raise ConfigError(
            f"policy_SA must have shape {mdp.reward_SA.shape!r}, got {policy_SA.shape!r}; "
            "give a distribution over actions for each state"
        )
    check_rows("policy_SA", policy_SA)


def check_distribution(mdp: TabularMDP, restart_S: Array) -> Array:
    """Return the restart distribution; raise ConfigError unless it fits this MDP's states."""
    if restart_S.shape != mdp.start_S.shape:
        raise ConfigError(
            f"restart_S must have shape {mdp.start_S.shape!r}, got {restart_S.shape!r}; "
            "give a probability for each state"
        )
    check_rows("restart_S", restart_S)
    return restart_S


def _system(mdp: TabularMDP, policy_SA: Array) -> Array:
    """Build `I - discount * P_pi`, [S, S]."""
    # The transpose is an M-matrix with a dominant diagonal in each column, so elimination neither
    # swaps rows nor cancels: an unreachable state has occupancy exactly 0, and `mismatch` can
    # compare with 0.
    policy_transition_SS = (policy_SA[:, None, :] @ mdp.transition_SAS)[:, 0]
    system_SS = -mdp.discount * policy_transition_SS
    system_SS.flat[:: mdp.num_states + 1] += 1.0
    return system_SS


def _solve(system_SS: Array, right_S: Array) -> Array:
    return np.asarray(np.linalg.solve(system_SS, right_S), dtype=np.float64)


def _check_discounted(mdp: TabularMDP) -> None:
    if mdp.horizon is not None:
        raise ConfigError(
            f"this function needs an infinite horizon, got horizon {mdp.horizon}; "
            "use the function of the same name in reason_env.agents.tabular.exact.horizon"
        )


def _check_time(discount: float, horizon: int | None) -> None:
    if not 0.0 <= discount <= 1.0:
        raise ConfigError(f"discount must be in 0..1, got {shown(discount)}; correct it")
    if horizon is None:
        if discount == 1.0:
            raise ConfigError(
                "discount must be below 1 with an infinite horizon, got 1.0; "
                "give a horizon, or a smaller discount"
            )
        return
    if horizon < 1:
        raise ConfigError(f"horizon must be at least 1, got {horizon}; raise it, or give None")
    if discount != 1.0:
        raise ConfigError(
            f"discount must be 1 with a horizon, got {shown(discount)}; remove one of the two"
        )
