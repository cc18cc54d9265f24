"""What an algorithm is told about the MDP: everything, or what samples show.

Decision: the algorithms of `improve.py` ask a critic for a greedy candidate, for the advantages of
a policy, and for the performance of mixtures; nothing else. `ExactCritic` computes the answers, and
`SampledCritic` (sampled_critic.py) plays episodes for them. So each algorithm is written once.

Axes: S states, A actions.
"""

from dataclasses import dataclass
from typing import Protocol

from reason_env.agents.tabular.exact.choose import Chooser, exact
from reason_env.agents.tabular.exact.mdp import Array, Evaluation, TabularMDP, evaluate, performance
from reason_env.agents.tabular.exact.plan import Plan


class Critic(Protocol):
    """Answers about policies; `num_transitions` counts what was simulated for them so far."""

    @property
    def num_transitions(self) -> int:
        """Transitions simulated so far; 0 for ever if nothing is."""
        ...

    def greedy(self, mdp: TabularMDP, plan: Plan, restart_S: Array) -> Array:
        """Returns a policy about greedy for acting once before the plan, in the states of mu."""
        ...

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Returns values, advantages and d_{pi,mu} of a policy."""
        ...

    def candidate(self, mdp: TabularMDP, evaluation: Evaluation) -> Array:
        """Returns a policy about greedy for the evaluation, under its d_{pi,mu}."""
        ...

    def again(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Returns an evaluation of the same policy on which no candidate was chosen.

        A candidate looks better than it is in the samples that it was chosen by.
        """
        ...

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Returns the normalised value of each policy from mu."""
        ...


@dataclass(frozen=True, slots=True)
class ExactCritic:
    """Linear algebra; the greedy choice itself may be approximate (`choose.py`)."""

    choose: Chooser = exact

    @property
    def num_transitions(self) -> int:
        """Always 0."""
        return 0

    def greedy(self, mdp: TabularMDP, plan: Plan, restart_S: Array) -> Array:
        """Returns the chooser's policy for the plan's value."""
        return self.choose(mdp, plan.value_S, restart_S)

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Returns the exact evaluation."""
        return evaluate(mdp, policy_SA, restart_S)

    def candidate(self, mdp: TabularMDP, evaluation: Evaluation) -> Array:
        """Returns the chooser's policy for the value of the policy."""
        return self.choose(mdp, evaluation.value_S, evaluation.occupancy_S)

    def again(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Returns the same evaluation: nothing in it is chance."""
        return evaluation

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Returns the exact values."""
        return [performance(mdp, policy_SA, restart_S) for policy_SA in policies]
