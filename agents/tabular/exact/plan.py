"""A policy that may change as time goes by: some policies in turn, then others over and over.

PSDP and NSPI(m) follow such plans, and a stationary policy is the plan that repeats it. A plan that
repeats nothing is over when its last policy has acted once, and is paid nothing more.

Axes: S states, A actions, K policies of a plan.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, action_value, policy_value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Policies in the order in which they act, and the exact value of following them."""

    first: tuple[Array, ...] = ()
    """Each acts once, [S, A] each."""
    loop: tuple[Array, ...] = ()
    """They act in turn for ever after; nothing is paid any more if there is none."""
    value_S: Array
    """Exact, normalised; only an exact critic may look at it."""

    @property
    def policies(self) -> tuple[Array, ...]:
        """All K of them."""
        return (*self.first, *self.loop)

    @property
    def now(self) -> Array:
        """The policy that acts now, [S, A]."""
        return self.policies[0]

    def turns(self) -> Iterator[int]:
        """Returns which of `policies` acts at each step; it ends where the plan does.

        >>> one = np.ones((1, 1))
        >>> turn = Plan(first=(one,), loop=(one, one), value_S=np.ones(1)).turns()
        >>> [next(turn) for _ in range(5)]
        [0, 1, 2, 1, 2]
        """
        once = range(len(self.first))
        return chain(once, cycle(range(len(once), len(self.policies))))


def stationary(mdp: TabularMDP, policy_SA: Array) -> Plan:
    """Returns the plan that follows one policy for ever."""
    return Plan(loop=(policy_SA,), value_S=policy_value(mdp, policy_SA))


class Loop:
    """The last m policies, the newest first, and the plan that follows them over and over.

    A newer policy costs three matrix products however long the loop is: it is a queue of two
    stacks, the product of the newer policies, and that of the older ones for each end they may
    have once their oldest are dropped.
    """

    def __init__(self, mdp: TabularMDP, policies: list[Array]) -> None:
        """Takes the m policies in the order in which they act."""
        self._mdp = mdp
        self._policies = deque(policies, maxlen=len(policies))
        self._turn_over()

    def add(self, policy_SA: Array) -> None:
        """Puts a policy before the others and drops the last."""
        if not self._older:
            self._turn_over()
        self._older.pop()
        self._policies.appendleft(policy_SA)
        self._newer = before(self._mdp, policy_SA, *self._newer)

    def plan(self) -> Plan:
        """Returns the plan of the loop as it is."""
        operator_SS, reward_S = self._newer
        if self._older:
            older_SS, older_S = self._older[-1]
            operator_SS, reward_S = operator_SS @ older_SS, reward_S + operator_SS @ older_S
        return Plan(loop=tuple(self._policies), value_S=fixed_point(operator_SS, reward_S))

    def _turn_over(self) -> None:
        nothing = np.eye(self._mdp.num_states), np.zeros(self._mdp.num_states)
        self._newer = nothing
        self._older: list[tuple[Array, Array]] = []
        operator_SS, reward_S = nothing
        for policy_SA in self._policies:
            step_SS, paid_S = before(self._mdp, policy_SA, *nothing)
            operator_SS, reward_S = operator_SS @ step_SS, reward_S + operator_SS @ paid_S
            self._older.append((operator_SS, reward_S))


def only_step(mdp: TabularMDP, policy_SA: Array) -> Plan:
    """Returns the plan of one step: the empty plan of PSDP, worth the reward of where it is."""
    value_S = (1.0 - mdp.discount) * (policy_SA * mdp.reward_SA).sum(-1)
    return Plan(first=(policy_SA,), value_S=value_S)


def preceded(mdp: TabularMDP, policy_SA: Array, plan: Plan) -> Plan:
    """Returns the plan with one step of a policy before it."""
    value_S = (policy_SA * action_value(mdp, plan.value_S)).sum(-1)
    return Plan(first=(policy_SA, *plan.first), loop=plan.loop, value_S=value_S)


def before(
    mdp: TabularMDP, policy_SA: Array, operator_SS: Array, reward_S: Array
) -> tuple[Array, Array]:
    """Returns the affine map `V -> reward + operator V` with one step of the policy before it."""
    step_SS = mdp.discount * (policy_SA[:, None, :] @ mdp.transition_SAS)[:, 0]
    paid_S = (1.0 - mdp.discount) * (policy_SA * mdp.reward_SA).sum(-1)
    return step_SS @ operator_SS, paid_S + step_SS @ reward_S


def fixed_point(operator_SS: Array, reward_S: Array) -> Array:
    """Returns the value that the affine map `V -> reward + operator V` leaves as it is, [S]."""
    system_SS = np.eye(len(reward_S)) - operator_SS
    return np.asarray(np.linalg.solve(system_SS, reward_S), dtype=np.float64)
