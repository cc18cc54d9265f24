"""Trees of trajectories: branches that begin within other trajectories, and the values of segments.

A branch begins after some tokens of its parent and shares them with it. Its start names the parent
(`Start.parent_id`); the cut is the number of response tokens in its state. Trajectories that begin
at a problem are the first branches of a tree whose root is the problem.

    A:  a a a a a a a          segments of A: [0, 2), [2, 5), [5, 7)
    B:      b b b b            parent A, cut 2
    C:            c c          parent A, cut 5

A token of A's first segment leads to A, B and C, one of the second to A and C.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from reason_env.agents.metrics import mean
from reason_env.agents.rollout.trajectory import Start, Trajectory
from reason_env.errors import ConfigError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens of a trajectory that lead to the same trajectories of its tree."""

    begin: int
    """Index of the first token in the response."""
    end: int
    """Index just after the last token."""
    num_leaves: int
    """Graded trajectories that the tokens lead to."""
    value: float | None
    """Mean return of these; None if there is none."""
    parent_value: float | None
    """Value of the segment before it, which may be another trajectory's; at the root, the mean
    return of all trajectories."""


def branch(
    parent: Trajectory, cut: int, *, num_samples: int, role: str, group: str | None = None
) -> Start:
    """Make the start of branches that share the first tokens of a trajectory's response.

    Args:
        parent: The trajectory.
        cut: Tokens of its response to keep. The first that is left out is one that it sampled.
        num_samples: Number of branches.
        role: Their role.
        group: Key of their group; None for the parent's.

    Raises:
        ConfigError: The token after the cut is none that the parent sampled.
    """
    begin = parent.prefix_length
    num_own = len(parent.behavior_log_probs)
    if not begin <= cut < begin + num_own:
        raise ConfigError(
            f"cut must lie in {begin}..{begin + num_own - 1}, the tokens that the parent sampled, "
            f"got {cut!r}; branch off the trajectory that sampled the token"
        )
    state = parent.final_state.cut_tokens(cut, "reset")
    return replace(
        parent.start,
        state=state,
        learn_from=replace(state, guidance=parent.start.learn_from.guidance),
        num_samples=num_samples,
        role=role,
        group=parent.start.group if group is None else group,
        parent_id=parent.trajectory_id,
    )


def tree_segments(trajectories: Sequence[Trajectory]) -> dict[str, tuple[Segment, ...]]:
    """Divide the sampled tokens of each trajectory, by its id, at the cuts of its branches.

    Args:
        trajectories: Of one problem: all trees from it.

    Raises:
        ConfigError: A branch's parent is not among them.
    """
    known = {item.trajectory_id: item for item in trajectories}
    children: dict[str, list[Trajectory]] = {name: [] for name in known}
    for item in trajectories:
        parent_id = item.start.parent_id
        if parent_id is None:
            continue
        if parent_id not in known:
            raise ConfigError(
                f"a branch's parent must be among the trajectories, got {shown(parent_id)} and "
                f"{len(known)} others; give all trajectories of a problem"
            )
        children[parent_id].append(item)
    return {name: _segments(item, known, children) for name, item in known.items()}


def _segments(
    item: Trajectory,
    known: dict[str, Trajectory],
    children: dict[str, list[Trajectory]],
) -> tuple[Segment, ...]:
    begin = item.prefix_length
    end = begin + len(item.behavior_log_probs)
    cuts = {child.prefix_length for child in children[item.trajectory_id]}
    bounds = sorted({begin, end} | {cut for cut in cuts if begin < cut < end})
    value = _value_before(item, begin, known, children)
    found: list[Segment] = []
    for first, last in pairwise(bounds):
        leaves = _leaves(item, last, children)
        own = mean(leaf.episode_return for leaf in leaves)
        found.append(
            Segment(begin=first, end=last, num_leaves=len(leaves), value=own, parent_value=value)
        )
        value = own
    return tuple(found)


def _value_before(
    item: Trajectory,
    cut: int,
    known: dict[str, Trajectory],
    children: dict[str, list[Trajectory]],
) -> float | None:
    """Return the value of the segment that ends at a trajectory's beginning."""
    parent_id = item.start.parent_id
    if parent_id is None:
        return mean(leaf.episode_return for leaf in known.values() if leaf.is_graded)
    parent = known[parent_id]
    if cut == parent.prefix_length:
        return _value_before(parent, cut, known, children)
    return mean(leaf.episode_return for leaf in _leaves(parent, cut, children))


def _leaves(item: Trajectory, end: int, children: dict[str, list[Trajectory]]) -> list[Trajectory]:
    """List the graded trajectories whose path holds the trajectory's own token before `end`."""
    leaves = [item] if item.is_graded else []
    for child in children[item.trajectory_id]:
        if child.prefix_length >= end:
            leaves += _leaves(child, child.prefix_length, children)
    return leaves
