"""SFT on the reference: GRPO plus the log-likelihood of the reference solutions.

    J = J_GRPO + weight log pi_theta(solution, answer | x)      mean over the solution's tokens

A control arm, not a recommendation: POPE's paper reports that imitating the oracle's solutions
harms exploration. Here, and with `explanations="expert"` in ExPO and ExP-DPO, tokens that the
policy did not sample carry gradient; in no other method. After another method of a composition it
adds its term alone: `pope+sft`. With `group_size=0` it imitates alone and samples nothing: the
first half of SFT-then-RL, whose second half is a run of any method from the model of the first.

Source: the control arm of arXiv 2601.18779, "Privileged On-Policy Exploration". The weight, the
mean over tokens and training both at once are our choice [the paper imitates first, as
`group_size=0` does].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.pipeline import Part, is_problem_group
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    group_key,
    problem_starts,
)
from reason_env.agents.methods.reference import (
    check_temperature,
    imitation,
    likelihood,
    reference_sample,
    with_reference,
)
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Group, Start, TrainingSample
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTConfig(MethodConfig):
    """The numbers of SFT on the reference."""

    kind: Annotated[Literal["sft"], tyro.conf.Suppress] = "sft"
    group_size: int = 8
    """Episodes a problem (G); 0: none, imitation alone."""
    weight: float = 1.0
    """Weight of the solutions' log-likelihood, in reward units per nat (a token)."""
    likelihood_temperature: float | None = 1.0
    """Temperature of that likelihood; 1 is the model's own distribution. None: that of sampling."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.group_size:
            self.advantage.check_size(self.group_size, "group_size")
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")
        check_temperature(self.likelihood_temperature)


class SFT(MethodBase):
    """GRPO plus imitation of the reference."""

    config: SFTConfig
    row = Row(
        starts="the problem; reference solutions are trained next to it",
        paper='the control arm of arXiv 2601.18779, "Privileged On-Policy Exploration"',
        numbers={"weight": UNSAID, "likelihood_temperature": UNSAID},
        differences=(
            "Imitation and RL share one update; the paper runs one after the other. Problems "
            "whose reference solution is missing, or longer than a response may be "
            "(`--max-tokens`, end token included), are left out before the run, with a warning "
            "that counts and names them. Solutions are trained in the form that the template asks "
            "for: a box, `<answer>`, or an answer line, closed by the end of the assistant's turn "
            "in a chat (`ReasonEnv.reference_ids`).",
        ),
    )
    roles = frozenset({REFERENCE})
    has_follow_up = False

    to_sample_problems = "a group_size of 2 or more"

    def __init__(self, config: SFTConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.planned: tuple[ReasonState, ...] = ()
        """The problems of the iteration, if nothing is sampled."""

    @property
    def samples_problems(self) -> bool:
        """False if it imitates alone."""
        return self.config.group_size > 0

    @property
    def part(self) -> Part:
        """The reference solutions are added."""
        return replace(super().part, add=self.references)

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the solutions by -log pi, averaged over the solutions alone."""
        return {REFERENCE: likelihood("seq_mean_token_mean", self.config.likelihood_temperature)}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems with a reference solution that is short enough to be trained.

        Raises:
            ProblemError: No problem has one.
        """
        return with_reference(
            states,
            "SFT",
            fits=self.fits,
            reference_ids=self.reference_ids,
            max_tokens=self.max_response_tokens,
        )

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem, as GRPO does; none for imitation alone."""
        if self.samples_problems:
            return problem_starts(states, self.config.group_size)
        self.planned = tuple(states)
        return []

    def references(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each problem's reference solution, with `weight` as its advantage."""
        firsts = [group.trajectories[0] for group in groups if is_problem_group(group)]
        samples = [reference_sample(first, REFERENCE, self.reference_ids) for first in firsts]
        samples += [
            imitation(
                state, self.prompt_ids(state), group_key(draw, state), REFERENCE, self.reference_ids
            )
            for draw, state in enumerate(self.planned)
        ]
        return [replace(sample, advantage=self.config.weight) for sample in samples]
