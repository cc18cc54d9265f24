"""SFT on the reference: GRPO, and the log-likelihood of reference solutions beside it.

    J = J_GRPO + weight log pi_theta(solution, answer | x)      mean over the solution's tokens

A control arm, not a recommendation: POPE's paper reports that imitating the oracle's solutions
harms exploration. It is the only method in which tokens that the policy did not sample carry
gradient (with ExPO's `explanations="expert"`, its like in ExPO's slot). Behind another method of a
composition it adds the term alone: `pope+sft`.

Source: the control of arXiv 2601.18779, "Privileged On-Policy Exploration"; the weight, the mean
over tokens and training both at once are our choice [the paper trains them one after the other].
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import Collect, MethodBase, is_own_group, problem_starts
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory
from reason_env.errors import ConfigError, ProblemError
from reason_env.problems import reference_response
from reason_env.state import ReasonState

REFERENCE = "reference"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTConfig:
    """The numbers of SFT on the reference."""

    kind: Annotated[Literal["sft"], tyro.conf.Suppress] = "sft"
    group_size: int = 8
    """Episodes a problem (G)."""
    weight: float = 1.0
    """Weight of the solutions' log-likelihood, in reward units per nat (a token)."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")


class SFT(MethodBase):
    """GRPO, and the imitation of the reference."""

    roles = frozenset({REFERENCE})
    has_follow_up = False

    def __init__(self, config: SFTConfig) -> None:
        self.config = config

    @property
    def advantage(self) -> AdvantageConfig:
        """Among the episodes of a problem; solutions have none."""
        return self.config.advantage

    @property
    def loss(self) -> LossConfig:
        """The loss of the groups."""
        return self.config.loss

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """- weight log pi of the solutions, averaged among themselves."""
        return {REFERENCE: likelihood("seq_mean_token_mean")}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns every problem that has a reference solution.

        Raises:
            ProblemError: None has.
        """
        return with_solution(states, "SFT")

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns one start a problem, as GRPO's."""
        return problem_starts(states, self.config.group_size)

    def added_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Returns the reference solution of each problem of the iteration."""
        firsts = [group.trajectories[0] for group in groups if is_own_group(group)]
        samples = [reference_sample(first, REFERENCE) for first in firsts]
        return [replace(sample, advantage=self.config.weight) for sample in samples]


def likelihood(aggregation: Literal["seq_mean_token_mean", "seq_mean_token_sum"]) -> LossConfig:
    """Returns -A log pi, averaged over its own rows: a term added to the others' loss."""
    return LossConfig(
        surrogate="reinforce",
        aggregation=aggregation,
        importance_weight_cap=None,
        separate_normaliser=True,
    )


def with_solution(states: Sequence[ReasonState], name: str) -> list[ReasonState]:
    """Returns the problems with a reference solution; how many have none is said once.

    Raises:
        ProblemError: None has.
    """
    kept = [state for state in states if state.problem.solution]
    if not kept:
        raise ProblemError(
            f"{name} must have problems with a reference solution, got none in {len(states)}; "
            "give a `solution` column, or use another method"
        )
    if len(kept) < len(states):
        missing = [s.problem.problem_id for s in states if not s.problem.solution]
        _log.warning(
            "%s leaves out %d of %d problems without a reference solution: %s",
            name,
            len(missing),
            len(states),
            ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else ""),
        )
    return kept


def reference_sample(trajectory: Trajectory, role: str) -> TrainingSample:
    """Returns the reference solution of an episode's problem, as if it had been sampled.

    Nothing sampled it: its behavior log-probabilities are 0, and the loss does not read them.
    """
    state = trajectory.start.learn_from
    text = reference_response(state.problem, state.codec.step_delimiter)
    token_ids = (*state.codec.encode(text), state.codec.eos_id)
    return TrainingSample(
        context_ids=trajectory.learn_prompt_ids,
        token_ids=token_ids,
        action_mask=(True,) * len(token_ids),
        behavior_log_probs=(0.0,) * len(token_ids),
        advantage=1.0,
        role=role,
        group=f"{trajectory.start.group}/{role}",
        source="reference",
    )
