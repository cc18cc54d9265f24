"""GRPO: G episodes a problem, each compared with its own group.

    A_i = (r_i - mean(r)) / (std(r) + eps)
    L   = - mean over tokens of min(ratio A, clip(ratio, 1 - low, 1 + high) A)

Source: Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, equations 1-3. The aggregation, the
clip range and the baseline are config fields, so that DAPO (arXiv 2503.14476), Dr.GRPO (arXiv
2503.20783) and RLOO (arXiv 2402.14740) are settings of the same file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.advantage import AdvantageConfig
from reason_env.agents.loss import LossConfig
from reason_env.agents.methods.protocol import MethodBase, problem_starts, samples_of
from reason_env.agents.trajectory import Group, Start, TrainingSample
from reason_env.errors import ConfigError
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPOConfig:
    """GRPO's numbers."""

    kind: Annotated[Literal["grpo"], tyro.conf.Suppress] = "grpo"
    group_size: int = 8
    """Episodes a problem (G)."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ConfigError(
                f"group_size must be at least 2, got {self.group_size!r}; an episode alone has "
                "nothing to be compared with"
            )


class GRPO(MethodBase):
    """The baseline row: start at the problem, no guidance, no follow-up."""

    def __init__(self, config: GRPOConfig) -> None:
        self.config = config

    @property
    def loss(self) -> LossConfig:
        """The clipped surrogate, as configured."""
        return self.config.loss

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns one start a problem, with `group_size` samples, each its own group."""
        return problem_starts(states, self.config.group_size)

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns every graded episode with its advantage within its group."""
        advantage = self.config.advantage
        return [item for group in groups for item in samples_of(group.trajectories, advantage)]
