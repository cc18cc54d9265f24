"""SampledCritic, which estimates from episodes, and Kakade and Langford's sampled CPI.

Decision: in each drawn state the critic tries every action once and simulates the rest of the
episode, which is possible because the MDP restarts anywhere. One draw then serves every candidate.
The paper draws one uniform action and weights it by the number of actions; trying all actions
removes that variance: the estimate of a policy advantage is unbiased and within `[-R, R]` per state
instead of `[-A R, A R]`.

Estimates in unvisited states are 0. A greedy candidate keeps the old policy wherever all estimates
are equal, so without any sampled reward the policy does not change.

Axes: N drawn states, S states, A actions.
"""

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.exact import (
    Array,
    Evaluation,
    Iterate,
    NonstationaryPolicy,
    Restart,
    TabularMDP,
    bounds,
    cautious_step,
    conservative_policy_iteration,
    fixed_step,
    greedy,
)
from reason_env.agents.tabular.sampled.estimates import (
    Indices,
    Simulator,
    action_samples,
    draw_states,
    stopped_rewards,
    visited_states,
)
from reason_env.errors import ConfigError, shown


class SampledCritic:
    """Estimates by Monte Carlo from `num_samples` states; uses the arrays only to simulate."""

    def __init__(self, num_samples: int, rng: np.random.Generator) -> None:
        """Take N, the states drawn for each estimate, and the generator for all of them."""
        if num_samples < 1:
            raise ConfigError(f"num_samples must be at least 1, got {shown(num_samples)}; raise it")
        self._num_samples = num_samples
        self._rng = rng
        self._num_transitions = 0

    @property
    def num_transitions(self) -> int:
        """Transitions simulated so far, over all estimates."""
        return self._num_transitions

    def greedy(self, mdp: TabularMDP, later: NonstationaryPolicy, restart_S: Array) -> Array:
        """Return the greedy policy for sampled values of `later`, in states drawn from mu."""
        simulator = Simulator(mdp, np.stack(later.policies))
        state_N = draw_states(restart_S, self._num_samples, self._rng)
        q_SA, _ = self._action_values(simulator, state_N, later)
        return _greedy_if_unequal(q_SA, later.first)

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Estimate the evaluation from samples of d_{pi,mu}; 0 in unvisited states."""
        simulator = Simulator(mdp, policy_SA)
        state_N = visited_states(simulator, restart_S, self._num_samples, self._rng)
        q_SA, count_S = self._action_values(simulator, state_N, None)
        value_S = (policy_SA * q_SA).sum(-1)
        return Evaluation(
            policy_SA=policy_SA,
            value_S=value_S,
            action_value_SA=q_SA,
            advantage_SA=q_SA - value_S[:, None],
            restart_S=restart_S,
            occupancy_S=count_S / self._num_samples,
        )

    def candidate(self, mdp: TabularMDP, evaluation: Evaluation) -> Array:
        """Return the greedy policy for the sampled values; the old one where they are equal."""
        return _greedy_if_unequal(evaluation.action_value_SA, evaluation.policy_SA)

    def reevaluate(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Evaluate the same policy from fresh samples."""
        return self.evaluate(mdp, evaluation.policy_SA, evaluation.restart_S)

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Estimate each policy's value with common random numbers, which cancel in differences."""
        seed = int(self._rng.integers(2**63))
        means: list[float] = []
        for policy_SA in policies:
            rng = np.random.default_rng(seed)
            simulator = Simulator(mdp, policy_SA)
            state_N = draw_states(restart_S, self._num_samples, rng)
            means.append(float(stopped_rewards(simulator, state_N, rng).mean()))
            self._num_transitions += simulator.num_transitions
        return means

    def _action_values(
        self, simulator: Simulator, state_N: Indices, later: NonstationaryPolicy | None
    ) -> tuple[Array, Array]:
        """Estimate the action values [S, A]; return them and the draws of each state [S]."""
        num_states, num_actions = simulator.mdp.num_states, simulator.mdp.num_actions
        state_X = np.repeat(state_N, num_actions)
        action_X = np.tile(np.arange(num_actions, dtype=np.int64), len(state_N))
        turns = None if later is None else later.turns()
        q_X = action_samples(simulator, state_X, action_X, self._rng, turns)
        self._num_transitions += simulator.num_transitions
        count_S = np.bincount(state_N, minlength=num_states).astype(np.float64)
        cell_X = state_X * num_actions + action_X
        sum_SA = np.bincount(cell_X, q_X, num_states * num_actions).reshape(num_states, num_actions)
        return sum_SA / np.maximum(count_S, 1.0)[:, None], count_S


def _greedy_if_unequal(q_SA: Array, old_SA: Array) -> Array:
    is_unequal_S = np.ptp(q_SA, axis=-1) > 0
    return np.where(is_unequal_S[:, None], greedy(q_SA), old_SA)


def sampled_cpi(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    accuracy: float,
    critic: SampledCritic,
    step_size: float | None = None,
) -> Iterator[Iterate]:
    """Yield the policies of Kakade and Langford's algorithm until its stopping rule ends it.

    The candidate is greedy for sampled action values; fresh samples estimate its advantage Ahat.
    The algorithm stops if Ahat is below `2 accuracy / 3`; otherwise the step size is `(1 -
    discount) * (Ahat - accuracy / 3) / (4 R)`. With `theorem_critic`, with probability `1 -
    failure`, every step improves the value from mu, and there are at most `bounds.cpi_num_calls`
    steps.

    Args:
        mdp: A discounted MDP with rewards in [0, R].
        policy_SA: The initial policy.
        restart: mu.
        accuracy: eps of the paper, in (normalised) reward units.
        critic: Draws the samples.
        step_size: A fixed step size; None for the paper's rule.

    Source: Kakade and Langford 2002, section 4.
    """
    yield from conservative_policy_iteration(
        mdp,
        policy_SA,
        restart=restart,
        num_iterations=bounds.cpi_num_calls(max_reward=mdp.max_reward, accuracy=accuracy),
        step_rule=cautious_step(accuracy / 3) if step_size is None else fixed_step(step_size),
        critic=critic,
        stop_below=2 * accuracy / 3,
    )


def theorem_critic(
    mdp: TabularMDP, *, accuracy: float, failure: float, rng: np.random.Generator
) -> SampledCritic:
    """Build a critic with the number of samples of Theorem 4.4 (`bounds.cpi_num_samples`).

    Args:
        mdp: An MDP with rewards in [0, R].
        accuracy: eps of the paper, in (normalised) reward units.
        failure: delta of the paper, the probability that any estimate errs by more than eps / 3.
        rng: Generator of the samples.
    """
    reward = mdp.max_reward
    num_samples = bounds.cpi_num_samples(
        value_range=2 * reward, max_reward=reward, accuracy=accuracy, failure=failure
    )
    return SampledCritic(num_samples, rng)
