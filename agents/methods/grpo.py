"""GRPO: G episodes a problem, each compared with the others of its group.

    A_i = (r_i - mean(r)) / (std(r) + eps)
    L   = - mean over tokens of min(ratio A, clip(ratio, 1 - low, 1 + high) A)

Source: Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, equations 1-3. Aggregation, clip range
and baseline are config fields, so Dr.GRPO (arXiv 2503.20783), RLOO (arXiv 2402.14740), MaxRL (arXiv
2602.02710) and DAPO's loss are settings of this method; `dapo.py` samples as DAPO does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import MethodBase, MethodConfig, problem_starts
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.rollout import Start
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPOConfig(MethodConfig):
    """GRPO's numbers."""

    kind: Annotated[Literal["grpo"], tyro.conf.Suppress] = "grpo"
    group_size: int = 8
    """Episodes a problem (G)."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")


class GRPO(MethodBase):
    """The baseline: start at the problem, no guidance, no follow-up."""

    config: GRPOConfig
    row = Row(
        starts="the problem",
        paper='arXiv 2402.03300, "DeepSeekMath"',
        numbers={
            "group_size": 64,
            "loss.aggregation": "seq_mean_token_mean",
            "loss.kl_coefficient": 0.04,
            "loss.clip_high": UNSAID,
        },
        run_numbers={"learner.learning_rate": 1e-6},
        result="DeepSeekMath 7B on GSM8K and MATH: 82.9 and 46.8 before, 88.2 and 51.7 after.",
        differences=(
            "DAPO's loss (`--loss.clip-high 0.28`; `dapo` also samples as DAPO does), Dr.GRPO "
            "(`--advantage.kind mean` `--loss.aggregation seq_mean_token_sum`), RLOO "
            "(`--advantage.kind rloo`) and MaxRL (`--advantage.kind maxrl`) are settings.",
        ),
    )
    has_follow_up = False

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)
