"""The value of resets: random resets, a credit-assignment oracle, and an oracle that errs.

The number of samples that a policy advantage needs depends on its estimator. `coverage` therefore
compares four estimators: an exact or a noisy verdict, with or without a value baseline.

Axes: S states, A actions, H steps, N samples.
"""

import numpy as np

from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.exact import (
    Array,
    TabularMDP,
    bounds,
    budgeted_gain,
    detection,
    oracle_reset_step,
    random_reset_step,
    restarts,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.sampled import Simulator, draw_states, returns_with_action
from reason_env.agents.tabular.worlds import families
from reason_env.tabular import CRITICAL, reason_tree

CRITICAL_RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
NUM_DRAWN = 200_000
"""Resets drawn to check the exact moments."""
OFFSETS = range(-4, 5)


def coverage(seed: int) -> list[Row]:
    """Compute samples and gain of random resets and of the oracle, over p.

    The tree has two actions, and the policy takes the right one about half of the time, so that the
    advantage of a critical state hardly depends on the number of critical states. With `noise` a
    verdict is right three times out of four; `baseline` subtracts the state's value from each
    sample. `resets` is `random` (the greedy candidate, which changes every state), `random_still`
    (a candidate that changes only improvable states, as if the greedy choice kept the policy at
    ties) or `oracle`.

    `samples` is the number that puts the mean policy advantage three standard errors above 0, from
    the exact mean and variance of a sample (`share_elsewhere`: the part of its mean square from
    states that cannot be improved); `sampled` is the same number from drawn resets.
    `worst_case` is the theory's number, which uses only the range of a sample: Hoeffding's number
    for the sign of the mean.
    """
    return [
        _estimator(seed, rate, noise=noise, baseline=baseline, resets=resets)
        for noise in (True, False)
        for baseline in (False, True)
        for rate in CRITICAL_RATES
        for resets in ("random", "random_still", "oracle")
    ]


def _estimator(seed: int, rate: float, *, noise: bool, baseline: bool, resets: str) -> Row:
    rng = np.random.default_rng([seed, 3, int(1e4 * rate), noise, baseline, len(resets)])
    mdp, policy_HSA, threshold = coverage_world(rate, noise=noise, seed=seed)
    old = finite.evaluate(mdp, policy_HSA)
    step_function = oracle_reset_step if resets == "oracle" else random_reset_step
    taken = step_function(mdp, policy_HSA, threshold=threshold)
    restart_HS = old.occupancy_HS / len(policy_HSA)
    candidate_HSA = finite.everywhere_candidate(old)
    if resets == "oracle":
        restart_HS = restarts.Improvable(threshold).distribution(mdp, policy_HSA)
    if resets != "random":
        candidate_HSA = finite.oracle_candidate(old, threshold)
    found = detection(
        mdp, old, candidate_HSA, restart_HS, threshold=threshold, has_baseline=baseline
    )
    mean = found.mean
    sample_N = _drawn_samples(mdp, old, candidate_HSA, restart_HS, baseline, rng=rng, num=NUM_DRAWN)
    return {
        "seed": seed,
        "noise": int(noise),
        "baseline": int(baseline),
        "resets": resets,
        "critical_rate": rate,
        "coverage": taken.coverage,
        "samples": found.samples(),
        "share_elsewhere": found.share_elsewhere,
        "sampled": max(1.0, float(9 * sample_N.var() / sample_N.mean() ** 2)),
        "worst_case": bounds.num_samples(
            value_range=2.0 * mdp.num_actions, accuracy=mean, failure=0.05
        ),
        "error_of_mean": float((sample_N.mean() - mean) / np.sqrt(found.variance / len(sample_N))),
        "guaranteed_gain": taken.guaranteed_gain,
        "realised_gain": taken.realised_gain,
    }


def coverage_world(
    critical_rate: float, *, noise: bool, seed: int
) -> tuple[TabularMDP, Array, float]:
    """Build the MDP, policy and threshold of `coverage`; length and policy vary with the seed."""
    rng = np.random.default_rng([seed, 6])
    num_steps = int(rng.integers(5, 9))
    model = reason_tree(
        num_steps=num_steps,
        num_actions=2,
        critical_rate=critical_rate,
        recoverable_fraction=0.0,
        ceiling=0.75 if noise else 1.0,
        floor=0.25 if noise else 0.0,
        seed=seed,
    )
    mdp = TabularMDP.from_model(model, horizon=num_steps + 1)
    policy_SA = families.noisy_reference(model, rng.uniform(0.4, 0.6))
    return mdp, finite.checked_policy(mdp, policy_SA), 0.1


def _drawn_samples(
    mdp: TabularMDP,
    old: finite.HorizonEvaluation,
    candidate_HSA: Array,
    restart_HS: Array,
    has_baseline: bool,
    *,
    rng: np.random.Generator,
    num: int,
) -> Array:
    """Sample the policy advantage: reset, take a uniform action, then follow the policy."""
    simulator = Simulator(mdp, old.policy_HSA)
    step_N, state_N = np.divmod(draw_states(restart_HS.ravel(), num, rng), mdp.num_states)
    action_N = rng.integers(mdp.num_actions, size=num)
    return_N = returns_with_action(simulator, state_N.copy(), action_N, step_N, rng)
    if has_baseline:
        return_N = return_N - old.value_HS[step_N, state_N]
    change_N = (candidate_HSA - old.policy_HSA)[step_N, state_N, action_N]
    return mdp.num_actions * return_N * change_N


def localisation(seed: int) -> list[Row]:
    """Compute the exact value of a reset that misses the improvable step by -4..+4 steps.

    `advantage` is the best action's advantage in the state of the reset; the samples needed to
    detect it grow with its inverse square. `gain` is the gain of one conservative step whose weight
    in each state is proportional to the resets there, with the same number of resets for all
    offsets. In one world mistakes are final; in the other half of the wrong actions can be
    repaired.
    """
    return [
        {"seed": seed, "repairable": share, "offset": shift} | _mislocated_step(seed, share, shift)
        for share in (0.0, 0.5)
        for shift in OFFSETS
    ]


def _mislocated_step(seed: int, repairable: float, offset: int) -> Row:
    model = reason_tree(
        num_steps=12,
        num_actions=5,
        critical_rate=0.15,
        recoverable_fraction=repairable,
        seed=seed,
    )
    mdp = TabularMDP.from_model(model, horizon=13)
    policy_HSA = finite.checked_policy(mdp, families.tree_policy(model, right=0.4, repair=0.1))
    old = finite.evaluate(mdp, policy_HSA)
    threshold, budget = 0.05, 0.02
    mu_HS = restarts.mislocated(mdp, policy_HSA, threshold=threshold, offset=offset)
    is_clean_S = np.arange(mdp.num_states) % 4 <= CRITICAL
    return {
        "advantage": float((mu_HS * old.advantage_HSA.max(-1)).sum()),
        "improvable": float(mu_HS[finite.is_improvable(old, threshold)].sum()),
        "clean": float(mu_HS[:, is_clean_S].sum()),
        "gain": budgeted_gain(mdp, policy_HSA, mu_HS, budget),
    }
