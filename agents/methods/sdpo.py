"""SDPO: the policy learns from itself as it is with a success of its own group in view.

    G episodes a problem; for episode i, s_i = the first success among the others, if there is one
    L = mean over tokens of JS_b( p_teacher(. | x, s_i, y_<t) || pi_theta(. | x, y_<t) )

over the `top_k` likeliest ids of the policy and one outcome for all others. The teacher has the
moving average of the weights and generates nothing. An episode without another success in its group
has no teacher and is not trained, unless `feedback` shows the teacher the episode's own wrong
answer. After another method it adds its term alone: `grpo+sdpo`.

Source: Huebotter et al. 2026, "Reinforcement Learning via Self-Distillation", arXiv 2601.20802.
Checked against the release (lasgroup/SDPO, 0e6d510): its loss with both ratios, and TRL's of the
same name, equal ours (`benchmarks/losses/released.py`); G, b, top-k, tail, rate and caps are its
defaults. Its feedback is what an environment writes (errors of a program); a graded answer has only
the verdict. Its trust-region teacher, which mixes two policies' logits, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import tyro

from reason_env.agents.learning import AVERAGE, DistillationConfig, LossConfig
from reason_env.agents.methods.protocol import check_names
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.teaching import (
    SelfDistillation,
    SelfDistillationConfig,
    solution_shown,
)
from reason_env.agents.metrics import Number, mean
from reason_env.agents.rollout import Group, Trajectory
from reason_env.errors import ConfigError
from reason_env.state import Guidance, ReasonState, mistakes_guidance

Feedback = Literal["none", "mistakes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SDPOConfig(SelfDistillationConfig):
    """SDPO's numbers; the defaults are the release's."""

    kind: Annotated[Literal["sdpo"], tyro.conf.Suppress] = "sdpo"
    group_size: int = 8
    """Episodes a problem (G)."""
    feedback: Feedback = "none"
    """What the teacher of a failed episode sees if no other episode of its group succeeded: none,
    and the episode is not trained; or mistakes, its own wrong answer."""
    importance_weight_cap: float | None = 2.0
    """Cap of each token's weight for a sampler that differs from the trainer; None: no weight."""
    distillation: DistillationConfig = field(
        default_factory=lambda: DistillationConfig(
            teacher=AVERAGE, average_rate=0.05, top_k=100, ratio_cap=2.0
        )
    )

    def __post_init__(self) -> None:
        check_names(self, {"feedback": get_args(Feedback)})
        if self.group_size < 2:
            raise ConfigError(
                f"group_size must be at least 2, got {self.group_size!r}; a teacher sees "
                "another episode of the group"
            )
        SelfDistillationConfig.__post_init__(self)


class SDPO(SelfDistillation):
    """Distil the policy with a success in view into the policy without it."""

    config: SDPOConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    row = Row(
        starts="the problem",
        teacher="the policy's moving average, shown another success of the group",
        paper='arXiv 2601.20802, "Reinforcement Learning via Self-Distillation"',
        numbers={
            "group_size": 8,
            "importance_weight_cap": 2.0,
            "distillation.divergence": "jensen_shannon",
            "distillation.mixture": 0.5,
            "distillation.top_k": 100,
            "distillation.tail": True,
            "distillation.average_rate": 0.05,
            "distillation.ratio_cap": 2.0,
        },
        differences=(
            "A graded answer gives no feedback besides its verdict; `--feedback mistakes` shows "
            "the teacher the episode's own wrong answer where no other episode succeeded. The "
            "teacher's prompt has the template's words for a partial solution; the release's are "
            "given by `--wording`. The trust-region teacher is left out.",
        ),
    )

    @property
    def loss(self) -> LossConfig:
        """The divergence from the teacher, with the cap of the config."""
        return replace(super().loss, importance_weight_cap=self.config.importance_weight_cap)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Return the share of episodes that have a teacher."""
        return {
            "rollout/taught_fraction": mean(shown is not None for _, shown in self.taught(groups))
        }

    def seen(self, item: Trajectory, episodes: Sequence[Trajectory]) -> ReasonState | None:
        """Return the problem with the first piece that fits: a success, or the own mistake."""
        others = (other for other in episodes if other is not item and other.is_success)
        pieces = [solution_shown(other.final_state.text, self.config.wording) for other in others]
        mistake = self._mistake(item)
        if mistake is not None:
            pieces.append(mistake)
        for piece in pieces:
            shown = item.start.learn_from.with_guidance(piece)
            if self.fits(shown):
                return shown
        return None

    def _mistake(self, item: Trajectory) -> Guidance | None:
        verdict = item.final_state.verdict
        if self.config.feedback == "none" or item.is_success or verdict is None:
            return None
        return None if verdict.extracted is None else mistakes_guidance([verdict.extracted])
