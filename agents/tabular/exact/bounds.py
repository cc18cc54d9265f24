"""Lower bounds, step sizes and sample counts of the papers, each with its source and assumptions.

All functions take numbers, so that a bound can be compared with exact values or computed from
estimates. Discounted values are normalised, in `[0, R]` (see mdp.py); with a horizon, R bounds the
return.

Not covered: the constants of Theorem 1 in RRPO and SRPO (arXiv 2605.25507), which need the paper's
model of a thought MDP. The two bounds for resets with a horizon below stand in for it, with a proof
in words.
"""

import math

from reason_env.agents.tabular.exact.mdp import check_step_size, check_threshold
from reason_env.errors import ConfigError, shown


def mixture_gain(
    *, step_size: float, policy_advantage: float, max_advantage: float, discount: float
) -> float:
    """Compute a lower bound on the gain from mu of `(1 - alpha) pi + alpha pi'`.

    `alpha / (1 - g) * (A - 2 * alpha * g * eps / (1 - g * (1 - alpha)))`.

    Args:
        step_size: alpha, 0..1.
        policy_advantage: `A_{pi,mu}(pi')`.
        max_advantage: eps, `max_s |E_{a ~ pi'} A_pi(s, a)|`.
        discount: g.

    Source: Kakade and Langford 2002, Theorem 4.1.

    With alpha 0.5, g 0.5: 0.5 / 0.5 * (0.2 - 2 * 0.25 * 0.3 / 0.75) = 0.2 - 0.2

    >>> round(mixture_gain(step_size=0.5, policy_advantage=0.2, max_advantage=0.3,
    ...                    discount=0.5), 12)
    0.0
    """
    check_step_size(step_size)
    penalty = 2 * step_size * discount * max_advantage / (1 - discount * (1 - step_size))
    return step_size / (1 - discount) * (policy_advantage - penalty)


def cpi_step_size(*, policy_advantage: float, max_reward: float, discount: float) -> float:
    """Compute `(1 - discount) * A / (4 R)`; 0 if the advantage is not positive.

    Source: Kakade and Langford 2002, Corollary 4.2.

    >>> round(cpi_step_size(policy_advantage=0.2, max_reward=1.0, discount=0.9), 12)
    0.005
    """
    _check_max_reward(max_reward)
    return max(0.0, (1 - discount) * policy_advantage / (4 * max_reward))


def cpi_gain(*, policy_advantage: float, max_reward: float) -> float:
    """Compute `A**2 / (8 R)`, the gain from mu that `cpi_step_size` guarantees.

    Source: Kakade and Langford 2002, Corollary 4.2.
    """
    _check_max_reward(max_reward)
    return max(0.0, policy_advantage) ** 2 / (8 * max_reward)


def cpi_num_calls(*, max_reward: float, accuracy: float) -> int:
    """Compute `72 R**2 / accuracy**2`, the maximum number of improvement calls before CPI stops.

    Each call gains at least `(accuracy / 3)**2 / (8 R)`, and the value stays in `[0, R]`.

    Source: Kakade and Langford 2002, Theorem 4.4.

    >>> cpi_num_calls(max_reward=1.0, accuracy=0.1)
    7200
    """
    _check_max_reward(max_reward)
    _check_accuracy(accuracy)
    # Rounding may put the quotient just below an integer.
    return math.floor(72 * (max_reward / accuracy) ** 2 * (1 + 1e-12))


def cpi_num_samples(
    *, value_range: float, max_reward: float, accuracy: float, failure: float
) -> int:
    """Compute the samples for one estimate in CPI, `O(R**2 / eps**2 log(R**2 / (delta eps**2)))`.

    All of the at most `72 R**2 / eps**2` estimates must be within `eps / 3`, so each may fail with
    that share of delta (`num_samples`). The paper leaves the constant open; here it is the constant
    of Hoeffding's inequality. The paper also leaves open how many samples the chooser needs.

    Args:
        value_range: Width of the interval that contains one sample: `2 A R` for the paper's uniform
            action, `2 R` if every action is tried in each state.
        max_reward: R.
        accuracy: eps.
        failure: delta, the probability that any of the estimates is worse.

    Source: Kakade and Langford 2002, section 4: the algorithm's step 2 and Theorem 4.4.

    With R 1 and eps 0.3 there are 800 calls: 4 * ln(2 * 800 / 0.05) / (2 * 0.01) = 2074.6...

    >>> cpi_num_samples(value_range=2.0, max_reward=1.0, accuracy=0.3, failure=0.05)
    2075
    """
    num_calls = max(1, cpi_num_calls(max_reward=max_reward, accuracy=accuracy))
    _check_failure(failure)
    return num_samples(value_range=value_range, accuracy=accuracy / 3, failure=failure / num_calls)


def optimality_gap(
    *, optimal_policy_advantage: float, occupancy_mismatch: float, discount: float
) -> float:
    """Compute `OPT / (1 - discount) * ||d_{pi*,D} / d_{pi,mu}||_inf`, a bound on the gap.

    The gap is pi's distance to the optimal value from D. `restart_gap` is a weaker form without the
    occupancy of pi.

    Args:
        optimal_policy_advantage: `max_pi' A_{pi,mu}(pi')`.
        occupancy_mismatch: Mismatch of the optimal occupancy from D against d_{pi,mu}.
        discount: The discount.

    Source: Kakade and Langford 2002, Corollary 4.5 (its first inequality).
    """
    return _times(optimal_policy_advantage / (1 - discount), occupancy_mismatch)


def restart_gap(
    *, optimal_policy_advantage: float, restart_mismatch: float, discount: float
) -> float:
    """Compute `OPT / (1 - discount)**2 * ||d_{pi*,D} / mu||_inf`; infinite without support.

    Source: Kakade and Langford 2002, Corollary 4.5.

    >>> restart_gap(optimal_policy_advantage=0.01, restart_mismatch=5.0, discount=0.5)
    0.2
    """
    return _times(optimal_policy_advantage / (1 - discount) ** 2, restart_mismatch)


def safe_gain(
    *,
    step_size: float,
    policy_advantage: float,
    policy_distance: float,
    advantage_range: float,
    discount: float,
) -> float:
    """Compute Pirotta's lower bound on the gain from mu of `(1 - alpha) pi + alpha pi'`.

    `alpha * A / (1 - g) - alpha**2 * g * distance * range / (2 * (1 - g)**2)`.

    Args:
        step_size: alpha, 0..1.
        policy_advantage: `A_{pi,mu}(pi')`.
        policy_distance: `max_s sum_a |pi'(a|s) - pi(a|s)|`, 0..2.
        advantage_range: `max_s - min_s` of `E_{a ~ pi'} A_pi(s, a)`.
        discount: g.

    Source: Pirotta, Restelli, Pecorino and Calandriello 2013, Theorem 3.5 for the mixture.
    """
    check_step_size(step_size)
    penalty = discount * policy_distance * advantage_range / (2 * (1 - discount) ** 2)
    return step_size * policy_advantage / (1 - discount) - step_size**2 * penalty


def safe_step_size(
    *, policy_advantage: float, policy_distance: float, advantage_range: float, discount: float
) -> float:
    """Compute the step that maximises `safe_gain`, `(1 - g) A / (g distance range)`, at most 1.

    Source: Pirotta et al. 2013, section 4 (unique-parameter safe policy iteration): the vertex of
    the parabola `safe_gain`.

    >>> safe_step_size(policy_advantage=0.1, policy_distance=2.0, advantage_range=0.5,
    ...                discount=0.5)
    0.1
    """
    if policy_advantage <= 0:
        return 0.0
    curvature = discount * policy_distance * advantage_range
    if curvature <= (1 - discount) * policy_advantage:
        return 1.0
    return (1 - discount) * policy_advantage / curvature


def oracle_reset_step_size(*, threshold: float, max_return: float, horizon: int) -> float:
    """Compute `tau / (2 R H)`, the step of credit assignment; it does not depend on p.

    Source: ours, in place of arXiv 2605.25507, Theorem 1; see `oracle_reset_gain`.
    """
    check_threshold(threshold)
    _check_max_reward(max_return)
    return min(1.0, threshold / (2 * max_return * horizon))


def oracle_reset_gain(*, coverage: float, threshold: float, max_return: float) -> float:
    """Compute `p tau**2 / (4 R)`, the guaranteed gain if pi' is greedy in improvable states only.

    Proof: with probability at least `(1 - alpha)**h >= 1/2` the mixture has not deviated before
    step h and still visits the improvable states of pi. The gain is thus at least
    `alpha * H * p * tau / 2`.

    Args:
        coverage: p, the probability that a uniformly drawn step of pi is improvable.
        threshold: tau, the advantage that makes a state improvable; at most R.
        max_return: R; returns are in `[0, R]`.

    Source: ours, in place of arXiv 2605.25507, Theorem 1.

    >>> oracle_reset_gain(coverage=0.1, threshold=0.5, max_return=1.0)
    0.00625
    """
    check_threshold(threshold)
    _check_max_reward(max_return)
    return coverage * threshold**2 / (4 * max_return)


def random_reset_step_size(*, policy_advantage: float, max_return: float, horizon: int) -> float:
    """Compute `Abar / (2 R H)`, the step of random resets; Abar is the mean over steps.

    Source: ours, in place of arXiv 2605.25507, Theorem 1.
    """
    _check_max_reward(max_return)
    return min(1.0, max(0.0, policy_advantage) / (2 * max_return * horizon))


def random_reset_gain(*, policy_advantage: float, max_return: float) -> float:
    """Compute `Abar**2 / (4 R)`, the guaranteed gain if pi' is greedy at every step.

    In the worst case `Abar = p tau`, and the gain is `p**2 tau**2 / (4 R)`, p times the oracle's.

    Source: ours, in place of arXiv 2605.25507, Theorem 1.

    >>> random_reset_gain(policy_advantage=0.5, max_return=1.0)
    0.0625
    """
    _check_max_reward(max_return)
    return max(0.0, policy_advantage) ** 2 / (4 * max_return)


def greedy_horizon_gain(*, step_size: float, policy_advantage: float, horizon: int) -> float:
    """Compute `alpha (1 - alpha)**(H - 1) H Abar`, a lower bound on an exactly greedy step's gain.

    An exactly greedy candidate has advantages >= 0 in every state, so deviating never costs, and
    `alpha = 1 / H` gains a constant fraction of Abar. The small steps above are thus needed only
    because advantages are not known exactly.

    Source: ours; the argument of `oracle_reset_gain` for any step size.
    """
    check_step_size(step_size)
    return step_size * (1 - step_size) ** (horizon - 1) * horizon * policy_advantage


def mixture_horizon_gain(
    *, step_size: float, policy_advantage: float, max_advantage: float, horizon: int
) -> float:
    """Compute a lower bound on the gain of `(1 - alpha) pi + alpha pi'` over a horizon.

    `alpha * (H * Abar - 2 eps * sum_h (1 - (1 - alpha)**h))`, h = 0..H-1. With probability
    `(1 - alpha)**h` the mixture has not deviated before step h, and the state is distributed as
    under pi; otherwise the advantage is wrong by at most `2 eps`. For H = 1 it is linear in alpha.

    Args:
        step_size: alpha, 0..1.
        policy_advantage: Abar, the mean over the H steps of `E_{s ~ d_h} E_{a ~ pi'} A_h(s, a)`.
        max_advantage: eps, `max |E_{a ~ pi'} A_h(s, a)|`, at most R.
        horizon: H.

    Source: Kakade and Langford 2002, Theorem 4.1, with a horizon in place of the discount.

    alpha 0.5, H 2: 0.5 * (2 * 0.2 - 2 * 0.25 * (0 + 0.5))

    >>> round(mixture_horizon_gain(step_size=0.5, policy_advantage=0.2, max_advantage=0.25,
    ...                            horizon=2), 12)
    0.075
    """
    check_step_size(step_size)
    deviated = sum(1 - (1 - step_size) ** step for step in range(horizon))
    return step_size * (horizon * policy_advantage - 2 * max_advantage * deviated)


def search_gap(*, mismatches: list[float], errors: list[float]) -> float:
    """Compute `sum_h C_h * err_h`, a bound on the gap to optimal return of a PSDP policy.

    Args:
        mismatches: `||d_{pi*,h} / mu_h||_inf` for each step.
        errors: `E_{s ~ mu_h} [max_a Q_h(s, a) - V_h(s)]` of the PSDP policy, for each step.

    Source: Bagnell, Kakade, Ng and Schneider 2003, Theorem 1, with ratios for its distances.
    """
    return sum(_times(error, ratio) for ratio, error in zip(mismatches, errors, strict=True))


def num_samples(*, value_range: float, accuracy: float, failure: float) -> int:
    """Compute how many samples put a mean within `accuracy` with probability `1 - failure`.

    `range**2 * ln(2 / failure) / (2 * accuracy**2)`, rounded up.

    Args:
        value_range: Width of the interval that contains every sample.
        accuracy: Largest error of the mean.
        failure: Probability of a larger one.

    Source: Hoeffding 1963, Theorem 2; used in Kakade and Langford 2002, section 4.

    >>> num_samples(value_range=2.0, accuracy=0.1, failure=0.05)  # 4 * 3.6889 / 0.02
    738
    """
    _check_accuracy(accuracy)
    _check_failure(failure)
    return math.ceil(value_range**2 * math.log(2 / failure) / (2 * accuracy**2))


def _times(factor: float, ratio: float) -> float:
    """Multiply; 0 times an infinite mismatch is infinity, because the bound guarantees nothing."""
    return float("inf") if math.isinf(ratio) else factor * ratio


def _check_max_reward(max_reward: float) -> None:
    if not max_reward > 0.0:
        raise ConfigError(
            f"max_reward must be above 0, got {shown(max_reward)}; without reward nothing can gain"
        )


def _check_failure(failure: float) -> None:
    if not 0.0 < failure < 1.0:
        raise ConfigError(f"failure must be in 0..1, got {shown(failure)}; give a probability")


def _check_accuracy(accuracy: float) -> None:
    if not accuracy > 0.0:
        raise ConfigError(f"accuracy must be above 0, got {shown(accuracy)}; give a tolerance")
