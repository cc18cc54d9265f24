"""DAPO: GRPO on groups that hold both successes and failures, sampled until there are enough.

    keep a group    0 < its successes < its graded episodes
    sample          as many further problems as groups are missing, until none is or `max_rounds`
                    rounds were sampled; what is not kept is counted, and never trained
    A_i = (r_i - mean(r)) / (std(r) + eps)                                  of the kept groups
    L   = - mean over all tokens of min(ratio A, clip(ratio, 1 - low, 1 + high) A), high > low
    r  -= penalty * clip((T - (1 - share) T_max) / (share T_max), 0, 1)     overlong, T tokens

The penalty is a wrapper of the training environment (`RewardShaping`), so returns and pass rates of
training differ; a group is kept by successes, not by returns.

Source: Yu et al. 2025, "DAPO", arXiv 2503.14476, equations 8-13, and the released code
(volcengine/verl, `recipe/dapo/dapo_ray_trainer.py` at 004c888 and
`verl/workers/reward_manager/dapo.py` at 003364b, read, not run): the rule that keeps a group is the
release's with `filter_groups.metric=acc`. It samples batches of three times the wanted problems,
leaves out what is over, and ends the run after ten; here a round samples what is missing, and the
iteration trains on what it has after ten.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from gymnasium.envs.registration import WrapperSpec

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.pipeline import Episodes, Part, is_problem_group
from reason_env.agents.methods.protocol import numbered_starts
from reason_env.agents.methods.row import Row
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class DAPOConfig(GRPOConfig):
    """DAPO's numbers."""

    kind: Annotated[Literal["dapo"], tyro.conf.Suppress] = "dapo"  # pyright: ignore[reportIncompatibleVariableOverride]
    max_rounds: int = 10
    """Most rounds of sampling in an iteration, with the first; 1 samples no further problems."""
    overlong_penalty: float = 0.5
    """Most that a long response loses, reward units; 0 is off. The paper's is 1 with rewards -1 and
    1, half of their distance; here they are 0 and 1."""
    overlong_share: float = 0.2
    """Share of the response budget, before its end, in which the penalty rises, 0..1."""
    loss: LossConfig = field(default_factory=lambda: LossConfig(clip_high=0.28))

    def __post_init__(self) -> None:
        GRPOConfig.__post_init__(self)
        if self.max_rounds < 1:
            raise ConfigError(f"max_rounds must be at least 1, got {self.max_rounds!r}")
        if not 0 <= self.overlong_penalty < math.inf:
            raise ConfigError(
                f"overlong_penalty must be at least 0 and finite, got {self.overlong_penalty!r}; "
                "use 0 for no penalty"
            )
        if not 0 < self.overlong_share <= 1:
            raise ConfigError(
                f"overlong_share must lie in 0 < share <= 1, got {self.overlong_share!r}; use "
                "overlong_penalty 0 for no penalty"
            )

    @property
    def wrappers(self) -> tuple[WrapperSpec, ...]:
        """The penalty of long responses; none if it is off."""
        if not self.overlong_penalty:
            return ()
        numbers = {
            "overlong_penalty": self.overlong_penalty,
            "overlong_share": self.overlong_share,
        }
        return (
            WrapperSpec(
                name="RewardShaping",
                entry_point="reason_env.wrappers.reward_shaping:RewardShaping",
                kwargs=numbers,
            ),
        )

    @property
    def least_shaping(self) -> float:
        """The whole penalty."""
        return -self.overlong_penalty


class DAPO(GRPO):
    """GRPO with dynamic sampling, clip-higher and a penalty of long responses."""

    config: DAPOConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    row = Row(
        starts="the problem; further problems in place of those that all episodes solve or fail",
        paper='arXiv 2503.14476, "DAPO: An Open-Source LLM Reinforcement Learning System at Scale"',
        numbers={
            "group_size": 16,
            "max_rounds": 10,
            "overlong_penalty": 1.0,
            "overlong_share": 0.2,
            "loss.clip_low": 0.2,
            "loss.clip_high": 0.28,
            "loss.aggregation": "token_mean",
        },
        run_numbers={
            "problems_per_iteration": 512,
            "learner.updates_per_iteration": 16,
            "learner.learning_rate": 1e-6,
        },
        result="Qwen2.5-32B on AIME 2024: 30 with GRPO, 42 with everything but dynamic sampling, "
        "50 with it.",
        differences=(
            "A round samples as many problems as groups are missing; the release samples three "
            "times the batch and leaves out what is over. After `max_rounds` rounds, once through "
            "all problems, or at the end of the token budget the iteration trains on what it has "
            "(`rollout/missing_groups`); the release ends the run.",
            "The paper's rewards are -1 and 1 and its penalty 1; rewards here are 0 and 1, so the "
            "default penalty is half. It changes returns in training, not in evaluation.",
            "In a composition, groups are kept as all methods leave them: one that failed as a "
            "whole is trained if LTE puts successes into it.",
        ),
    )
    has_follow_up = True

    def __init__(self, config: DAPOConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.num_wanted = 0
        """Problems that the iteration began with: as many groups are wanted."""
        self.num_rounds = 0
        """Rounds of this iteration."""

    @property
    def part(self) -> Part:
        """Problem groups are trained if they hold successes and failures."""
        return replace(super().part, trains=is_mixed)

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        self.num_wanted, self.num_rounds = len(states), 1
        return super().plan(states, rng)

    def plan_further(
        self, states: Sequence[ReasonState], num_known: int, rng: np.random.Generator
    ) -> list[Start]:
        """Plan for further problems; the wanted groups and the rounds are the iteration's."""
        return numbered_starts(list(enumerate(states))[num_known:], self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Ask for as many further problems as groups are missing, as long as rounds are left."""
        missing = self.num_wanted - _num_kept(groups)
        if missing <= 0 or self.num_rounds == self.config.max_rounds:
            return []
        self.num_rounds += 1
        return numbered_starts(self.services.more_states(missing), self.config.group_size)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Count the groups that are left out, and those that are missing."""
        kept = _num_kept(groups)
        return {
            "rollout/unmixed_groups": sum(map(is_problem_group, groups)) - kept,
            "rollout/missing_groups": max(0, self.num_wanted - kept),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of the iteration, which a test of the update also plans in."""
        return {"num_wanted": self.num_wanted, "num_rounds": self.num_rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.num_wanted, self.num_rounds = int(state["num_wanted"]), int(state["num_rounds"])


def is_mixed(episodes: Episodes) -> bool:
    """Tell whether the graded episodes hold both a success and a failure."""
    return len({item.is_success for item in episodes if item.is_graded}) == 2


def _num_kept(groups: Sequence[Group]) -> int:
    return sum(is_problem_group(group) and is_mixed(group.trajectories) for group in groups)
