"""Scherrer's comparison of approximate policy iteration schemes on Garnet problems.

Cells: num_states 50, 100, 200; num_actions 2, 5, 10; branching 1, 2, 10; discount 0.99. Every arm
sees action values through `num_states / 10` random features with 10 % noise (`choose.py`), and is
measured by its distance from optimal, averaged over uniform starts, at each of 100 iterations.

Our choices where the source was not at hand: noise as a fraction of the values' range, one fit an
action, uniform rewards and starts, the uniform policy as the first.

Source: Scherrer 2014, "Approximate Policy Iteration Schemes: A Comparison", arXiv 1405.2878.
"""

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.ablations import Row
from reason_env.agents.tabular.choose import feature_chooser
from reason_env.agents.tabular.families import garnet
from reason_env.agents.tabular.improve import (
    Iterate,
    conservative_policy_iteration,
    fixed_step,
    line_search_step,
    nonstationary_policy_iteration,
    policy_iteration,
    policy_search,
)
from reason_env.agents.tabular.mdp import TabularMDP, optimal_policy, performance, uniform_policy
from reason_env.agents.tabular.restarts import Uniform
from reason_env.errors import UnknownNameError, did_you_mean

NUM_STATES = (50, 100, 200)
NUM_ACTIONS = (2, 5, 10)
BRANCHING = (1, 2, 10)
ARMS = ("API", "API(0.1)", "CPI+", "CPI(0.1)", "NSPI(5)", "NSPI(10)", "NSPI(30)", "PSDP")
NUM_ITERATIONS = 100


def cells(seed: int, *, num_states: int) -> list[Row]:
    """Returns one Garnet's rows for each of the nine cells of this size and each arm."""
    rows: list[Row] = []
    for num_actions in NUM_ACTIONS:
        for branching in BRANCHING:
            key = [seed, num_states, num_actions, branching]
            mdp = garnet(
                num_states=num_states,
                num_actions=num_actions,
                branching=branching,
                rng=np.random.default_rng(key),
            )
            best = performance(mdp, optimal_policy(mdp))
            for arm in ARMS:
                gap_K = best - np.array([one.performance for one in arm_iterates(arm, mdp, key)])
                rows.append(
                    {
                        "seed": seed,
                        "num_states": num_states,
                        "num_actions": num_actions,
                        "branching": branching,
                        "arm": arm,
                        "first_gap": float(gap_K[0]),
                        "mean_gap": float(gap_K[1:].mean()),
                        "last_gap": float(gap_K[-10:].mean()),
                        "last_deviation": float(gap_K[-50:].std()),
                    }
                )
    return rows


def arm_iterates(arm: str, mdp: TabularMDP, key: list[int]) -> Iterator[Iterate]:
    """Returns an arm's iterates; every arm sees the same features, and noise of its own."""
    features_rng, noise_rng = (
        np.random.default_rng([*key, 1]),
        np.random.default_rng([*key, 2, *arm.encode()]),
    )
    choose = feature_chooser(
        mdp.num_states,
        num_features=mdp.num_states // 10,
        noise=0.1,
        features_rng=features_rng,
        noise_rng=noise_rng,
    )
    first, mu, many = uniform_policy(mdp), Uniform(), NUM_ITERATIONS
    if arm in ("API", "API(0.1)"):
        size = 1.0 if arm == "API" else 0.1
        return policy_iteration(
            mdp, first, restart=mu, num_iterations=many, step_size=size, choose=choose
        )
    if arm in ("CPI+", "CPI(0.1)"):
        return conservative_policy_iteration(
            mdp,
            first,
            restart=mu,
            num_iterations=many,
            choose=choose,
            step_rule=line_search_step if arm == "CPI+" else fixed_step(0.1),
            stop_below=-np.inf,
        )
    if arm == "PSDP":
        return policy_search(mdp, first, restart=mu, num_iterations=many, choose=choose)
    if arm not in ARMS:
        raise UnknownNameError(f"no arm {arm!r} among {len(ARMS)}{did_you_mean(arm, ARMS)}")
    return nonstationary_policy_iteration(
        mdp,
        first,
        restart=mu,
        num_iterations=many,
        num_policies=int(arm[5:-1]),
        choose=choose,
    )
