"""Speed of the tabular code: time of an exact CPI iteration, and simulated transitions a second.

    OMP_NUM_THREADS=1 python -m benchmarks.tabular.speed

Times are CPU times of this process, because the machine may be shared.
"""

import sys
import time

import numpy as np

from reason_env.agents.tabular.exact import conservative_policy_iteration, uniform_policy
from reason_env.agents.tabular.exact.restarts import Initial
from reason_env.agents.tabular.sampled import SampledCritic, Simulator, draw_states
from reason_env.agents.tabular.sampled.estimates import stopped_rewards
from reason_env.agents.tabular.worlds import garnet

SETTINGS = ((50, 2, 2), (200, 10, 10), (1000, 10, 10))
"""(states, actions, branching)."""


def run(setting: tuple[int, int, int]) -> dict[str, float]:
    """Measure seconds per exact CPI iteration, and transitions a second without and in a critic."""
    num_states, num_actions, branching = setting
    rng = np.random.default_rng(0)
    mdp = garnet(
        num_states=num_states,
        num_actions=num_actions,
        branching=branching,
        discount=0.99,
        rng=rng,
    )
    policy = uniform_policy(mdp)
    iterates = conservative_policy_iteration(mdp, policy, restart=Initial(), num_iterations=100)
    next(iterates)
    seconds: list[float] = []
    for _ in range(10):
        began = time.process_time()
        next(iterates)
        seconds.append(time.process_time() - began)
    simulator = Simulator(mdp, policy)
    began = time.process_time()
    stopped_rewards(simulator, draw_states(mdp.start_S, 20_000, rng), rng)
    rate = simulator.num_transitions / (time.process_time() - began)
    critic = SampledCritic(20_000 // num_actions, rng)
    began = time.process_time()
    critic.evaluate(mdp, policy, mdp.start_S)
    answer_s = time.process_time() - began
    return {
        "iteration_s": float(np.median(seconds)),
        "transitions_per_s": rate,
        "critic_per_s": critic.num_transitions / answer_s,
    }


def main() -> int:
    """Print one line per size, and the targets."""
    for setting in SETTINGS:
        found = run(setting)
        print(
            f"{setting[0]:5} states x {setting[1]:2} actions, branching {setting[2]:2}: "
            f"CPI iteration {1e3 * found['iteration_s']:7.2f} ms, "
            f"{found['transitions_per_s'] / 1e6:5.1f} M transitions/s, "
            f"{found['critic_per_s'] / 1e6:5.1f} M/s in a sampled critic"
        )
    print("targets: 50 ms at 1,000 x 10; 1 M transitions/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
