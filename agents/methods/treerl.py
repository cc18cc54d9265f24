"""TreeRL: episodes branch where the policy was least certain; each segment is rewarded by value.

    trees     M episodes from the problem, each the trunk of a tree
    L times   in each tree, the N most uncertain tokens so far are sampled again, T times each
    V(s)      mean return of the episodes that pass through s
    R(s)      (V(s) - V(problem) + V(s) - V(parent of s)) / sqrt(number of those episodes)
    trained   every episode from the problem on, a token with the R of its segment
    L         clipped surrogate, averaged over the trained tokens

The square root is there because n episodes train a segment that they share n times.

A token's uncertainty is -log of its probability ("surprisal", the paper and its code), or the
entropy of its distribution ("entropy"), which the engine must give: vLLM gives none. The first
token of a branch is not sampled again.

Source: Hou et al. 2025, "TreeRL", arXiv 2506.11902, and its released code (THUDM/TreeRL, f0edbea).
Segments and values equal those of `build_into_tree_format` and `gather_paths`
(`benchmarks/methods/released.py`). R is the paper's: the release divides V(parent) by the square
root of the parent's own number of episodes. It also subtracts the mean of the others from each
return, which makes all values n / (n - 1) times as large, and then the mean over tokens from each;
where a segment's local part is 0 it takes that of the segment before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.protocol import (
    AddingMethod,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.segment_tree import BRANCH, trees_of
from reason_env.agents.methods.vineppo import STEPWISE
from reason_env.agents.metrics import mean
from reason_env.agents.rollout import (
    Group,
    Segment,
    Start,
    TrainingSample,
    Trajectory,
    branch,
    training_sample,
    tree_segments,
)
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

Uncertainty = Literal["surprisal", "entropy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRLConfig(MethodConfig):
    """TreeRL's numbers."""

    kind: Annotated[Literal["treerl"], tyro.conf.Suppress] = "treerl"
    group_size: int = 6
    """Episodes from the problem, each the trunk of a tree (M)."""
    branch_points: int = 2
    """Tokens of a tree that are sampled again in a round (N)."""
    branches: int = 2
    """Episodes from each such token (T)."""
    rounds: int = 1
    """Rounds of branching (L)."""
    uncertainty: Uncertainty = "surprisal"
    """Of a sampled token: -log of its probability, or the entropy of its distribution."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        check_names(self, {"uncertainty": get_args(Uncertainty)})
        for name in ("group_size", "branch_points", "branches", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")


class TreeRL(AddingMethod):
    """Branch at uncertain tokens; reward each segment by the values at its ends."""

    config: TreeRLConfig
    row = Row(
        starts="the problem; then before the most uncertain tokens of each episode",
        context="the same; the prefix is trained again",
        estimator="(2 V(end) - V(problem) - V(begin)) / sqrt(n) of each segment, n episodes "
        "passing through",
        paper='arXiv 2506.11902, "TreeRL: LLM Reinforcement Learning with On-Policy Tree Search"',
        numbers={
            "group_size": 6,
            "branch_points": 2,
            "branches": 2,
            "rounds": 1,
            "uncertainty": "surprisal",
        },
        run_numbers={
            "problems_per_iteration": 16,
            "sampling.temperature": 1.2,
            "sampling.top_p": 0.95,
            "learner.learning_rate": 1.5e-6,
        },
        result="Average of six benchmarks (Qwen2.5-14B): 44.5, where independent episodes have "
        "41.6.",
        differences=(
            "All 30 episodes are trained, and there is no KL term; the paper trains 16 of them, "
            "with a success among them.",
            "The reward is the paper's formula; the release divides the parent's value by the root "
            "of its own number of episodes, takes away the mean over tokens, and repeats a "
            "segment's local part in the next one where that is 0.",
            "The release never branches after the words `answer` and `conclusion`.",
        ),
    )
    roles = frozenset({BRANCH, STEPWISE})

    def __init__(self, config: TreeRLConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.needs_entropies = config.uncertainty == "entropy"

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Branch each tree at its most uncertain tokens, until it has N L places."""
        return [
            branch(item, place, num_samples=self.config.branches, role=BRANCH)
            for items in trees_of(groups)
            for tree in _by_trunk(items)
            for item, place in self.branch_places(tree)
        ]

    def branch_places(self, tree: Sequence[Trajectory]) -> list[tuple[Trajectory, int]]:
        """List where a tree branches next: episodes and places in their responses.

        Args:
            tree: A trunk and its branches, in the order of sampling.
        """
        taken = {(item.start.parent_id, item.prefix_length) for item in tree[1:]}
        left = self.config.branch_points * self.config.rounds - len(taken)
        candidates = [
            (uncertainty, number, place)
            for number, item in enumerate(tree)
            for uncertainty, place in self.uncertainties(item)
            if (item.trajectory_id, place) not in taken
        ]
        # The most uncertain first; of equals the earlier.
        candidates.sort(key=lambda one: (-one[0], one[1], one[2]))
        chosen = candidates[: max(0, min(left, self.config.branch_points))]
        return [(tree[number], place) for _, number, place in chosen]

    def uncertainties(self, item: Trajectory) -> list[tuple[float, int]]:
        """Pair the uncertainty of each token that may be sampled again with its place."""
        values = tuple(-value for value in item.behavior_log_probs)
        if self.config.uncertainty == "entropy":
            assert item.entropies is not None, "asked for"
            values = item.entropies
        pairs = [(value, place) for place, value in enumerate(values, start=item.prefix_length)]
        return pairs[1:] if item.start.role == BRANCH else pairs

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode with a decided return, from the problem on."""
        samples: list[TrainingSample] = []
        for items in trees_of(groups):
            segments = tree_segments(items)
            known = {item.trajectory_id: item for item in items}
            root = mean(item.episode_return for item in items if item.is_graded)
            samples += [
                path_sample(item, known, segments, root)
                for item in items
                if root is not None and item.is_graded and item.behavior_log_probs
            ]
        return samples


def path_sample(
    item: Trajectory,
    known: Mapping[str, Trajectory],
    segments: Mapping[str, Sequence[Segment]],
    root: float,
) -> TrainingSample:
    """Make the sample of an episode and of the prefixes that it continues.

    Args:
        item: The episode.
        known: All episodes of the problem, by id.
        segments: Of each.
        root: V of the problem.
    """
    size = len(item.final_state.response)
    mask, log_probs, rewards = [False] * size, [0.0] * size, [0.0] * size
    end, own = size, item
    while True:
        written = training_sample(own, 0.0)
        for one in segments[own.trajectory_id]:
            for place in range(one.begin, min(one.end, end)):
                mask[place] = True
                log_probs[place] = written.behavior_log_probs[place]
                rewards[place] = reward(one, root)
        if own.start.parent_id is None:
            break
        end, own = own.prefix_length, known[own.start.parent_id]
    return replace(
        training_sample(item, 0.0),
        action_mask=tuple(mask),
        behavior_log_probs=tuple(log_probs),
        advantage=tuple(rewards),
        role=BRANCH if item.start.role == BRANCH else STEPWISE,
    )


def reward(segment: Segment, root: float) -> float:
    """Compute R of a segment that a graded episode passes through."""
    assert segment.value is not None, "an episode passes through"
    assert segment.parent_value is not None, "an episode passes through"
    gain = 2 * segment.value - root - segment.parent_value
    return gain / math.sqrt(segment.num_leaves)


def _by_trunk(items: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """Sort the episodes of a problem by the tree that they belong to."""
    trees: dict[str, list[Trajectory]] = {}
    trunk_of: dict[str, str] = {}
    for item in items:
        parent = item.start.parent_id
        trunk = item.trajectory_id if parent is None else trunk_of[parent]
        trunk_of[item.trajectory_id] = trunk
        trees.setdefault(trunk, []).append(item)
    return list(trees.values())
