"""Exploration in hard chains: sampled CPI by restart distribution, and PSDP from a lock's end.

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
    """Returns how many transitions sampled CPI needs to escape Kakade and Langford's chain.

    Each attempt doubles the samples a call, the accuracy being what they allow, and the count
    includes failed attempts. To escape is to reach half of the optimal value from the first state.
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
    for one in found:
        if one.performance >= best / 2:
            return one.num_transitions, True
        if critic.num_transitions > _MAX_TRANSITIONS:
            break
    # The last evaluation, after which it stopped, is spent as well.
    return critic.num_transitions, False


def _doubling(first: int, last: int) -> Iterator[int]:
    size = first
    while size <= last:
        yield size
        size *= 2


def curriculum(seed: int) -> list[Row]:
    """Returns transitions to open a lock backwards from reference prefixes, and to see one success.

    Backwards is PSDP: at the last digit first, each action is tried once after the reference's own
    prefix and finished by what was learned. From the start, the uniform policy's episodes are
    counted until the first that pays: before it, no method that starts at D has any signal.
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
            # A jammed lock pays nothing more, so an episode ends there.
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
