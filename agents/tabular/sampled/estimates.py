"""Monte Carlo on a tabular MDP: many episodes in parallel, one table look-up per transition.

Decisions. A discounted episode stops with probability `1 - discount` after each step and pays the
reward of its last step. This is unbiased for the normalised value, and each sample is in `[0, R]`,
as the sample counts of the theory require (Kakade and Langford 2002). A draw is a binary search in
one sorted table for all rows, so its cost hardly depends on S and A.

Axes: N parallel episodes, K of them that still run, S states, A actions, H steps.
"""

import math
from collections.abc import Iterator
from itertools import repeat
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from reason_env.agents.statistics import Interval
from reason_env.agents.tabular.exact import Array, TabularMDP, check_policy
from reason_env.agents.tabular.exact import horizon as finite

Indices = NDArray[np.int64]


class RowSampler:
    """Samples column indices from the rows of a matrix of distributions."""

    def __init__(self, rows: Array) -> None:
        """Build the table from `rows`, [rows, columns]; each row sums to 1."""
        row, self._column = np.nonzero(rows)
        last = np.searchsorted(row, np.arange(len(rows)), side="right") - 1
        before = np.concatenate([[0.0], rows[row, self._column].cumsum()])
        first = np.concatenate([[0], last[:-1] + 1])
        total = before[last + 1] - before[first]
        # Edge = row + cumulative probability within the row, so that one search serves all rows.
        self._edges = row + (before[1:] - before[first][row]) / total[row]
        self._last = last

    def draw(self, row_N: Indices, rng: np.random.Generator) -> Indices:
        """Sample one column index for each row index, [N]."""
        found = np.searchsorted(self._edges, row_N + rng.random(len(row_N)), side="right")
        # row + 0.99... may round up to row + 1.
        return self._column[np.minimum(found, self._last[row_N])]


class Simulator:
    """An MDP under one or several policies; draws action and next state in one look-up."""

    def __init__(self, mdp: TabularMDP, policy: Array) -> None:
        """Take one policy [S, A] or several: [H, S, A] with a horizon, else [policies, S, A]."""
        self.mdp = mdp
        if mdp.horizon is not None:
            finite.checked_policy(mdp, policy)
        else:
            for policy_SA in policy if policy.ndim == 3 else (policy,):
                check_policy(mdp, policy_SA)
        self._is_stationary = policy.ndim == 2
        num_rows = policy.size // mdp.num_actions
        flat_XA = policy.reshape(num_rows, mdp.num_actions)
        state_X = np.arange(num_rows) % mdp.num_states
        joint_XAS = flat_XA[:, :, None] * mdp.transition_SAS[state_X]
        self._joint = RowSampler(joint_XAS.reshape(num_rows, -1))
        self._transition = RowSampler(mdp.transition_SAS.reshape(-1, mdp.num_states))
        self.num_transitions = 0

    def step(
        self, state_N: Indices, rng: np.random.Generator, step: int = 0
    ) -> tuple[Indices, Indices, Array]:
        """Sample action, next state and reward, each [N]; `step` selects the acting policy."""
        self.num_transitions += len(state_N)
        row_N = state_N if self._is_stationary else state_N + step * self.mdp.num_states
        joint_N = self._joint.draw(row_N, rng)
        action_N = joint_N // self.mdp.num_states
        return action_N, joint_N % self.mdp.num_states, self.mdp.reward_SA[state_N, action_N]

    def take(self, state_N: Indices, action_N: Indices, rng: np.random.Generator) -> Indices:
        """Sample the next states after given actions, [N]."""
        self.num_transitions += len(state_N)
        return self._transition.draw(state_N * self.mdp.num_actions + action_N, rng)


def draw_states(distribution_S: Array, num: int, rng: np.random.Generator) -> Indices:
    """Sample `num` independent states, [N]."""
    return RowSampler(distribution_S[None]).draw(np.zeros(num, dtype=np.int64), rng)


def stopped_rewards(
    simulator: Simulator,
    state_N: Indices,
    rng: np.random.Generator,
    turns: Iterator[int] | None = None,
) -> Array:
    """Simulate episodes; return the reward of each one's last step, [N].

    The mean of these rewards estimates the normalised value.

    Args:
        simulator: The MDP and its policies.
        state_N: First states of the episodes.
        rng: Generator of the samples.
        turns: Index of the policy that acts at each step (see `NonstationaryPolicy.turns`); always
            the first if None. Episodes that still run when it ends get reward 0.
    """
    reward_N = np.zeros(len(state_N))
    live_K, state_K = np.arange(len(state_N)), state_N
    for turn in repeat(0) if turns is None else turns:
        if not len(live_K):
            break
        _, next_K, paid_K = simulator.step(state_K, rng, turn)
        stops_K = rng.random(len(live_K)) >= simulator.mdp.discount
        reward_N[live_K[stops_K]] = paid_K[stops_K]
        live_K, state_K = live_K[~stops_K], next_K[~stops_K]
    return reward_N


def action_samples(
    simulator: Simulator,
    state_N: Indices,
    action_N: Indices,
    rng: np.random.Generator,
    turns: Iterator[int] | None = None,
) -> Array:
    """Draw one unbiased sample of each normalised Q(s, a), in [0, R], [N].

    The action is taken once, before the policies act.
    """
    mdp = simulator.mdp
    sample_N = mdp.reward_SA[state_N, action_N]
    live_K = np.flatnonzero(rng.random(len(state_N)) < mdp.discount)
    next_K = simulator.take(state_N[live_K], action_N[live_K], rng)
    sample_N[live_K] = stopped_rewards(simulator, next_K, rng, turns)
    return sample_N


def visited_states(
    simulator: Simulator, restart_S: Array, num: int, rng: np.random.Generator
) -> Indices:
    """Sample `num` independent states from d_{pi,mu}, [N]."""
    state_N = draw_states(restart_S, num, rng)
    live_K = np.flatnonzero(rng.random(num) < simulator.mdp.discount)
    while len(live_K):
        state_N[live_K] = simulator.step(state_N[live_K], rng)[1]
        live_K = live_K[rng.random(len(live_K)) < simulator.mdp.discount]
    return state_N


def mean_interval(sample_N: Array, confidence: float = 0.95) -> Interval:
    """Compute the mean and its normal-theory interval, which needs a few hundred samples."""
    mean = float(sample_N.mean())
    error = float(sample_N.std(ddof=1)) / math.sqrt(len(sample_N))
    width = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return Interval(mean, mean - width, mean + width)


def returns_with_action(
    simulator: Simulator,
    state_N: Indices,
    action_N: Indices,
    step_N: Indices,
    rng: np.random.Generator,
) -> Array:
    """Simulate the return-to-go after taking an action at a given step of the horizon, [N].

    The policy acts after the action. Episodes start at different steps and stop at the horizon.
    """
    mdp = simulator.mdp
    assert mdp.horizon is not None, "the MDP must have a horizon"
    total_N = mdp.reward_SA[state_N, action_N]
    state_N = simulator.take(state_N, action_N, rng)
    for step in range(int(step_N.min(initial=mdp.horizon)) + 1, mdp.horizon):
        live_K = np.flatnonzero(step_N < step)
        _, state_N[live_K], paid_K = simulator.step(state_N[live_K], rng, step)
        total_N[live_K] += paid_K
    return total_N
