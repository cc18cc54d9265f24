"""RRPO: resets to a uniformly random step of the policy's own failed chain.

Per problem (1x4 of the released code):

    base = [], seed = None
    while (len(base) < 4 or seed is None) and tries < 12:
        y ~ pi(. | x)
        if seed is None and y is wrong: seed = y        # the first failure: not trained on
        elif len(base) < 4: base.append(y)
    k = Uniform{1..T}                                   # T steps of the seed
    reset = 4 suffixes ~ pi(. | x, seed steps 1..k-1)   # the wrong step itself is sampled anew
    A = (r - mean) / population std, each group on its own;  L = - mean_i A_i mean_t log pi

The prefix is context: its tokens never carry gradient. Without a failure in 12 tries the base group
is topped up to 8 and trained alone. Tries are sampled in waves, and read in order as the loop above
would: what it would not have sampled is discarded, and counted among the generated tokens.

Source: arXiv 2605.25507, "Credit Assignment with Resets in Language Model Reasoning", section on
RRPO and the released code; the size of a further wave is our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import (
    MethodBase,
    check_names,
    is_own_group,
    problem_starts,
)
from reason_env.agents.methods.reset_metrics import prefix_metrics
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState, uniform_cut, with_response_of

RESET = "/reset"
SeedPolicy = Literal["first_failure", "extra"]


def paper_advantage() -> AdvantageConfig:
    """Returns (r - mean) / population std, without eps: 0 where all returns are equal."""
    return AdvantageConfig(kind="grpo", std="population", eps=0.0)


def paper_loss() -> LossConfig:
    """Returns REINFORCE with a mean over each sequence: no ratio, no weight, no clip, no KL."""
    return LossConfig(
        surrogate="reinforce", aggregation="seq_mean_token_mean", importance_weight_cap=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RRPOConfig:
    """RRPO's numbers; the defaults are the released code's."""

    kind: Annotated[Literal["rrpo"], tyro.conf.Suppress] = "rrpo"
    num_base: int = 4
    """Base episodes a problem that are trained."""
    num_reset: int = 4
    """Episodes from the reset."""
    max_tries: int = 12
    """Episodes from the problem before a failure is given up."""
    tries_per_wave: int = 4
    """Further tries sampled at once (the paper samples one by one; this trades discarded tokens
    for fewer waves)."""
    seed_policy: SeedPolicy = "first_failure"
    """first_failure takes the first wrong episode out of the base group, as the paper does, which
    makes the base group better than the policy; extra keeps the first `num_base` as they come and
    looks for the failure among the rest."""
    advantage: AdvantageConfig = field(default_factory=paper_advantage)
    loss: LossConfig = field(default_factory=paper_loss)

    def __post_init__(self) -> None:
        check_names(self, {"seed_policy": get_args(SeedPolicy)})
        for name in ("num_base", "num_reset"):
            self.advantage.check_size(getattr(self, name), name)
        if self.max_tries <= self.num_base:
            raise ConfigError(
                f"max_tries must be above num_base, got {self.max_tries!r} and {self.num_base!r}; "
                "one more try is needed to find a failure"
            )
        if self.tries_per_wave < 1:
            raise ConfigError(f"tries_per_wave must be at least 1, got {self.tries_per_wave!r}")


@dataclass(frozen=True, slots=True)
class Draw:
    """How the loop of the paper reads the episodes of one problem."""

    base: tuple[Trajectory, ...]
    seed: Trajectory | None
    tries: int
    """Episodes that the loop would have sampled; later ones are discarded."""


def read_draw(trajectories: Sequence[Trajectory], config: RRPOConfig) -> Draw:
    """Returns base group and seed, reading episodes in the order in which they were sampled.

    Episodes whose verifier failed are neither.
    """
    base: list[Trajectory] = []
    seed: Trajectory | None = None
    tries = 0
    for item in trajectories:
        if (len(base) == config.num_base and seed) or tries == config.max_tries:
            break
        tries += 1
        if not item.is_graded:
            continue
        may_seed = config.seed_policy == "first_failure" or len(base) == config.num_base
        if seed is None and may_seed and not item.is_success:
            seed = item
        elif len(base) < config.num_base:
            base.append(item)
    return Draw(tuple(base), seed, tries)


def read_shared(trajectories: Sequence[Trajectory], config: RRPOConfig) -> Draw:
    """Returns base group and seed of a group that another method sampled: nothing is discarded.

    The seed is the first failure; with `seed_policy="extra"` it stays in the group.
    """
    graded = [item for item in trajectories if item.is_graded]
    seed = next((item for item in graded if not item.is_success), None)
    is_taken = config.seed_policy == "first_failure"
    base = [item for item in graded if not (is_taken and item is seed)]
    return Draw(tuple(base), seed, len(trajectories))


class RRPO(MethodBase):
    """Resets to a uniform step of the first failure; each start its own group."""

    roles = frozenset({"reset", "top_up"})

    def __init__(self, config: RRPOConfig, checker: StepChecker | None = None) -> None:
        """Takes the problems' step checker, which here only measures; None measures nothing."""
        self.config = config
        self.checker = checker

    @property
    def advantage(self) -> AdvantageConfig:
        """Within the base group and within the reset group."""
        return self.config.advantage

    @property
    def loss(self) -> LossConfig:
        """REINFORCE, or what the config puts in its place (the clipped variant is an ablation)."""
        return self.config.loss

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns `num_base` + 1 tries a problem: as few as the paper's loop can end with."""
        return problem_starts(states, self.config.num_base + 1)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns more tries where the loop goes on, then resets, and top-ups without a failure."""
        known = {group.key: group for group in groups}
        starts: list[Start] = []
        for group in groups:
            if group.trajectories[0].start.role == "base":
                starts += self._next(group, known, rng)
        return starts

    def kept(self, group: Group) -> tuple[Trajectory, ...]:
        """Returns the base episodes, and those that topped them up; the seed is not among them."""
        added = [item for item in group.trajectories if item.start.role == "top_up"]
        return (*self.draw(group).base, *added)

    def further_samples(self, group: Group) -> list[TrainingSample]:
        """Returns the reset episodes; of each the suffix is trained."""
        is_reset = group.trajectories[0].start.role == "reset"
        return super().further_samples(group) if is_reset else []

    def draw(self, group: Group) -> Draw:
        """Returns how the tries of a problem are read: by the paper's loop, or as they come."""
        tries = [item for item in group.trajectories if item.start.role not in self.roles]
        return read_draw(tries, self.config) if self.is_first else read_shared(tries, self.config)

    def kept_steps(
        self, seed: Trajectory, groups: dict[str, Group], rng: np.random.Generator
    ) -> int:
        """Returns how many steps of the seed a reset keeps: k - 1 for k uniform over 1..T."""
        return uniform_cut(seed.final_state, rng)

    def metrics(self, groups: Sequence[Group]) -> dict[str, float | int | None]:
        """Returns how clean the resets' prefixes are, by the problems' step checker."""
        return {} if self.checker is None else prefix_metrics(self.resets(groups), self.checker)

    def resets(self, groups: Sequence[Group]) -> list[tuple[Trajectory, Group]]:
        """Returns each failed chain with the group that began from it."""
        known = {group.key: group for group in groups}
        seeds = {group.key: self.draw(group).seed for group in groups if is_own_group(group)}
        return [
            (seed, known[key + RESET])
            for key, seed in seeds.items()
            if seed is not None and key + RESET in known
        ]

    def _next(self, group: Group, known: dict[str, Group], rng: np.random.Generator) -> list[Start]:
        """Returns what follows for one problem; nothing once its reset or top-up is there."""
        config = self.config
        start = group.trajectories[0].start
        if group.key + RESET in known or any(
            item.start.role == "top_up" for item in group.trajectories
        ):
            return []
        draw = self.draw(group)
        if not self.is_first and draw.seed is None:
            return []
        if draw.seed is not None and (not self.is_first or len(draw.base) == config.num_base):
            kept = self.kept_steps(draw.seed, known, rng)
            state = with_response_of(start.state, draw.seed.final_state, kept)
            return [
                replace(
                    start,
                    state=state,
                    learn_from=state,
                    num_samples=config.num_reset,
                    group=group.key + RESET,
                    role="reset",
                )
            ]
        if draw.tries < config.max_tries:
            count = min(config.tries_per_wave, config.max_tries - len(group.trajectories))
            return [replace(start, num_samples=count)]
        missing = config.num_base + config.num_reset - len(draw.base)
        return [replace(start, num_samples=missing, role="top_up")]
