"""Margins, realised minus guaranteed, on random MDPs for each inequality of the theory.

Dense MDPs of 2 to 6 states with discounts 0.1 to 0.99; with a horizon, of 1 to 6 steps. `claims.py`
prints the results.
"""

# ruff: noqa: N803, N806 (axis letters, as in agents/tabular)

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.exact import (
    Array,
    TabularMDP,
    bounds,
    evaluate,
    greedy,
    mismatch,
    mix,
    occupancy,
    optimal_policy,
    oracle_reset_step,
    performance,
    policy_advantage,
    random_reset_step,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import performance_difference
from reason_env.agents.tabular.exact.resets import reverse_policy_search, search_gap_bound
from reason_env.agents.tabular.worlds import families


def discounted_margins(num_mdps: int) -> dict[str, list[float]]:
    """Compute the margins of each discounted statement, one per random MDP."""
    margins: dict[str, list[float]] = {}
    for seed in range(num_mdps):
        rng = np.random.default_rng([seed, 11])
        mdp = families.dense_mdp(
            num_states=int(rng.integers(2, 7)),
            num_actions=int(rng.integers(2, 5)),
            discount=float(rng.choice([0.1, 0.5, 0.9, 0.99])),
            rng=rng,
        )
        mu_S = rng.dirichlet(np.ones(mdp.num_states))
        old = evaluate(mdp, families.random_policy(mdp, rng), mu_S)
        candidate_SA = families.random_policy(mdp, rng) if seed % 2 else greedy(old.action_value_SA)
        for name, margin in _margins(mdp, old.policy_SA, mu_S, candidate_SA, rng.random()):
            margins.setdefault(name, []).append(margin)
    return margins


def _margins(
    mdp: TabularMDP, policy_SA: Array, mu_S: Array, candidate_SA: Array, step: float
) -> Iterator[tuple[str, float]]:
    old = evaluate(mdp, policy_SA, mu_S)
    before = float(mu_S @ old.value_S)
    advantage_S = (candidate_SA * old.advantage_SA).sum(-1)
    advantage = policy_advantage(old, candidate_SA)
    safe = {
        "policy_advantage": advantage,
        "policy_distance": float(np.abs(candidate_SA - policy_SA).sum(-1).max()),
        "advantage_range": float(np.ptp(advantage_S)),
        "discount": mdp.discount,
    }

    def gain(size: float) -> float:
        return performance(mdp, mix(policy_SA, candidate_SA, size), mu_S) - before

    yield "difference", -abs(performance_difference(mdp, old, candidate_SA) - gain(1.0))
    guaranteed = bounds.mixture_gain(
        step_size=step,
        policy_advantage=advantage,
        max_advantage=float(np.abs(advantage_S).max()),
        discount=mdp.discount,
    )
    yield "mixture", gain(step) - guaranteed
    reward = mdp.max_reward
    size = bounds.cpi_step_size(
        policy_advantage=advantage, max_reward=reward, discount=mdp.discount
    )
    yield "step", gain(size) - bounds.cpi_gain(policy_advantage=advantage, max_reward=reward)
    yield "safe", gain(step) - bounds.safe_gain(step_size=step, **safe)
    size = bounds.safe_step_size(**safe)
    yield "safe_step", gain(size) - bounds.safe_gain(step_size=size, **safe)
    best_SA = optimal_policy(mdp)
    best_S = occupancy(mdp, best_SA)
    gap = performance(mdp, best_SA) - float(mdp.start_S @ old.value_S)
    left = policy_advantage(old, greedy(old.action_value_SA))
    tight = bounds.optimality_gap(
        optimal_policy_advantage=left,
        occupancy_mismatch=mismatch(best_S, old.occupancy_S),
        discount=mdp.discount,
    )
    loose = bounds.restart_gap(
        optimal_policy_advantage=left,
        restart_mismatch=mismatch(best_S, mu_S),
        discount=mdp.discount,
    )
    yield "gap", tight - gap
    yield "restart_gap", loose - gap


def horizon_margins(num_mdps: int) -> dict[str, list[float]]:
    """Compute the margins of each statement with a horizon, one per random MDP."""
    margins: dict[str, list[float]] = {}
    for seed in range(num_mdps):
        rng = np.random.default_rng([seed, 12])
        steps = int(rng.integers(1, 7))
        dense = families.dense_mdp(
            num_states=int(rng.integers(2, 6)), num_actions=int(rng.integers(2, 4)), rng=rng
        )
        mdp = TabularMDP(
            transition_SAS=dense.transition_SAS,
            reward_SA=dense.reward_SA / steps,
            start_S=dense.start_S,
            horizon=steps,
        )
        shape = (steps, mdp.num_states)
        policy_HSA = rng.dirichlet(np.full(mdp.num_actions, 0.5), size=shape)
        threshold = float(rng.choice([0.01, 0.05, 0.2]))
        old = finite.evaluate(mdp, policy_HSA)
        random = random_reset_step(mdp, policy_HSA, threshold=threshold)
        oracle = oracle_reset_step(mdp, policy_HSA, threshold=threshold)
        candidate_HSA = finite.everywhere_candidate(old)
        full = finite.evaluate(mdp, mix(old.policy_HSA, candidate_HSA, 1 / steps))
        ours = bounds.greedy_horizon_gain(
            step_size=1 / steps,
            policy_advantage=finite.policy_advantage(old, candidate_HSA),
            horizon=steps,
        )
        worst = bounds.random_reset_gain(
            policy_advantage=random.coverage * threshold, max_return=1.0
        )
        mu_HS = rng.dirichlet(np.ones(mdp.num_states), size=steps)
        best = finite.evaluate(mdp, finite.optimal_policy(mdp)).performance
        *_, searched = reverse_policy_search(mdp, policy_HSA, mu_HS)
        margin_of = {
            "random": random.realised_gain - random.guaranteed_gain,
            "random_worst": random.guaranteed_gain - worst,
            "oracle": oracle.realised_gain - oracle.guaranteed_gain,
            "ours": full.performance - old.performance - ours,
            "search": search_gap_bound(mdp, policy_HSA, mu_HS) - (best - old.performance),
            "search_exact": searched.performance - best,
        }
        for name, margin in margin_of.items():
            margins.setdefault(name, []).append(margin)
    return margins
