"""The critic that only plays episodes, and Kakade and Langford's algorithm with its sample counts.

Decision: in each drawn state every action is tried once and followed to the end of an episode. An
MDP that restarts anywhere allows it, one draw then serves any candidate, and the estimate of a
policy advantage is the paper's (a uniform action, weighted by the number of actions) with the
chance of the action taken out: unbiased, within `[-R, R]` a state rather than `[-A R, A R]`.

What was not met is not known: its estimates are 0, and a greedy candidate keeps the old policy
wherever all actions look alike, so without a reward in sight nothing changes.

Axes: N drawn states, S states, A actions.
"""

from collections.abc import Iterator

import numpy as np

from reason_env.agents.tabular.exact import (
    Array,
    Evaluation,
    Iterate,
    Plan,
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
    """Monte-Carlo answers, each from `num_samples` states; knows nothing of the arrays."""

    def __init__(self, num_samples: int, rng: np.random.Generator) -> None:
        """Takes N, the states drawn for each answer, and the randomness of all of them."""
        if num_samples < 1:
            raise ConfigError(f"num_samples must be at least 1, got {shown(num_samples)}; raise it")
        self._num_samples = num_samples
        self._rng = rng
        self._num_transitions = 0

    @property
    def num_transitions(self) -> int:
        """Transitions simulated so far, for all answers together."""
        return self._num_transitions

    def greedy(self, mdp: TabularMDP, plan: Plan, restart_S: Array) -> Array:
        """Returns the greedy policy for sampled values of the plan, in states drawn from mu."""
        simulator = Simulator(mdp, np.stack(plan.policies))
        state_N = draw_states(restart_S, self._num_samples, self._rng)
        q_SA, _ = self._action_values(simulator, state_N, plan)
        return _greedy_where_told(q_SA, plan.now)

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Returns the evaluation as samples from d_{pi,mu} show it; 0 in states not met."""
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
        """Returns the greedy policy for the sampled values, and the old one where none is known."""
        return _greedy_where_told(evaluation.action_value_SA, evaluation.policy_SA)

    def again(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Returns an evaluation of the same policy from fresh samples."""
        return self.evaluate(mdp, evaluation.policy_SA, evaluation.restart_S)

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Returns mean stopped rewards; all policies meet the same chances, so they compare."""
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
        self, simulator: Simulator, state_N: Indices, plan: Plan | None
    ) -> tuple[Array, Array]:
        """Returns the mean sample of each action in each state, and how often it was drawn."""
        num_states, num_actions = simulator.mdp.reward_SA.shape
        state_X = np.repeat(state_N, num_actions)
        action_X = np.tile(np.arange(num_actions), len(state_N))
        turns = None if plan is None else plan.turns()
        q_X = action_samples(simulator, state_X, action_X, self._rng, turns)
        self._num_transitions += simulator.num_transitions
        count_S = np.bincount(state_N, minlength=num_states).astype(np.float64)
        cell_X = state_X * num_actions + action_X
        sum_SA = np.bincount(cell_X, q_X, num_states * num_actions).reshape(num_states, num_actions)
        return sum_SA / np.maximum(count_S, 1.0)[:, None], count_S


def _greedy_where_told(q_SA: Array, old_SA: Array) -> Array:
    is_told_S = np.ptp(q_SA, axis=-1) > 0
    return np.where(is_told_S[:, None], greedy(q_SA), old_SA)


def sampled_cpi(
    mdp: TabularMDP,
    policy_SA: Array,
    *,
    restart: Restart,
    accuracy: float,
    critic: SampledCritic,
    step_size: float | None = None,
) -> Iterator[Iterate]:
    """Yields Kakade and Langford's algorithm, until its own stopping rule ends it.

    The candidate is greedy for sampled action values; its advantage is estimated on fresh samples.
    With estimate Ahat it stops below `2 accuracy / 3`, and else steps by
    `(1 - discount) * (Ahat - accuracy / 3) / (4 R)`. With the samples of `theorem_critic`, with
    probability `1 - failure` every step improves the value from mu and there are at most
    `bounds.cpi_num_calls` of them.

    Args:
        mdp: A discounted MDP with rewards in [0, R].
        policy_SA: The initial policy.
        restart: mu.
        accuracy: eps of the paper, in (normalised) reward units.
        critic: Where samples come from, and how many.
        step_size: A fixed step in place of the paper's; None for the paper's.

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
    """Returns a critic with as many samples as Theorem 4.4 asks for (`bounds.cpi_num_samples`).

    Args:
        mdp: An MDP with rewards in [0, R].
        accuracy: eps of the paper, in (normalised) reward units.
        failure: delta of the paper: the chance that some estimate is off by more than eps / 3.
        rng: Randomness.
    """
    reward = mdp.max_reward
    num_samples = bounds.cpi_num_samples(
        value_range=2 * reward, max_reward=reward, accuracy=accuracy, failure=failure
    )
    return SampledCritic(num_samples, rng)
