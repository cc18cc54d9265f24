"""Scherrer's comparison of approximate policy iteration schemes on Garnet problems.

Cells: num_states 50, 100, 200; num_actions 2, 5, 10; branching 1, 2, 10; discount 0.99. Rewards
depend on the state; each problem has `num_states / 10` features; both are uniform in 0..1. The
greedy step is exact for an approximate value: the value with 10 % noise, projected on the features,
weighted by mu (uniform) or d_{pi,mu}. The loss is the gap to optimal from uniform starts. CPI+ is
CPI, with its stopping rule, and a line search over its own step times 1, 2, 4, ...

The paper does not say what the noise is 10 % of, nor where the algorithms start. `READINGS` has
three readings of the noise and two variants of ours; the first policy is uniform.

Source: Scherrer 2014, "Approximate Policy Iteration Schemes: A Comparison", arXiv 1405.2878,
section 4 and appendix D.
"""

from collections.abc import Callable, Iterator

import numpy as np

from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.exact import (
    ActionFeatureChooser,
    Array,
    Chooser,
    Critic,
    ExactCritic,
    Iterate,
    TabularMDP,
    Uniform,
    ValueFeatureChooser,
    conservative_policy_iteration,
    doubling_step,
    fixed_step,
    nonstationary_policy_iteration,
    optimal_policy,
    performance,
    policy_iteration,
    policy_search,
    uniform_policy,
)
from reason_env.agents.tabular.worlds import garnet
from reason_env.errors import UnknownNameError, did_you_mean

NUM_STATES = (50, 100, 200)
NUM_ACTIONS = (2, 5, 10)
BRANCHING = (1, 2, 10)
ARMS = ("API", "API(0.1)", "CPI+", "CPI(0.1)", "NSPI(5)", "NSPI(10)", "NSPI(30)", "PSDP")
NUM_ITERATIONS = 100
NUM_RUNS = {50: 3, 100: 2, 200: 1}
"""Runs of each arm on each Garnet, by size; they differ in the noise. The paper uses 30."""

READINGS: dict[str, Callable[[Array, np.random.Generator], Chooser]] = {
    "value": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "value"),
    "constant": lambda features, rng: ValueFeatureChooser(with_constant(features), 0.1, rng),
    "largest_value": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "largest_value"),
    "reward": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "reward"),
    "actions": lambda features, rng: ActionFeatureChooser(features, 0.1, rng),
}
"""The scale of the 10 % noise: each value, the largest possible value, or one reward. `constant` is
`value` with a constant feature; `actions` fits the values of each action instead."""


def with_constant(features_SF: Array) -> Array:
    """Replace the first feature by the constant 1.

    >>> with_constant(np.array([[0.3, 0.4]])).tolist()
    [[1.0, 0.4]]
    """
    return np.concatenate([np.ones((len(features_SF), 1)), features_SF[:, 1:]], axis=1)


def cells(
    seed: int, *, num_states: int, reading: str = "value", num_runs: int | None = None
) -> list[Row]:
    """Run each arm on one Garnet of each of the nine cells of this size; return one row per pair.

    Columns: `first_gap`, the gap of the first policy; `mean_gap`, over iterations and runs;
    `last_gap`, over the last ten iterations; `run_deviation`, the standard deviation over runs in
    each of these iterations, averaged; `num_steps`, the mean number of steps before the arm
    stopped.
    """
    rows: list[Row] = []
    runs = range(NUM_RUNS[num_states] if num_runs is None else num_runs)
    for num_actions in NUM_ACTIONS:
        for branching in BRANCHING:
            key = [seed, num_states, num_actions, branching]
            rng = np.random.default_rng(key)
            mdp = garnet(
                num_states=num_states, num_actions=num_actions, branching=branching, rng=rng
            )
            best = performance(mdp, optimal_policy(mdp))
            for arm in ARMS:
                curves = [_curve(arm, mdp, [*key, run], reading) for run in runs]
                gap_RK = best - np.array([curve for curve, _ in curves])
                rows.append(
                    {
                        "seed": seed,
                        "num_states": num_states,
                        "num_actions": num_actions,
                        "branching": branching,
                        "arm": arm,
                        "first_gap": float(gap_RK[0, 0]),
                        "mean_gap": float(gap_RK[:, 1:].mean()),
                        "last_gap": float(gap_RK[:, -10:].mean()),
                        "run_deviation": float(gap_RK[:, -10:].std(axis=0).mean()),
                        "num_steps": float(np.mean([steps for _, steps in curves])),
                    }
                )
    return rows


def _curve(arm: str, mdp: TabularMDP, key: list[int], reading: str) -> tuple[list[float], int]:
    """Return the performance at each iteration, and the number of steps."""
    found = [iterate.performance for iterate in arm_iterates(arm, mdp, key, reading=reading)]
    return found + found[-1:] * (NUM_ITERATIONS + 1 - len(found)), len(found) - 1


def arm_iterates(
    arm: str, mdp: TabularMDP, key: list[int], *, reading: str = "value"
) -> Iterator[Iterate]:
    """Iterate an arm; all arms and runs share the features, each has separate noise.

    Args:
        arm: One of `ARMS`.
        mdp: The Garnet.
        key: Seed; its last number is the index of the run.
        reading: One of `READINGS`.
    """
    if reading not in READINGS:
        raise UnknownNameError(
            f"no reading {reading!r} among {len(READINGS)}{did_you_mean(reading, READINGS)}"
        )
    features_rng = np.random.default_rng([*key[:-1], 1])
    features_SF = features_rng.random((mdp.num_states, mdp.num_states // 10))
    noise_rng = np.random.default_rng([*key, 2, *arm.encode()])
    return _iterates(arm, mdp, ExactCritic(READINGS[reading](features_SF, noise_rng)))


def _iterates(arm: str, mdp: TabularMDP, critic: Critic) -> Iterator[Iterate]:
    first, mu, total = uniform_policy(mdp), Uniform(), NUM_ITERATIONS
    if arm in ("API", "API(0.1)"):
        size = 1.0 if arm == "API" else 0.1
        return policy_iteration(
            mdp, first, restart=mu, num_iterations=total, step_size=size, critic=critic
        )
    if arm in ("CPI+", "CPI(0.1)"):
        return conservative_policy_iteration(
            mdp,
            first,
            restart=mu,
            num_iterations=total,
            critic=critic,
            step_rule=doubling_step if arm == "CPI+" else fixed_step(0.1),
            stop_below=0.0 if arm == "CPI+" else -np.inf,
        )
    if arm == "PSDP":
        return policy_search(mdp, first, restart=mu, num_iterations=total, critic=critic)
    if arm not in ARMS:
        raise UnknownNameError(f"no arm {arm!r} among {len(ARMS)}{did_you_mean(arm, ARMS)}")
    return nonstationary_policy_iteration(
        mdp,
        first,
        restart=mu,
        num_iterations=total,
        num_policies=int(arm[5:-1]),
        critic=critic,
    )
