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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import (
    AVERAGE,
    AdvantageConfig,
    DistillationConfig,
    LossConfig,
)
from reason_env.agents.methods.pipeline import BASE, Part, is_problem_group
from reason_env.agents.methods.protocol import (
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import check_temperature
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.teaching import (
    TAUGHT,
    check_wording,
    distillation_loss,
    solution_shown,
    taught_sample,
)
from reason_env.agents.metrics import Number, mean
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory
from reason_env.errors import ConfigError
from reason_env.state import Guidance, ReasonState, mistakes_guidance

Feedback = Literal["none", "mistakes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SDPOConfig(MethodConfig):
    """SDPO's numbers; the defaults are the release's."""

    kind: Annotated[Literal["sdpo"], tyro.conf.Suppress] = "sdpo"
    group_size: int = 8
    """Episodes a problem (G)."""
    weight: float = 1.0
    """Weight of the divergence, in reward units per nat; matters next to another method's loss."""
    feedback: Feedback = "none"
    """What the teacher of a failed episode sees if no other episode of its group succeeded: none,
    and the episode is not trained; or mistakes, its own wrong answer."""
    wording: str = ""
    """Words that show the success, with {solution}; empty: the template's for a partial
    solution."""
    likelihood_temperature: float | None = None
    """Temperature of both distributions; None: that of sampling."""
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
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")
        check_temperature(self.likelihood_temperature)
        check_wording(self.wording)


class SDPO(MethodBase):
    """Distil the policy with a success in view into the policy without it."""

    config: SDPOConfig
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
    roles = frozenset({TAUGHT})
    has_follow_up = False
    adds_only = True

    @property
    def advantage(self) -> AdvantageConfig:
        """Unused: no episodes are compared."""
        return AdvantageConfig()

    @property
    def loss(self) -> LossConfig:
        """The divergence from the teacher."""
        return distillation_loss(
            self.config.distillation,
            self.config.likelihood_temperature,
            importance_weight_cap=self.config.importance_weight_cap,
        )

    @property
    def part(self) -> Part:
        """Every episode that has a teacher is added as a sample."""
        return replace(
            super().part, compared=frozenset(), trains_problems=False, add=self.taught_samples
        )

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the taught samples by their divergence, averaged over them alone."""
        return {TAUGHT: self.loss}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def taught_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode that has a teacher."""
        return [
            taught_sample(item, self.prompt_ids(shown), self.config.weight)
            for item, shown in self._taught(groups)
            if shown is not None
        ]

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Return the share of episodes that have a teacher."""
        return {
            "rollout/taught_fraction": mean(shown is not None for _, shown in self._taught(groups))
        }

    def _taught(self, groups: Sequence[Group]) -> list[tuple[Trajectory, ReasonState | None]]:
        """Pair each graded episode with what its teacher sees; None if it has no teacher."""
        found: list[tuple[Trajectory, ReasonState | None]] = []
        for group in groups:
            if not is_problem_group(group):
                continue
            episodes = [item for item in group.graded if item.start.role == BASE]
            found += [(item, self._shown(item, episodes)) for item in episodes]
        return found

    def _shown(self, item: Trajectory, episodes: Sequence[Trajectory]) -> ReasonState | None:
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
