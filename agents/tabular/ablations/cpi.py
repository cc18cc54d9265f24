"""CPI with exact values: gains against their lower bounds, and the effect of the restarts.

Axes: S states, A actions.
"""

import numpy as np

from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.exact import (
    Array,
    TabularMDP,
    bounds,
    conservative_policy_iteration,
    evaluate,
    greedy,
    kakade_langford_step,
    line_search_step,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    performance,
    policy_advantage,
    restarts,
    safe_step,
    uniform_policy,
)
from reason_env.agents.tabular.worlds import families
from reason_env.tabular import combination_lock, reason_tree, restart_chain

STEP_SIZES = tuple(float(step) for step in np.geomspace(1e-4, 1.0, 17))


def step_size(seed: int) -> list[Row]:
    """Compute the realised gain and both lower bounds over step sizes, on one Garnet."""
    rng = np.random.default_rng([seed, 1])
    mdp = families.garnet(num_states=30, num_actions=4, branching=3, discount=0.9, rng=rng)
    old = evaluate(mdp, families.random_policy(mdp, rng))
    candidate_SA = greedy(old.action_value_SA)
    advantage_S = (candidate_SA * old.advantage_SA).sum(-1)
    advantage = policy_advantage(old, candidate_SA)
    distance = float(np.abs(candidate_SA - old.policy_SA).sum(-1).max())
    before = performance(mdp, old.policy_SA)
    marked = {
        kakade_langford_step(mdp, old, candidate_SA)[0]: "kakade_langford",
        safe_step(mdp, old, candidate_SA)[0]: "safe",
    }
    return [
        {
            "seed": seed,
            "step_size": step,
            "rule": marked.get(step, "grid"),
            "realised_gain": performance(mdp, mix(old.policy_SA, candidate_SA, step)) - before,
            "mixture_bound": bounds.mixture_gain(
                step_size=step,
                policy_advantage=advantage,
                max_advantage=float(np.abs(advantage_S).max()),
                discount=mdp.discount,
            ),
            "safe_bound": bounds.safe_gain(
                step_size=step,
                policy_advantage=advantage,
                policy_distance=distance,
                advantage_range=float(np.ptp(advantage_S)),
                discount=mdp.discount,
            ),
        }
        for step in (*STEP_SIZES, *marked)
    ]


def restart(seed: int) -> list[Row]:
    """Compute the gap at which CPI stops, its mismatch and its bound, by restart distribution.

    CPI with a line search stops when no candidate has a policy advantage above 1e-4 of the largest
    normalised value; no realistic number of samples would distinguish a smaller one from 0.
    """
    rng = np.random.default_rng([seed, 2])
    worlds = {
        "chain": restart_chain(num_states=16),
        "lock": combination_lock(num_steps=8, num_actions=3, seed=seed),
        "tree": reason_tree(num_steps=10, critical_rate=0.4, recoverable_fraction=0.0, seed=seed),
    }
    rows: list[Row] = []
    for world, model in worlds.items():
        mdp = TabularMDP.from_model(model, discount=0.9)
        best_SA = optimal_policy(mdp)
        best = performance(mdp, best_SA)
        scale = float(evaluate(mdp, best_SA).value_S.max())
        mus: dict[str, restarts.Restart] = {
            "initial": restarts.Initial(),
            "uniform": restarts.Uniform(),
            "reference": restarts.Occupancy(families.reference_policy(model)),
            "own_failures": restarts.OwnFailures(max_return=scale),
            "improvable": restarts.Improvable(1e-3 * scale),
            "half_reference": restarts.Mixture(
                restarts.Occupancy(families.reference_policy(model)), 0.5
            ),
        }
        start_SA = _jittered(uniform_policy(mdp), rng)
        for name, mu in mus.items():
            *_, last = conservative_policy_iteration(
                mdp,
                start_SA,
                restart=mu,
                num_iterations=200,
                step_rule=line_search_step,
                stop_below=1e-4 * scale,
            )
            final = evaluate(mdp, last.policy_SA, mu.distribution(mdp, last.policy_SA))
            advantage = policy_advantage(final, greedy(final.action_value_SA))
            best_S = occupancy(mdp, best_SA)
            ratio = mismatch(best_S, final.occupancy_S)
            gap_bound = bounds.optimality_gap(
                optimal_policy_advantage=advantage, occupancy_mismatch=ratio, discount=mdp.discount
            )
            rows.append(
                {
                    "seed": seed,
                    "world": world,
                    "restart": name,
                    "gap": (best - last.performance) / best,
                    "mismatch": ratio,
                    "restart_mismatch": mismatch(best_S, final.restart_S),
                    "bound": gap_bound / best,
                }
            )
    return rows


def _jittered(policy_SA: Array, rng: np.random.Generator) -> Array:
    noise_SA = rng.dirichlet(np.ones(policy_SA.shape[1]), size=len(policy_SA))
    return 0.9 * policy_SA + 0.1 * noise_SA
