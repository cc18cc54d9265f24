"""Exploration: sampled CPI on Kakade and Langford's chain, and PSDP on the combination lock.

Axes: S states, A actions, H steps, N samples.
"""

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.ablations.rows import Row
from reason_env.agents.tabular.exact import (
    TabularMDP,
    greedy,
    optimal_policy,
    performance,
    restarts,
    uniform_policy,
)
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.sampled import (
    SampledCritic,
    Simulator,
    returns_with_action,
    sampled_cpi,
)
from reason_env.tabular import combination_lock, restart_chain

CHAIN_LENGTHS = (4, 6, 8, 10, 12)
LOCK_LENGTHS = (2, 4, 6, 8, 10, 12)
_MAX_TRANSITIONS = 20_000_000


def chain(seed: int) -> list[Row]:
    """Count the transitions that sampled CPI needs to escape Kakade and Langford's chain.

    Each attempt doubles the samples per call and sets the accuracy that they allow; the count
    includes failed attempts. A policy escapes if it has half of the optimal value from the first
    state.
    """
    rows: list[Row] = []
    for length in CHAIN_LENGTHS:
        mdp = TabularMDP.from_model(restart_chain(num_states=length), discount=0.9)
        best = performance(mdp, optimal_policy(mdp))
        for name, mu in (("initial", restarts.Initial()), ("uniform", restarts.Uniform())):
            rng = np.random.default_rng([seed, 4, length, name == "uniform"])
            transitions, has_escaped = 0, False
            for size in _doubling(500, _MAX_TRANSITIONS // 100):
                used, has_escaped = _attempt(mdp, mu, size, best, rng)
                transitions += used
                if has_escaped or transitions > _MAX_TRANSITIONS:
                    break
            rows.append(
                {
                    "seed": seed,
                    "length": length,
                    "restart": name,
                    "escaped": int(has_escaped),
                    "transitions": transitions,
                    "uniform_policy_steps": 3 * (2**length - length - 1),
                }
            )
    return rows


def _attempt(
    mdp: TabularMDP, mu: restarts.Restart, size: int, best: float, rng: np.random.Generator
) -> tuple[int, bool]:
    critic = SampledCritic(size, rng)
    found = sampled_cpi(
        mdp,
        uniform_policy(mdp),
        restart=mu,
        accuracy=0.45 / np.sqrt(size),
        critic=critic,
        step_size=0.5,
    )
    for iterate in found:
        if iterate.performance >= best / 2:
            return iterate.num_transitions, True
        if critic.num_transitions > _MAX_TRANSITIONS:
            break
    # Includes the last evaluation, after which the algorithm stopped.
    return critic.num_transitions, False


def _doubling(first: int, last: int) -> Iterator[int]:
    size = first
    while size <= last:
        yield size
        size *= 2


def curriculum(seed: int) -> list[Row]:
    """Count the transitions to solve a lock backwards, and to see one success from the start.

    Backwards is PSDP: from the last digit to the first, it tries each action once after the
    reference prefix and finishes with the policies learned so far. From the start, the count ends
    with the uniform policy's first success; before that, a method that starts from D has no signal.
    """
    rows: list[Row] = []
    for length in LOCK_LENGTHS:
        rng = np.random.default_rng([seed, 5, length])
        model = combination_lock(num_steps=length, num_actions=3, seed=seed)
        mdp = TabularMDP.from_model(model, horizon=length)
        policy_HSA = finite.checked_policy(mdp, uniform_policy(mdp)).copy()
        backwards = 0
        for digit in reversed(range(length)):
            simulator = Simulator(mdp, policy_HSA)
            action_N = np.arange(mdp.num_actions)
            place_N = np.full(mdp.num_actions, digit)
            return_N = returns_with_action(simulator, place_N.copy(), action_N, place_N, rng)
            policy_HSA[digit, digit] = greedy(return_N)
            # A wrong digit jams the lock and ends the episode.
            backwards += mdp.num_actions - 1 + (length - digit)
        success = float(mdp.num_actions) ** -length
        episodes = int(rng.geometric(success))
        rows.append(
            {
                "seed": seed,
                "length": length,
                "backwards_transitions": backwards,
                "backwards_success": finite.evaluate(mdp, policy_HSA).performance,
                "from_start_transitions": round(episodes * (1 - success) / (1 - 1 / 3)),
                "expected_episodes": 1 / success,
            }
        )
    return rows
