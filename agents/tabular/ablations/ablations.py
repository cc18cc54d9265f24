"""The theory's questions as pure functions `seed -> rows`; every row is a flat record for a CSV.

Each function fixes one small world and turns one knob; random resets against the oracle are in
`coverage.py`, Scherrer's comparison in `scherrer.py`. What the rows should show is checked by
`benchmarks/tabular/claims.py`; how they look is in `figures.py`.

Axes: S states, A actions, H steps, N samples.
"""

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.exact import (
    Array,
    TabularMDP,
    bounds,
    budgeted_gain,
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
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.sampled import (
    SampledCritic,
    Simulator,
    returns_with_action,
    sampled_cpi,
)
from reason_env.agents.tabular.worlds import families
from reason_env.tabular import CRITICAL, combination_lock, reason_tree, restart_chain

Row = dict[str, str | int | float]

STEP_SIZES = tuple(float(step) for step in np.geomspace(1e-4, 1.0, 17))
OFFSETS = range(-4, 5)
CHAIN_LENGTHS = (4, 6, 8, 10, 12)
LOCK_LENGTHS = (2, 4, 6, 8, 10, 12)
_MAX_TRANSITIONS = 20_000_000


def step_size(seed: int) -> list[Row]:
    """Returns realised gain beside both lower bounds, over step sizes, on one Garnet."""
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
    """Returns the gap at which CPI stops, by restart distribution, beside its mismatch and bound.

    CPI with a line search stops when no candidate has a policy advantage above 1e-4 of the largest
    normalised value: below that, no budget of samples would tell it from 0.
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
            one = evaluate(mdp, last.policy_SA, mu.distribution(mdp, last.policy_SA))
            left = policy_advantage(one, greedy(one.action_value_SA))
            best_S = occupancy(mdp, best_SA)
            ratio = mismatch(best_S, one.occupancy_S)
            limit = bounds.optimality_gap(
                optimal_policy_advantage=left, occupancy_mismatch=ratio, discount=mdp.discount
            )
            rows.append(
                {
                    "seed": seed,
                    "world": world,
                    "restart": name,
                    "gap": (best - last.performance) / best,
                    "mismatch": ratio,
                    "restart_mismatch": mismatch(best_S, one.restart_S),
                    "bound": limit / best,
                }
            )
    return rows


def _jittered(policy_SA: Array, rng: np.random.Generator) -> Array:
    noise_SA = rng.dirichlet(np.ones(policy_SA.shape[1]), size=len(policy_SA))
    return 0.9 * policy_SA + 0.1 * noise_SA


def localisation(seed: int) -> list[Row]:
    """Returns what a reset is worth when the named step is off by -4..+4, exactly.

    `advantage` is the best action's advantage where the reset lands; samples to see it grow as its
    inverse square. The gain is that of one conservative step whose weight in each state is
    proportional to how often the resets land there, with one budget of resets for all offsets.
    In one world mistakes are final, in the other half of the wrong actions can be repaired.
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
