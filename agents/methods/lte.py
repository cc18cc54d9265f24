"""LTE: a problem whose whole group failed is sampled again, with its wrong answers in the prompt.

    trigger:  all G returns of a problem are failures
    hint:     none truncated: the distinct wrong answers ("do not give these again");
              some truncated: the same, and "be concise"; all truncated: "be concise"
    merge:    the G' correct hinted episodes replace G' failures at random; other hinted ones are
              dropped; advantages over the merged group (one failure is kept if G' = G)
    loss:     hinted tokens -A f(ratio), f(x) = x / (x + gamma),
              ratio = pi_theta(y | x without hint) / pi_old(y | x with hint), no clip;
              the rest as in GRPO

The paper averages the two sums with normalisers of their own, Z' over the hinted tokens and Z over
the others (`normaliser="separate"`). By default all tokens share one, so that a few hinted episodes
weigh as much as others; the figures in the documentation were measured so.

Source: arXiv 2510.26109, "Learning to reason from Trial and Error". gamma 0.1, the shared
normaliser and keeping one failure when G' = G are our choice; the words of the hint come from the
prompt template.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.pipeline import Part
from reason_env.agents.methods.protocol import (
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import MAX_MISTAKE_CHARS, Guidance, ReasonState, mistakes_guidance

Extra = Literal["hinted", "unhinted"]
Normaliser = Literal["shared", "separate"]
_log = logging.getLogger(__name__)
Denominator = Literal["hinted_old", "one", "unhinted_old"]
RATIO_DENOMINATOR = {"hinted_old": "behavior", "one": "one", "unhinted_old": "old"}
"""`LTEConfig.denominator` -> `LossConfig.ratio_denominator`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LTEConfig(MethodConfig):
    """LTE's numbers."""

    kind: Annotated[Literal["lte"], tyro.conf.Suppress] = "lte"
    group_size: int = 8
    """Episodes a problem, and as many again if all of them fail (G)."""
    extra: Extra = "hinted"
    """unhinted: the same extra episodes without a hint, the paper's control arm GRPOExtra."""
    gamma: float = 0.1
    """gamma of f(x) = x / (x + gamma) on hinted tokens [the paper gives no value]."""
    denominator: Denominator = "hinted_old"
    """Denominator of the hinted ratio: the sampler under the hint (the paper), none, or the old
    policy without the hint."""
    normaliser: Normaliser = "shared"
    """Average over hinted and other tokens together, or over each kind alone (separate: the
    paper's Z' and Z)."""
    concise: str = "Be concise."
    """Instruction if an episode was truncated [our words]."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        self.advantage.check_size(self.group_size, "group_size")
        if not self.gamma > 0:
            raise ConfigError(f"gamma must be above 0, got {self.gamma!r}")
        names = {"extra": Extra, "denominator": Denominator, "normaliser": Normaliser}
        check_names(self, {name: get_args(kind) for name, kind in names.items()})

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """As many different wrong answers as the group has episodes, each as long as is shown."""
        if self.extra == "unhinted":
            return ()
        answers = [f"{at:0{MAX_MISTAKE_CHARS}d}" for at in range(self.group_size)]
        mistakes = mistakes_guidance(answers)
        assert mistakes is not None, "a group has an episode"
        return (mistakes, Guidance("instruction", (self.concise,)))


class LTE(MethodBase):
    """Sample with hints from the policy's own mistakes; train without the hints."""

    config: LTEConfig
    row = Row(
        starts="the problem; again if all episodes failed",
        context="the problem alone, without the hint",
        paper='arXiv 2510.26109, "Learning to reason from Trial and Error"',
        numbers={
            "gamma": UNSAID,
            "concise": UNSAID,
            "normaliser": "separate",
            "denominator": "hinted_old",
        },
        result="Average of six benchmarks (Qwen3-8B-Base): Pass@1 43.99 before and 49.01 after, "
        "Pass@k 56.82 and 66.78.",
        differences=(
            "All tokens are averaged together and there is no KL term, as in DAPO.",
            "Correct hinted episodes replace failures; if all hinted ones are right, one failure "
            "is kept, because a group of successes alone gives no gradient.",
            "A failed group without any answer and without truncation has nothing for a hint, and "
            "a hint may not fit the prompt: the problem is then sampled again as it is (role "
            "`extra`).",
            "`rollout/cut_mistakes` counts wrong answers that a hint does not show whole. The "
            "words of the hint are the template's. `--extra unhinted` is the control arm "
            "GRPOExtra.",
        ),
    )
    roles = frozenset({"hinted", "extra"})

    @property
    def part(self) -> Part:
        """Correct hinted episodes replace failures in the problem's group."""
        return replace(super().part, swap=merged_group)

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Shape the loss of hinted tokens; otherwise they have the loss of the group they join."""
        shaped = replace(
            loss,
            surrogate="shaped",
            shape_gamma=self.config.gamma,
            ratio_denominator=RATIO_DENOMINATOR[self.config.denominator],
            importance_weight_cap=None,
            dual_clip=None,
            separate_normaliser=self.config.normaliser == "separate",
        )
        return {"hinted": shaped}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem, as GRPO does."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Start as many episodes again for each problem whose whole group failed."""
        starts: list[Start] = []
        for group in groups:
            first = group.trajectories[0].start
            is_done = any(item.start.role in self.roles for item in group.trajectories)
            if is_done or not _has_failed(group):
                continue
            # A group without any answer has no wrong answers to show: it is sampled as it was.
            hints = self.hints(group) if self.config.extra == "hinted" else ()
            if hints and not self.fits(first.state.with_guidance(*hints)):
                _log.warning(
                    "the hints of %s are too long to be shown; sampling without them", group.key
                )
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
        """Return the guidance for a failed group: its wrong answers, to be concise, or both."""
        truncated = [item.outcome == "truncated" for item in group.graded]
        answers = answers_of(group.graded)
        concise = Guidance("instruction", (self.config.concise,))
        if all(truncated):
            return (concise,)
        mistakes = mistakes_guidance(answers)
        pieces = () if mistakes is None else (mistakes,)
        return (*pieces, concise) if any(truncated) else pieces

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Count the wrong answers that hints do not show whole."""
        if self.config.extra == "unhinted":
            return {}
        return {"rollout/cut_mistakes": sum(self._num_cut(group) for group in groups)}

    def _num_cut(self, group: Group) -> int:
        """Count a group's distinct wrong answers that are not, or not whole, in its hint."""
        own = [item for item in group.trajectories if item.start.role in self.roles]
        if not own:
            return 0
        tries = [item for item in group.graded if item.start.role not in self.roles]
        answers = {" ".join(answer.split()) for answer in answers_of(tries)}
        hint = own[0].start.state.guidance
        return len(
            answers.difference(*(piece.pieces for piece in hint if piece.kind == "mistakes"))
        )


def answers_of(episodes: Sequence[Trajectory]) -> list[str]:
    """List the answers that were extracted from some episodes, in order; no undecided ones."""
    return [
        verdict.extracted
        for item in episodes
        if not item.is_undecided
        and (verdict := item.final_state.verdict) is not None
        and verdict.extracted
    ]


def merged_group(
    episodes: Sequence[Trajectory], further: Sequence[Trajectory], rng: np.random.Generator
) -> tuple[Trajectory, ...]:
    """Replace failures of a failed group, at random, by further episodes that are correct.

    At least one failure stays, because a group of successes alone gives no gradient. Without a
    correct further episode the graded episodes stay as they are.
    """
    base = [item for item in episodes if item.is_graded]
    found = [item for item in further if item.is_graded and item.is_success]
    found = found[: max(0, len(base) - 1)]
    replaced: list[int] = rng.permutation(len(base))[: len(found)].tolist() if found else []
    kept = [item for index, item in enumerate(base) if index not in replaced]
    return (*kept, *found)


def _has_failed(group: Group) -> bool:
    graded = group.graded
    return bool(graded) and not any(item.is_success for item in graded)
