"""Restart distributions: the state distribution mu from which each method starts episodes.

| class | method | mu |
|---|---|---|
| `Initial` | GRPO | the start distribution D |
| `Uniform` | Kakade and Langford's generic choice | uniform over states |
| `Occupancy` | POPE | the occupancy of a reference policy |
| `OwnFailures` | RRPO | a uniformly drawn state of the policy's failed episodes |
| `Improvable` | SRPO, CPI-CARO | the policy's states in which some action gains enough |
| `Mixture` | resets and a base group | `(1 - weight) mu + weight D` |

`distribution(mdp, policy)` returns [S] for a discounted MDP and [H, S] for one with a horizon (step
and state); it sums to 1. If there is nothing to restart from (no failure, no improvable state), it
is D at step 0.

Axes: H steps, S states, A actions.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, check_threshold, evaluate
from reason_env.errors import ConfigError, shown


class Restart(Protocol):
    """A restart distribution that may depend on the current policy."""

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        """Compute mu, [S] or [H, S], for the current policy."""
        ...


@dataclass(frozen=True, slots=True)
class Initial:
    """The start distribution."""

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        return _at_start(mdp)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform over states (and steps), with a mismatch of at most S."""

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        shape = _shape(mdp)
        return np.full(shape, 1.0 / np.prod(shape))


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """The occupancy of a fixed policy, such as the reference solution's policy."""

    reference: Array
    """The policy, [S, A] or [H, S, A]."""

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        return _visits(mdp, self.reference)[0]


@dataclass(frozen=True, slots=True)
class OwnFailures:
    """States of the policy's failed episodes, uniform over their steps.

    An episode that visits s fails with probability `1 - V(s) / R`, whatever happened before. A
    discounted episode stops with probability 1 - discount at each step and pays the reward of its
    last step.
    """

    max_return: float = 1.0
    """R: the (normalised) return of a successful episode."""

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        visits, value, _ = _visits(mdp, policy)
        return _normalised(mdp, visits * np.clip(1.0 - value / self.max_return, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Improvable:
    """States of the policy's episodes in which some action gains at least `threshold`."""

    threshold: float
    """tau, in reward units (normalised for a discounted MDP)."""

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        visits, _, gain = _visits(mdp, policy)
        return _normalised(mdp, visits * (gain >= self.threshold))


@dataclass(frozen=True, slots=True)
class Mixture:
    """`(1 - initial_weight) * base + initial_weight * D`: resets mixed with ordinary starts."""

    base: Restart
    initial_weight: float
    """beta, 0..1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.initial_weight <= 1.0:
            raise ConfigError(
                f"initial_weight must be in 0..1, got {shown(self.initial_weight)}; correct it"
            )

    def distribution(self, mdp: TabularMDP, policy: Array) -> Array:
        base = self.base.distribution(mdp, policy)
        return (1.0 - self.initial_weight) * base + self.initial_weight * _at_start(mdp)


def mislocated(mdp: TabularMDP, policy: Array, *, threshold: float, offset: int) -> Array:
    """Compute mu of an oracle that misses the improvable step by `offset` steps, [H, S].

    The reset is `offset` steps after (before, if negative) a state of the policy's episode in which
    some action gains `threshold`. An offset beyond the episode's ends becomes its first or last
    step.
    """
    evaluation = finite.evaluate(mdp, policy)
    located_HS = Improvable(threshold).distribution(mdp, policy)
    num_steps = len(located_HS)
    shifted_HS = np.zeros_like(located_HS)
    for step in range(num_steps):
        target = min(max(step + offset, 0), num_steps - 1)
        moved_S = located_HS[step]
        for via in range(step, target):
            moved_S = moved_S @ _policy_transition(mdp, evaluation.policy_HSA[via])
        for via in reversed(range(target, step)):
            moved_S = _backwards(mdp, evaluation, via, moved_S)
        shifted_HS[target] += moved_S
    return shifted_HS


def _backwards(
    mdp: TabularMDP, evaluation: finite.HorizonEvaluation, step: int, after_S: Array
) -> Array:
    """Compute the state distribution at `step`, given the distribution `after_S` one step later."""
    joint_SS = evaluation.occupancy_HS[step][:, None] * _policy_transition(
        mdp, evaluation.policy_HSA[step]
    )
    total_S = joint_SS.sum(0)
    came_from_SS = np.divide(joint_SS, total_S, out=np.zeros_like(joint_SS), where=total_S > 0)
    return came_from_SS @ after_S


def _policy_transition(mdp: TabularMDP, policy_SA: Array) -> Array:
    return (policy_SA[:, None, :] @ mdp.transition_SAS)[:, 0]


def _visits(mdp: TabularMDP, policy: Array) -> tuple[Array, Array, Array]:
    """Compute visits (summing to 1), values and largest advantages, each [S] or [H, S]."""
    if mdp.horizon is None:
        old = evaluate(mdp, policy)
        return old.occupancy_S, old.value_S, old.advantage_SA.max(-1)
    old = finite.evaluate(mdp, policy)
    return old.occupancy_HS / mdp.horizon, old.value_HS, old.advantage_HSA.max(-1)


def _normalised(mdp: TabularMDP, weight: Array) -> Array:
    total = weight.sum()
    return weight / total if total > 0 else _at_start(mdp)


def _at_start(mdp: TabularMDP) -> Array:
    if mdp.horizon is None:
        return mdp.start_S
    start_HS = np.zeros(_shape(mdp))
    start_HS[0] = mdp.start_S
    return start_HS


def _shape(mdp: TabularMDP) -> tuple[int, ...]:
    return mdp.start_S.shape if mdp.horizon is None else (mdp.horizon, mdp.num_states)
