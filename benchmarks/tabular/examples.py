"""Claims about worked examples: K&L's chain and plateau, CPI's calls and samples, RRPO restarts."""

# ruff: noqa: N806 (axis letters, as in agents/tabular)

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reason_env.agents.tabular.exact import (
    Array,
    TabularMDP,
    bounds,
    conservative_policy_iteration,
    evaluate,
    greedy,
    mismatch,
    occupancy,
    optimal_policy,
    performance,
    policy_advantage,
    restarts,
    uniform_policy,
)
from reason_env.agents.tabular.exact.improve import softmax_policy_gradient
from reason_env.agents.tabular.sampled import sampled_cpi
from reason_env.agents.tabular.sampled.critic import theorem_critic
from reason_env.agents.tabular.worlds import families
from reason_env.tabular import combination_lock, restart_chain


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement, the measurement, and whether the statement holds."""

    statement: str
    measured: str
    holds: bool


def example_claims() -> Iterator[Claim]:
    """Yield the two examples of Kakade and Langford, and the number of CPI's calls."""
    worst = 0.0
    for length in range(2, 21):
        step_SS: Array = restart_chain(num_states=length).transition.mean(1)[:-1, :-1]
        hitting = np.linalg.solve(np.eye(length - 1) - step_SS, np.ones(length - 1))[0]
        worst = max(worst, abs(hitting / (3 * (2**length - length - 1)) - 1))
    yield Claim(
        "K&L chain: uniform policy needs 3(2^n - n - 1) steps",
        f"n = 2..20, largest relative error {worst:.1e}",
        worst < 1e-6,
    )
    mdp = families.two_state_plateau()
    logits_SA = np.log(families.plateau_policy())
    performances = [
        iterate.performance
        for iterate in softmax_policy_gradient(
            mdp,
            logits_SA,
            restart=restarts.Initial(),
            num_iterations=1000,
            learning_rate=0.1,
        )
    ]
    slow = next(index for index, value in enumerate(performances) if value > 1.5)
    flat = sum(0.9 <= value <= 1.1 for value in performances)
    exact = conservative_policy_iteration(
        mdp,
        families.plateau_policy(),
        restart=restarts.Uniform(),
        num_iterations=5,
        step_rule=_full_step,
    )
    fast = next(index for index, iterate in enumerate(exact) if iterate.performance > 1.5)
    yield Claim(
        "two-state plateau: softmax gradient waits near value 1",
        f"{flat} of its first {slow} iterations in 0.9..1.1; greedy from uniform mu: {fast}",
        flat > slow / 3 and fast < slow,
    )
    small = families.garnet(
        num_states=10, num_actions=3, branching=2, discount=0.5, rng=np.random.default_rng(0)
    )
    accuracy = 0.05
    *iterates, last = conservative_policy_iteration(
        small,
        np.full((10, 3), 1 / 3),
        restart=restarts.Initial(),
        num_iterations=100_000,
        stop_below=2 * accuracy / 3,
    )
    gap = performance(small, optimal_policy(small)) - last.performance
    most = bounds.cpi_num_calls(max_reward=small.max_reward, accuracy=accuracy)
    yield Claim(
        "K&L Theorem 4.4: CPI stops within 72 R^2 / eps^2 calls",
        f"{len(iterates)} <= {most}, at a gap of {gap:.3f}",
        0 < len(iterates) <= most,
    )


def sampled_claims(num_seeds: int) -> Iterator[Claim]:
    """Yield the claims of Theorem 4.4 about CPI with the theorem's number of samples."""
    mdp = families.two_state_plateau(discount=0.3)
    accuracy, failure = 0.2 * mdp.max_reward, 0.05
    mu_S = restarts.Uniform().distribution(mdp, uniform_policy(mdp))
    num_steps = num_worse = num_left = transitions = 0
    for seed in range(num_seeds):
        rng = np.random.default_rng([seed, 13])
        critic = theorem_critic(mdp, accuracy=accuracy, failure=failure, rng=rng)
        values: list[float] = []
        iterate = None
        for iterate in sampled_cpi(
            mdp,
            families.random_policy(mdp, rng),
            restart=restarts.Uniform(),
            accuracy=accuracy,
            critic=critic,
        ):
            values.append(float(mu_S @ iterate.value_S))
        assert iterate is not None, "the first iterate is the initial policy"
        last = evaluate(mdp, iterate.policy_SA, mu_S)
        num_left += policy_advantage(last, greedy(last.action_value_SA)) > 2 * accuracy
        num_worse += int((np.diff(values) < 0).sum())
        num_steps += len(values) - 1
        transitions += critic.num_transitions
    most = bounds.cpi_num_calls(max_reward=mdp.max_reward, accuracy=accuracy)
    yield Claim(
        "K&L Theorem 4.4, sampled: every step improves, and OPT < 2 eps at the end",
        f"{num_worse} of {num_steps} steps are worse, {num_left} of {num_seeds} runs have more "
        f"left; {transitions / num_seeds / 1e6:.1f} M transitions and "
        f"{num_steps / num_seeds:.0f} of {most} calls a run",
        num_worse == 0 and num_left == 0,
    )


def own_failure_claims() -> Iterator[Claim]:
    """Yield the effect of restarts from failed episodes on the uniform policy's mismatch."""
    for world, lengths in (("chain", (4, 8, 12, 16, 20)), ("lock", (4, 8, 12, 16, 20))):
        ratio: dict[str, list[float]] = {"initial": [], "own_failures": [], "uniform": []}
        for length in lengths:
            model = (
                restart_chain(num_states=length)
                if world == "chain"
                else combination_lock(num_steps=length, num_actions=3)
            )
            mdp = TabularMDP.from_model(model, discount=0.9)
            best_SA, policy_SA = optimal_policy(mdp), uniform_policy(mdp)
            scale = float(evaluate(mdp, best_SA).value_S.max())
            for name, mu in (
                ("initial", restarts.Initial()),
                ("own_failures", restarts.OwnFailures(max_return=scale)),
                ("uniform", restarts.Uniform()),
            ):
                visited_S = occupancy(mdp, policy_SA, mu.distribution(mdp, policy_SA))
                ratio[name].append(mismatch(occupancy(mdp, best_SA), visited_S))
        growth = {
            name: (ratios[-1] / ratios[-2]) ** (1 / (lengths[-1] - lengths[-2]))
            for name, ratios in ratio.items()
        }
        yield Claim(
            f"{world}: restarts from failures (RRPO) keep the mismatch small",
            f"it grows {growth['own_failures']:.2f}-fold a state (start: {growth['initial']:.2f}, "
            f"uniform mu: {growth['uniform']:.2f}); with 20, {ratio['own_failures'][-1]:.1e} "
            f"against {ratio['initial'][-1]:.1e} and {ratio['uniform'][-1]:.1f}",
            growth["own_failures"] < 1.1,
        )


def _full_step(*_: object) -> tuple[float, float]:
    return 1.0, -np.inf
