"""Nonstationary policies: a sequence of policies that act in turn, and its exact value.

PSDP and NSPI(m) follow such sequences; a stationary policy is the sequence that repeats one policy.
A sequence that repeats nothing ends after its last policy has acted once, and collects no reward
after that.

Axes: S states, A actions, K policies of a sequence.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, action_value, policy_value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NonstationaryPolicy:
    """Policies in the order in which they act, and the exact value of following them."""

    prefix: tuple[Array, ...] = ()
    """Each acts once, [S, A] each."""
    loop: tuple[Array, ...] = ()
    """They act in turn for ever after the prefix; if empty, the rewards end with the prefix."""
    value_S: Array
    """Exact, normalised; only an exact critic may read it."""

    @property
    def policies(self) -> tuple[Array, ...]:
        """All K policies."""
        return (*self.prefix, *self.loop)

    @property
    def first(self) -> Array:
        """The policy that acts first, [S, A]."""
        return self.policies[0]

    def turns(self) -> Iterator[int]:
        """Yield the index in `policies` of the policy that acts at each step.

        >>> one = np.ones((1, 1))
        >>> turn = NonstationaryPolicy(prefix=(one,), loop=(one, one), value_S=np.ones(1)).turns()
        >>> [next(turn) for _ in range(5)]
        [0, 1, 2, 1, 2]
        """
        once = range(len(self.prefix))
        return chain(once, cycle(range(len(once), len(self.policies))))


def stationary(mdp: TabularMDP, policy_SA: Array) -> NonstationaryPolicy:
    """Build the sequence that follows one policy for ever."""
    return NonstationaryPolicy(loop=(policy_SA,), value_S=policy_value(mdp, policy_SA))


class PolicyLoop:
    """A queue of the last m policies, newest first; `policy` follows them over and over.

    Adding a policy costs three matrix products, whatever m is. The queue is two stacks: the product
    of the operators of the newer policies, and for the older ones the products of all their
    prefixes, because the oldest policy leaves first.
    """

    def __init__(self, mdp: TabularMDP, policies: list[Array]) -> None:
        """Take the m policies in the order in which they act."""
        self._mdp = mdp
        self._policies = deque(policies, maxlen=len(policies))
        self._restack()

    def add(self, policy_SA: Array) -> None:
        """Insert a policy before the others and drop the last one."""
        if not self._older:
            self._restack()
        self._older.pop()
        self._policies.appendleft(policy_SA)
        self._newer = prepend_step(self._mdp, policy_SA, *self._newer)

    def policy(self) -> NonstationaryPolicy:
        """Return the nonstationary policy that follows the current loop."""
        operator_SS, reward_S = self._newer
        if self._older:
            older_SS, older_S = self._older[-1]
            operator_SS, reward_S = operator_SS @ older_SS, reward_S + operator_SS @ older_S
        return NonstationaryPolicy(
            loop=tuple(self._policies), value_S=fixed_point(operator_SS, reward_S)
        )

    def _restack(self) -> None:
        identity = np.eye(self._mdp.num_states), np.zeros(self._mdp.num_states)
        self._newer = identity
        self._older: list[tuple[Array, Array]] = []
        operator_SS, reward_S = identity
        for policy_SA in self._policies:
            step_SS, paid_S = prepend_step(self._mdp, policy_SA, *identity)
            operator_SS, reward_S = operator_SS @ step_SS, reward_S + operator_SS @ paid_S
            self._older.append((operator_SS, reward_S))


def one_step(mdp: TabularMDP, policy_SA: Array) -> NonstationaryPolicy:
    """Build the sequence of a single step, whose value is its reward. PSDP starts with it."""
    value_S = (1.0 - mdp.discount) * (policy_SA * mdp.reward_SA).sum(-1)
    return NonstationaryPolicy(prefix=(policy_SA,), value_S=value_S)


def prepend(
    mdp: TabularMDP, policy_SA: Array, sequence: NonstationaryPolicy
) -> NonstationaryPolicy:
    """Return the sequence with one step of a policy before it."""
    value_S = (policy_SA * action_value(mdp, sequence.value_S)).sum(-1)
    return NonstationaryPolicy(
        prefix=(policy_SA, *sequence.prefix), loop=sequence.loop, value_S=value_S
    )


def prepend_step(
    mdp: TabularMDP, policy_SA: Array, operator_SS: Array, reward_S: Array
) -> tuple[Array, Array]:
    """Compose the policy's Bellman operator with the affine map `V -> reward + operator V`."""
    step_SS = mdp.discount * (policy_SA[:, None, :] @ mdp.transition_SAS)[:, 0]
    paid_S = (1.0 - mdp.discount) * (policy_SA * mdp.reward_SA).sum(-1)
    return step_SS @ operator_SS, paid_S + step_SS @ reward_S


def fixed_point(operator_SS: Array, reward_S: Array) -> Array:
    """Solve `V = reward + operator V`, [S]."""
    system_SS = np.eye(len(reward_S)) - operator_SS
    return np.asarray(np.linalg.solve(system_SS, reward_S), dtype=np.float64)
