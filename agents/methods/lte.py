"""LTE: a problem whose whole group failed is tried again, told its own wrong answers.

    trigger:  all G returns of a problem are failures
    hint:     none truncated: the distinct wrong answers ("do not give these again");
              some truncated: the same, and "be concise"; all truncated: "be concise"
    merge:    the G' correct hinted episodes replace G' failures at random; other hinted ones are
              dropped; advantages over the merged group (one failure is kept if G' = G)
    loss:     hinted tokens -A f(ratio), f(x) = x / (x + gamma),
              ratio = pi_theta(y | x without hint) / pi_old(y | x with hint), no clip;
              the rest as in GRPO

Source: arXiv 2510.26109, "Learning to reason from Trial and Error". gamma 0.1 and the failure that
is kept when G' = G are our choice; the hint's words are the prompt template's.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import (
    MethodBase,
    check_names,
    problem_starts,
)
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.state import Guidance, ReasonState, mistakes_guidance

Extra = Literal["hinted", "unhinted"]
_log = logging.getLogger(__name__)
Denominator = Literal["hinted_old", "one", "unhinted_old"]
RATIO_DENOMINATOR = {"hinted_old": "behavior", "one": "one", "unhinted_old": "old"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LTEConfig:
    """LTE's numbers."""

    kind: Annotated[Literal["lte"], tyro.conf.Suppress] = "lte"
    group_size: int = 8
    """Episodes a problem, and as many again where all of them fail (G)."""
    extra: Extra = "hinted"
    """unhinted is the paper's control arm GRPOExtra: the same extra episodes without a hint."""
    gamma: float = 0.1
    """Of f(x) = x / (x + gamma) on hinted tokens [the paper does not say]."""
    denominator: Denominator = "hinted_old"
    """What the hinted ratio is divided by: the sampler under the hint (the paper), nothing, or the
    old policy without the hint."""
    concise: str = "Be concise."
    """The words for truncated episodes [ours]."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        if not self.gamma > 0:
            raise ConfigError(f"gamma must be above 0, got {self.gamma!r}")
        check_names(self, {"extra": get_args(Extra), "denominator": get_args(Denominator)})


class LTE(MethodBase):
    """Hints made of the policy's own mistakes; learned without them."""

    roles = frozenset({"hinted", "extra"})

    def __init__(self, config: LTEConfig) -> None:
        self.config = config

    @property
    def advantage(self) -> AdvantageConfig:
        """Within the merged group."""
        return self.config.advantage

    @property
    def loss(self) -> LossConfig:
        """The loss of unhinted tokens."""
        return self.config.loss

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """The shaped loss of hinted tokens, in the same denominators."""
        return self.losses_beside(self.config.loss)

    def losses_beside(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Returns the shaped loss of hinted tokens, else as `loss`: they are of the same group."""
        shaped = replace(
            loss,
            surrogate="shaped",
            shape_gamma=self.config.gamma,
            ratio_denominator=RATIO_DENOMINATOR[self.config.denominator],
            importance_weight_cap=None,
            dual_clip=None,
        )
        return {"hinted": shaped}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns one start a problem, as GRPO's."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns as many episodes again for each group that failed as a whole."""
        starts: list[Start] = []
        for group in groups:
            first = group.trajectories[0].start
            is_done = any(item.start.role in self.roles for item in group.trajectories)
            if is_done or not _has_failed(group):
                continue
            # Without a wrong answer to tell (nothing was answered) the episodes are just more.
            hints = self.hints(group) if self.config.extra == "hinted" else ()
            if hints and not self.fits(first.state.with_guidance(*hints)):
                _log.warning("the hints of %s are too long to be shown", group.key)
                hints = ()
            starts.append(
                Start(
                    state=first.state.with_guidance(*hints),
                    num_samples=self.config.group_size,
                    learn_from=first.learn_from,
                    group=group.key,
                    role="hinted" if hints else "extra",
                    draw=first.draw,
                )
            )
        return starts

    def hints(self, group: Group) -> tuple[Guidance, ...]:
        """Returns what a failed group is told: its wrong answers, to be concise, or both."""
        truncated = [item.outcome == "truncated" for item in group.graded]
        answers = [
            verdict.extracted
            for item in group.graded
            if (verdict := item.final_state.verdict) is not None and verdict.extracted
        ]
        concise = Guidance("instruction", (self.config.concise,))
        if all(truncated):
            return (concise,)
        mistakes = mistakes_guidance(answers)
        pieces = () if mistakes is None else (mistakes,)
        return (*pieces, concise) if any(truncated) else pieces

    def exchanged(
        self, kept: tuple[Trajectory, ...], group: Group, rng: np.random.Generator
    ) -> tuple[Trajectory, ...]:
        """Returns the merged group; hinted episodes are learned without their hint."""
        further = [item for item in group.trajectories if item.start.role in self.roles]
        return merged_group(kept, further, rng)


def merged_group(
    kept: Sequence[Trajectory], further: Sequence[Trajectory], rng: np.random.Generator
) -> tuple[Trajectory, ...]:
    """Returns a failed group after further correct episodes have replaced failures at random.

    A group in which nothing was added is returned as it is. At least one failure stays, or there
    would be nothing to learn from.
    """
    base = [item for item in kept if item.is_graded]
    found = [item for item in further if item.is_graded and item.is_success]
    found = found[: max(0, len(base) - 1)]
    replaced = set(rng.permutation(len(base))[: len(found)].tolist()) if found else set()
    kept = [item for index, item in enumerate(base) if index not in replaced]
    return (*kept, *found)


def _has_failed(group: Group) -> bool:
    graded = group.graded
    return bool(graded) and not any(item.is_success for item in graded)
