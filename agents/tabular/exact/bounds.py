"""What the papers promise, as functions: each bound with its source and with its assumptions.

All take plain numbers, so that a bound can be checked against exact figures, or fed with estimates.
Discounted values are normalised, in `[0, R]` (see mdp.py); for a horizon, R bounds the return.

Not covered: the constants of RRPO's and SRPO's own Theorem 1 (arXiv 2605.25507), which needs their
model of a thought MDP. The pair for a horizon below is our stand-in, with its proof in words.
"""

import math

from reason_env.agents.tabular.exact.mdp import check_step_size, check_threshold
from reason_env.errors import ConfigError, shown


def mixture_gain(
    *, step_size: float, policy_advantage: float, max_advantage: float, discount: float
) -> float:
    """Returns a lower bound on the gain from mu of `(1 - alpha) pi + alpha pi'`.

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
    """Returns `(1 - discount) * A / (4 R)`, and 0 where the advantage is not positive.

    Source: Kakade and Langford 2002, Corollary 4.2.

    >>> round(cpi_step_size(policy_advantage=0.2, max_reward=1.0, discount=0.9), 12)
    0.005
    """
    _check_max_reward(max_reward)
    return max(0.0, (1 - discount) * policy_advantage / (4 * max_reward))


def cpi_gain(*, policy_advantage: float, max_reward: float) -> float:
    """Returns `A**2 / (8 R)`: the gain from mu that `cpi_step_size` guarantees.

    Source: Kakade and Langford 2002, Corollary 4.2.
    """
    _check_max_reward(max_reward)
    return max(0.0, policy_advantage) ** 2 / (8 * max_reward)


def cpi_num_calls(*, max_reward: float, accuracy: float) -> int:
    """Returns `72 R**2 / accuracy**2`, the most improvement calls until CPI stops.

    Each call gains at least `(accuracy / 3)**2 / (8 R)`, and the value stays in `[0, R]`.

    Source: Kakade and Langford 2002, Theorem 4.4.

    >>> cpi_num_calls(max_reward=1.0, accuracy=0.1)
    7200
    """
    _check_max_reward(max_reward)
    _check_accuracy(accuracy)
    # The quotient is a float just off an integer; 7200.000000000001 calls are 7200.
    return math.floor(72 * (max_reward / accuracy) ** 2 * (1 + 1e-12))


def cpi_num_samples(
    *, value_range: float, max_reward: float, accuracy: float, failure: float
) -> int:
    """Returns the samples of one estimate of CPI: `O(R**2 / eps**2 * log(R**2 / (delta eps**2)))`.

    All of the at most `72 R**2 / eps**2` estimates are to be within `eps / 3`, so each may fail
    with that share of delta (`num_samples`). The paper leaves the constant open; this is the
    constant of Hoeffding's inequality. What the chooser of candidates needs, it leaves open too.

    Args:
        value_range: Width of the interval that holds one sample: `2 A R` for the paper's uniform
            action, `2 R` where every action is tried in each state.
        max_reward: R.
        accuracy: eps.
        failure: delta, the chance that any of the estimates is worse.

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
    """Returns `OPT / (1 - discount) * ||d_{pi*,D} / d_{pi,mu}||_inf`: how far pi is from optimal.

    The gap is measured from D. `restart_gap` is its weaker form, which needs no occupancy of pi.

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
    """Returns `OPT / (1 - discount)**2 * ||d_{pi*,D} / mu||_inf`; infinite without support.

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
    """Returns Pirotta's lower bound on the gain from mu of `(1 - alpha) pi + alpha pi'`.

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
    """Returns the step that maximises `safe_gain`: `(1 - g) A / (g * distance * range)`, at most 1.

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
    """Returns `tau / (2 R H)`, the step of credit assignment: it does not depend on p.

    Source: our stand-in for arXiv 2605.25507, Theorem 1; see `oracle_reset_gain`.
    """
    check_threshold(threshold)
    _check_max_reward(max_return)
    return min(1.0, threshold / (2 * max_return * horizon))


def oracle_reset_gain(*, coverage: float, threshold: float, max_return: float) -> float:
    """Returns `p tau**2 / (4 R)`: the gain when pi' is greedy in improvable states only.

    Proof: with probability at least `(1 - alpha)**h >= 1/2` no deviation has happened before step
    h, so the mixture still meets the improvable states of pi: the gain is at least
    `alpha * H * p * tau / 2`.

    Args:
        coverage: p, the chance that a uniformly drawn step of pi is improvable.
        threshold: tau, the advantage that makes a state improvable; at most R.
        max_return: R, returns lie in `[0, R]`.

    Source: our stand-in for arXiv 2605.25507, Theorem 1.

    >>> oracle_reset_gain(coverage=0.1, threshold=0.5, max_return=1.0)
    0.00625
    """
    check_threshold(threshold)
    _check_max_reward(max_return)
    return coverage * threshold**2 / (4 * max_return)


def random_reset_step_size(*, policy_advantage: float, max_return: float, horizon: int) -> float:
    """Returns `Abar / (2 R H)`, the step of random resets; Abar is the mean over steps.

    Source: our stand-in for arXiv 2605.25507, Theorem 1.
    """
    _check_max_reward(max_return)
    return min(1.0, max(0.0, policy_advantage) / (2 * max_return * horizon))


def random_reset_gain(*, policy_advantage: float, max_return: float) -> float:
    """Returns `Abar**2 / (4 R)`: the gain when pi' is greedy at every step.

    In the worst case `Abar = p tau`, hence `p**2 tau**2 / (4 R)`, p times the oracle's.

    Source: our stand-in for arXiv 2605.25507, Theorem 1.

    >>> random_reset_gain(policy_advantage=0.5, max_return=1.0)
    0.0625
    """
    _check_max_reward(max_return)
    return max(0.0, policy_advantage) ** 2 / (4 * max_return)


def greedy_horizon_gain(*, step_size: float, policy_advantage: float, horizon: int) -> float:
    """Returns `alpha (1 - alpha)**(H - 1) H Abar`: the gain of a candidate that is nowhere worse.

    An exactly greedy candidate has advantages >= 0 in every state, so no deviation ever costs, and
    `alpha = 1 / H` gains a constant share of Abar. The small steps above are the price of not
    knowing the advantages exactly, not of conservatism as such.

    Source: ours; the same argument as `oracle_reset_gain`, before its step is chosen.
    """
    check_step_size(step_size)
    return step_size * (1 - step_size) ** (horizon - 1) * horizon * policy_advantage


def mixture_horizon_gain(
    *, step_size: float, policy_advantage: float, max_advantage: float, horizon: int
) -> float:
    """Returns a lower bound on the gain of `(1 - alpha) pi + alpha pi'` over a horizon, any alpha.

    `alpha * (H * Abar - 2 eps * sum_h (1 - (1 - alpha)**h))`, h = 0..H-1. With chance
    `(1 - alpha)**h` no deviation has happened before step h, and the state is pi's own; otherwise
    the advantage there is off by at most `2 eps`. It is linear in alpha for H = 1.

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
    """Returns `sum_h C_h * err_h`: how far a PSDP policy is from optimal, in return.

    Args:
        mismatches: `||d_{pi*,h} / mu_h||_inf` for each step.
        errors: `E_{s ~ mu_h} [max_a Q_h(s, a) - V_h(s)]` of the policy that was built.

    Source: Bagnell, Kakade, Ng and Schneider 2003, Theorem 1, with ratios for its distances.
    """
    return sum(_times(error, ratio) for ratio, error in zip(mismatches, errors, strict=True))


def num_samples(*, value_range: float, accuracy: float, failure: float) -> int:
    """Returns how many samples put a mean within `accuracy` with probability `1 - failure`.

    `range**2 * ln(2 / failure) / (2 * accuracy**2)`, rounded up.

    Args:
        value_range: Width of the interval that holds every sample.
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
    """Returns the product, with 0 times an infinite mismatch as infinity: nothing is promised."""
    return float("inf") if math.isinf(ratio) else factor * ratio


def _check_max_reward(max_reward: float) -> None:
    if not max_reward > 0.0:
        raise ConfigError(
            f"max_reward must be above 0, got {shown(max_reward)}; with no reward there is no gain"
        )


def _check_failure(failure: float) -> None:
    if not 0.0 < failure < 1.0:
        raise ConfigError(f"failure must be in 0..1, got {shown(failure)}; give a probability")


def _check_accuracy(accuracy: float) -> None:
    if not accuracy > 0.0:
        raise ConfigError(f"accuracy must be above 0, got {shown(accuracy)}; give a tolerance")
