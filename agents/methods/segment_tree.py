"""SPO-tree: credit for segments of equally many tokens, from a tree of episodes.

    depth 0   b_1 episodes from the problem
    depth d   every episode that is longer than d M tokens is joined there by b_(d+1) - 1 others,
              so that each state after d M tokens has b_(d+1) continuations
    V(s)      mean of V over the continuations of s; at an episode's end its return
    A         V(end) - V(begin) of a segment of M tokens, or of what is left of the episode
    trained   each segment once: an episode's own tokens, those whose probability is below rho
    L         clipped surrogate, averaged over the trained tokens

No token is sampled for a value alone: what values a state is trained too. With branch factors
(6, 6, 6) a problem has up to 216 episodes.

Source: Guo et al. 2025, "Segment Policy Optimization", arXiv 2505.23564, and its released code
(AIFrameResearch/SPO, b9fc6a2, `hybrid_inference_strategy.py`, `extract_edges_from_tree`), which
samples a segment and stops; to continue a whole episode's prefix gives a tree of the same
distribution, with as many tokens. Not as there: it drops segments without an advantage and keeps 32
of a problem, the others for later iterations (up to 8); and it whitens the advantages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.pipeline import BASE, is_problem_group
from reason_env.agents.methods.protocol import AddingMethod, MethodConfig, problem_starts
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.spo import check_cut_probability, only_uncertain
from reason_env.agents.methods.vineppo import STEPWISE, token_advantages
from reason_env.agents.rollout import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    branch,
    training_sample,
    tree_segments,
)
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

BRANCH = "branch"
"""Role of the episodes that continue a prefix of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SPOTreeConfig(MethodConfig):
    """The numbers of SPO-tree."""

    kind: Annotated[Literal["spo-tree"], tyro.conf.Suppress] = "spo-tree"
    branch_factors: tuple[int, ...] = (6, 6, 6)
    """Continuations of the problem, and of a state after each further segment."""
    segment_tokens: int = 30
    """Tokens of a segment (M); the paper's of responses of a few hundred tokens."""
    cut_probability: float = 0.9
    """Only sampled tokens of a lower probability are trained (rho); 1: all but certain ones."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if not self.branch_factors or min(self.branch_factors) < 2:
            raise ConfigError(
                f"branch_factors must be numbers of at least 2, got {self.branch_factors!r}; a "
                "single continuation is no branch"
            )
        if self.segment_tokens < 1:
            raise ConfigError(f"segment_tokens must be at least 1, got {self.segment_tokens!r}")
        check_cut_probability(self.cut_probability)

    @property
    def group_size(self) -> int:
        """Episodes from the problem."""
        return self.branch_factors[0]


class SPOTree(AddingMethod):
    """Credit for segments, from the episodes that continue them."""

    config: SPOTreeConfig
    row = Row(
        starts="the problem; then after every M tokens of each episode, twice",
        context="the same; the prefix is masked",
        estimator="V(end) - V(begin) of each segment, on uncertain tokens",
        paper='arXiv 2505.23564, "Segment Policy Optimization"',
        numbers={
            "branch_factors": (6, 6, 6),
            "segment_tokens": 30,
            "cut_probability": 0.9,
            "loss.kl_coefficient": 1e-4,
        },
        run_numbers={
            "problems_per_iteration": 16,
            "sampling.temperature": 0.6,
            "learner.learning_rate": 1e-6,
        },
        result="MATH500 of DeepSeek-R1-Distill-Qwen-1.5B with 2K and 4K tokens: 7 to 11 points "
        "above GRPO (M = 600).",
        differences=(
            "The loss has no KL term, as elsewhere here (`--loss.kl-coefficient`). The release "
            "whitens advantages, drops segments whose advantage is 0, and trains 32 segments of a "
            "problem in an iteration, others in later ones; here all are trained at once.",
            "A tree has up to 216 episodes: take few problems an iteration, or smaller "
            "`--branch-factors`.",
        ),
    )
    roles = frozenset({BRANCH, STEPWISE})

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start the first branch factor's episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Branch each episode after every M tokens, as deep as there are branch factors."""
        starts: list[Start] = []
        for items in trees_of(groups):
            known = {(item.start.parent_id, item.prefix_length) for item in items}
            for item in items:
                begin = item.prefix_length
                for place, factor in self.places(items[0].prefix_length):
                    is_inside = begin < place < begin + len(item.behavior_log_probs)
                    if is_inside and (item.trajectory_id, place) not in known:
                        starts.append(branch(item, place, num_samples=factor - 1, role=BRANCH))
        return starts

    def places(self, begin: int) -> list[tuple[int, int]]:
        """List where episodes branch, with the number of continuations there."""
        factors, size = self.config.branch_factors[1:], self.config.segment_tokens
        return [(begin + depth * size, factor) for depth, factor in enumerate(factors, start=1)]

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode's own tokens; none without a decided return."""
        samples: list[TrainingSample] = []
        for items in trees_of(groups):
            segments = tree_segments(items, by_child=True)
            for item in items:
                own = segments[item.trajectory_id]
                gains = [
                    one.value - one.parent_value
                    for one in own
                    if one.value is not None and one.parent_value is not None
                ]
                if not item.is_graded or not gains:
                    continue
                ends = [one.end for one in own]
                whole = training_sample(item, token_advantages(item, ends, gains))
                sample = only_uncertain(whole, item, self.config.cut_probability)
                if sample is not None:
                    role = BRANCH if item.start.role == BRANCH else STEPWISE
                    samples.append(replace(sample, role=role))
        return samples


def trees_of(groups: Sequence[Group]) -> list[list[Trajectory]]:
    """List the episodes of each problem's trees: those from the problem, then their branches."""
    return [
        [item for item in group.trajectories if item.start.role in (BASE, BRANCH)]
        for group in groups
        if is_problem_group(group)
    ]
