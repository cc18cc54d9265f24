"""Scherrer's comparison of approximate policy iteration schemes on Garnet problems.

Cells: num_states 50, 100, 200; num_actions 2, 5, 10; branching 1, 2, 10; discount 0.99. Rewards
belong to states and features to the problem, both uniform in 0..1; there are `num_states / 10`
features. The greedy step is exact for a value that was blurred: 10 % noise, then projected on the
features, weighted by mu (uniform) or d_{pi,mu}. Loss is the gap to optimal from uniform starts.
CPI+ is CPI (its stopping rule too) with a line search over its own step times 1, 2, 4, ...

The paper's words leave open what the noise is 10 % of, and where the algorithms begin: `READINGS`
has three answers and two variants of our own. The uniform policy is the first.

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
"""Runs of each arm on each Garnet, by its size; they differ in the noise. The paper has 30."""

READINGS: dict[str, Callable[[Array, np.random.Generator], Chooser]] = {
    "value": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "value"),
    "constant": lambda features, rng: ValueFeatureChooser(with_constant(features), 0.1, rng),
    "largest_value": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "largest_value"),
    "reward": lambda features, rng: ValueFeatureChooser(features, 0.1, rng, "reward"),
    "actions": lambda features, rng: ActionFeatureChooser(features, 0.1, rng),
}
"""What the noise is 10 % of: each value, the largest there could be, or one reward. `constant` is
`value` with a constant among the features; `actions` fits the values of each action instead."""


def with_constant(features_SF: Array) -> Array:
    """Returns the features with 1 in place of the first.

    >>> with_constant(np.array([[0.3, 0.4]])).tolist()
    [[1.0, 0.4]]
    """
    return np.concatenate([np.ones((len(features_SF), 1)), features_SF[:, 1:]], axis=1)


def cells(
    seed: int, *, num_states: int, reading: str = "value", num_runs: int | None = None
) -> list[Row]:
    """Returns one Garnet's rows for each of the nine cells of this size and each arm.

    Columns: the gap of the first policy; the mean gap over iterations and runs; that of the last
    ten iterations (`last_gap`) and its standard deviation over runs (`run_deviation`), each
    iteration by itself; and after how many steps the arm stopped by itself, in the mean.
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
    """Returns the performance of each iteration and how many steps were taken."""
    found = [one.performance for one in arm_iterates(arm, mdp, key, reading=reading)]
    return found + found[-1:] * (NUM_ITERATIONS + 1 - len(found)), len(found) - 1


def arm_iterates(
    arm: str, mdp: TabularMDP, key: list[int], *, reading: str = "value"
) -> Iterator[Iterate]:
    """Returns an arm's iterates; every arm and run sees the same features, and noise of its own.

    Args:
        arm: One of `ARMS`.
        mdp: The Garnet.
        key: Seed; its last number is the run's.
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
    first, mu, many = uniform_policy(mdp), Uniform(), NUM_ITERATIONS
    if arm in ("API", "API(0.1)"):
        size = 1.0 if arm == "API" else 0.1
        return policy_iteration(
            mdp, first, restart=mu, num_iterations=many, step_size=size, critic=critic
        )
    if arm in ("CPI+", "CPI(0.1)"):
        return conservative_policy_iteration(
            mdp,
            first,
            restart=mu,
            num_iterations=many,
            critic=critic,
            step_rule=doubling_step if arm == "CPI+" else fixed_step(0.1),
            stop_below=0.0 if arm == "CPI+" else -np.inf,
        )
    if arm == "PSDP":
        return policy_search(mdp, first, restart=mu, num_iterations=many, critic=critic)
    if arm not in ARMS:
        raise UnknownNameError(f"no arm {arm!r} among {len(ARMS)}{did_you_mean(arm, ARMS)}")
    return nonstationary_policy_iteration(
        mdp,
        first,
        restart=mu,
        num_iterations=many,
        num_policies=int(arm[5:-1]),
        critic=critic,
    )
