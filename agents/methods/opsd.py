"""OPSD: the policy learns from itself as it is with the solution in view, on its own responses.

    y ~ pi_theta(. | x)
    L = mean over tokens of JS_b( p_teacher(. | x, solution, y_<t) || pi_theta(. | x, y_<t) )

The teacher has the weights from before training (`distillation.teacher`), sees the reference
solution and generates nothing; the gradient flows through the policy alone. Rewards are not used,
so one episode a problem is enough. After another method it adds its term alone: `grpo+opsd`.

Source: Zhao et al. 2026, "Self-Distilled Reasoner", arXiv 2601.18734. Checked against the release
(siyan-zhao/OPSD, 590ec26): the divergence and its top-k form equal ours
(`benchmarks/losses/released.py`); `--beta 0.5`, `--fixed_teacher`, temperature 1.1 and one response
a problem are from its scripts. Its teacher's words are other ones (`wording`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import (
    INITIAL,
    AdvantageConfig,
    DistillationConfig,
    LossConfig,
)
from reason_env.agents.methods.pipeline import BASE, Part, is_problem_group
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import check_temperature, with_solution
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.teaching import (
    TAUGHT,
    check_wording,
    distillation_loss,
    solution_shown,
    taught_sample,
)
from reason_env.agents.rollout import Group, Start, TrainingSample
from reason_env.errors import ConfigError
from reason_env.problems import reference_response
from reason_env.state import Guidance, ReasonState, answer_guidance

Shown = Literal["solution", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OPSDConfig(MethodConfig):
    """OPSD's numbers."""

    kind: Annotated[Literal["opsd"], tyro.conf.Suppress] = "opsd"
    group_size: int = 1
    """Episodes a problem."""
    weight: float = 1.0
    """Weight of the divergence, in reward units per nat; matters next to another method's loss."""
    shown: Shown = "solution"
    """What the teacher sees: the reference solution with its answer, or the answer alone."""
    wording: str = ""
    """Words that show the solution, with {solution}; empty: the template's for a partial one."""
    likelihood_temperature: float | None = None
    """Temperature of both distributions; None: that of sampling."""
    distillation: DistillationConfig = field(
        default_factory=lambda: DistillationConfig(teacher=INITIAL)
    )

    def __post_init__(self) -> None:
        check_names(self, {"shown": get_args(Shown)})
        if self.group_size < 1:
            raise ConfigError(f"group_size must be at least 1, got {self.group_size!r}")
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")
        check_temperature(self.likelihood_temperature)
        check_wording(self.wording)
        if self.wording and self.shown == "answer":
            raise ConfigError(
                "wording must be empty with shown 'answer', got words for a solution; use shown "
                "'solution'"
            )


class OPSD(MethodBase):
    """Distil the policy with the solution in view into the policy without it."""

    config: OPSDConfig
    row = Row(
        starts="the problem",
        teacher="the starting policy, shown the reference solution",
        paper='arXiv 2601.18734, "Self-Distilled Reasoner"',
        numbers={
            "group_size": 1,
            "distillation.divergence": "jensen_shannon",
            "distillation.mixture": 0.5,
            "distillation.teacher": INITIAL,
        },
        run_numbers={"sampling.temperature": 1.1, "sampling.top_p": 0.95},
        result="AIME24 of Qwen3-1.7B, mean of 16: 47.7 to 51.7 in 200 steps (the release's page).",
        differences=(
            "The teacher's prompt has the template's words for a partial solution; the release's "
            "are given by `--wording`. The paper trains LoRA adapters of rank 64.",
        ),
    )
    roles = frozenset({TAUGHT})
    has_follow_up = False
    adds_only = True

    @property
    def advantage(self) -> AdvantageConfig:
        """Unused: no episodes are compared."""
        return AdvantageConfig()

    @property
    def loss(self) -> LossConfig:
        """The divergence from the teacher; sampler and trainer are corrected for as elsewhere."""
        return distillation_loss(
            self.config.distillation,
            self.config.likelihood_temperature,
            importance_weight_cap=LossConfig().importance_weight_cap,
        )

    @property
    def part(self) -> Part:
        """Every episode of a problem is added as a sample that the teacher scores."""
        return replace(
            super().part, compared=frozenset(), trains_problems=False, add=self.taught_samples
        )

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the taught samples by their divergence, averaged over them alone."""
        return {TAUGHT: self.loss}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems whose solution can be shown.

        Raises:
            ProblemError: There is none.
        """
        if self.config.shown == "answer":
            return states
        return with_solution(
            states,
            "OPSD",
            is_usable=lambda state: self.fits(self._shown(state)),
            rule="a reference solution that fits the prompt",
        )

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def taught_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each graded episode that begins at a problem."""
        return [
            taught_sample(
                item, self.prompt_ids(self._shown(item.start.learn_from)), self.config.weight
            )
            for group in groups
            if is_problem_group(group)
            for item in group.graded
            if item.start.role == BASE
        ]

    def _shown(self, state: ReasonState) -> ReasonState:
        return state.with_guidance(self._guidance(state))

    def _guidance(self, state: ReasonState) -> Guidance:
        if self.config.shown == "answer":
            answer = answer_guidance(state.problem)
            assert answer is not None, "a problem has an answer"
            return answer
        text = reference_response(state.problem, state.codec.step_delimiter)
        return solution_shown(text, self.config.wording)
