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

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import MethodBase, problem_starts
from reason_env.agents.rollout import Start
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
        self.advantage.check_size(self.group_size, "group_size")


class GRPO(MethodBase):
    """The baseline row: start at the problem, no guidance, no follow-up."""

    has_follow_up = False

    def __init__(self, config: GRPOConfig) -> None:
        self.config = config

    @property
    def advantage(self) -> AdvantageConfig:
        """Among the episodes of a problem."""
        return self.config.advantage

    @property
    def loss(self) -> LossConfig:
        """The clipped surrogate, as configured."""
        return self.config.loss

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns one start a problem, with `group_size` samples, each its own group."""
        return problem_starts(states, self.config.group_size)
