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

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import tyro

from reason_env.agents.learning import INITIAL, DistillationConfig
from reason_env.agents.methods.protocol import Collect, check_names
from reason_env.agents.methods.reference import kept_states, with_solution
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.teaching import (
    SelfDistillation,
    SelfDistillationConfig,
    solution_shown,
)
from reason_env.agents.rollout import Trajectory
from reason_env.errors import ConfigError
from reason_env.problems import reference_response
from reason_env.state import Guidance, ReasonState, answer_guidance

Shown = Literal["solution", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OPSDConfig(SelfDistillationConfig):
    """OPSD's numbers."""

    kind: Annotated[Literal["opsd"], tyro.conf.Suppress] = "opsd"
    group_size: int = 1
    """Episodes a problem."""
    shown: Shown = "solution"
    """What the teacher sees: the reference solution with its answer, or the answer alone."""
    distillation: DistillationConfig = field(
        default_factory=lambda: DistillationConfig(teacher=INITIAL)
    )

    def __post_init__(self) -> None:
        check_names(self, {"shown": get_args(Shown)})
        if self.group_size < 1:
            raise ConfigError(f"group_size must be at least 1, got {self.group_size!r}")
        SelfDistillationConfig.__post_init__(self)
        if self.wording and self.shown == "answer":
            raise ConfigError(
                "wording must be empty with shown 'answer', got words for a solution; use shown "
                "'solution'"
            )


class OPSD(SelfDistillation):
    """Distil the policy with the solution in view into the policy without it."""

    config: OPSDConfig  # pyright: ignore[reportIncompatibleVariableOverride]
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

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems whose solution, or answer, can be shown.

        Raises:
            ProblemError: There is none.
        """
        is_whole = self.config.shown == "solution"
        return kept_states(
            with_solution(states, "OPSD") if is_whole else states,
            "OPSD",
            lambda state: self.fits(self._shown(state)),
            rule=f"{'a reference solution' if is_whole else 'an answer'} that fits the prompt",
            advice="raise max_prompt_tokens if the context allows it, or use another method",
        )

    def seen(self, item: Trajectory, episodes: Sequence[Trajectory]) -> ReasonState:
        """Return the problem with its solution in view, or with its answer."""
        return self._shown(item.start.learn_from)

    def _shown(self, state: ReasonState) -> ReasonState:
        return state.with_guidance(self._guidance(state))

    def _guidance(self, state: ReasonState) -> Guidance:
        if self.config.shown == "answer":
            answer = answer_guidance(state.problem)
            assert answer is not None, "a problem has an answer"
            return answer
        text = reference_response(state.problem, state.codec.step_delimiter)
        return solution_shown(text, self.config.wording)
