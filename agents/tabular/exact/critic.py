"""Critic: the only source of information about the MDP for the algorithms of `improve.py`.

A critic evaluates policies, finds greedy candidates and compares mixtures. `ExactCritic` computes
the answers; `SampledCritic` (`sampled/critic.py`) estimates them from episodes. Each algorithm is
thus written once.

Axes: S states, A actions.
"""

from dataclasses import dataclass
from typing import Protocol

from reason_env.agents.tabular.exact.chooser import Chooser, exact_chooser
from reason_env.agents.tabular.exact.mdp import Array, Evaluation, TabularMDP, evaluate, performance
from reason_env.agents.tabular.exact.nonstationary import NonstationaryPolicy


class Critic(Protocol):
    """Evaluates policies and finds greedy candidates."""

    @property
    def num_transitions(self) -> int:
        """Transitions simulated so far; always 0 if the critic simulates nothing."""
        ...

    def greedy(self, mdp: TabularMDP, later: NonstationaryPolicy, restart_S: Array) -> Array:
        """Find an approximately greedy policy for one step before `later`, in states from mu."""
        ...

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Compute values, advantages and d_{pi,mu} of a policy."""
        ...

    def candidate(self, mdp: TabularMDP, evaluation: Evaluation) -> Array:
        """Find an approximately greedy policy for the evaluation, under its d_{pi,mu}."""
        ...

    def reevaluate(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Evaluate the same policy from samples that did not choose the candidate.

        The samples that choose a candidate overestimate its advantage.
        """
        ...

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Compute the normalised value of each policy from mu."""
        ...


@dataclass(frozen=True, slots=True)
class ExactCritic:
    """Evaluates exactly; the greedy choice may still be approximate (`chooser.py`)."""

    choose: Chooser = exact_chooser

    @property
    def num_transitions(self) -> int:
        """Always 0."""
        return 0

    def greedy(self, mdp: TabularMDP, later: NonstationaryPolicy, restart_S: Array) -> Array:
        """Return the chooser's policy for the value of `later`."""
        return self.choose(mdp, later.value_S, restart_S)

    def evaluate(self, mdp: TabularMDP, policy_SA: Array, restart_S: Array) -> Evaluation:
        """Evaluate exactly."""
        return evaluate(mdp, policy_SA, restart_S)

    def candidate(self, mdp: TabularMDP, evaluation: Evaluation) -> Array:
        """Return the chooser's policy for the value of the policy."""
        return self.choose(mdp, evaluation.value_S, evaluation.occupancy_S)

    def reevaluate(self, mdp: TabularMDP, evaluation: Evaluation) -> Evaluation:
        """Return the same evaluation, which has no sampling error."""
        return evaluation

    def performances(self, mdp: TabularMDP, policies: list[Array], restart_S: Array) -> list[float]:
        """Compute the exact values."""
        return [performance(mdp, policy_SA, restart_S) for policy_SA in policies]
