"""Trees of trajectories: branches that begin within other trajectories, and the values of segments.

A branch begins after some tokens of its parent and shares them with it. Its start names the parent
(`Start.parent_id`); the cut is the number of response tokens in its state. Trajectories that begin
at a problem are the first branches of a tree whose root is the problem.

    A:  a a a a a a a          segments of A: [0, 2), [2, 5), [5, 7)
    B:      b b b b            parent A, cut 2
    C:            c c          parent A, cut 5

A token of A's first segment leads to A, B and C, one of the second to A and C.

The value of a segment estimates what follows its last token. By default it is the mean return of
the trajectories that the segment leads to; `by_child` averages what directly continues it, each
continuation with its own such average. The two differ where continuations have unequal numbers of
trajectories. After A's first segment: (A + B + C) / 3, and by child ((A + C) / 2 + B) / 2.
"""

from collections.abc import Iterable, Sequence
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
    """Mean return of these, or by child; None if there is none."""
    parent_value: float | None
    """Value of the segment before it, which may be another trajectory's; at the root, of the
    problem."""


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


def tree_segments(
    trajectories: Sequence[Trajectory], *, by_child: bool = False
) -> dict[str, tuple[Segment, ...]]:
    """Divide the sampled tokens of each trajectory, by its id, at the cuts of its branches.

    Args:
        trajectories: Of one problem: all trees from it.
        by_child: Average continuations, not trajectories.

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
    roots = [item for item in trajectories if item.start.parent_id is None]
    tree = _Tree(known=known, children=children, roots=roots, by_child=by_child)
    return {name: tree.segments(item) for name, item in known.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    known: dict[str, Trajectory]
    children: dict[str, list[Trajectory]]
    roots: list[Trajectory]
    by_child: bool

    def segments(self, item: Trajectory) -> tuple[Segment, ...]:
        value = self.value_before(item)
        found: list[Segment] = []
        for first, last in pairwise(self.bounds(item)):
            own = self.value(item, last)
            leaves = self.leaves(item, last)
            found.append(
                Segment(
                    begin=first, end=last, num_leaves=len(leaves), value=own, parent_value=value
                )
            )
            value = own
        return tuple(found)

    def bounds(self, item: Trajectory) -> list[int]:
        begin, end = item.prefix_length, _end(item)
        cuts = {child.prefix_length for child in self.children[item.trajectory_id]}
        return sorted({begin, end} | {cut for cut in cuts if begin < cut < end})

    def value(self, item: Trajectory, end: int) -> float | None:
        """Value after a trajectory's own token before `end`."""
        if not self.by_child:
            return _mean_return(self.leaves(item, end))
        if end == _end(item):
            return item.episode_return if item.is_graded else None
        return self.mean_of_children(self.continuations(item, end))

    def value_before(self, item: Trajectory) -> float | None:
        """Value where a trajectory begins."""
        parent_id = item.start.parent_id
        if parent_id is None:
            if not self.by_child:
                return _mean_return(self.known.values())
            begins = [one for root in self.roots for one in self.continuations(root, None)]
            return self.mean_of_children(begins)
        parent = self.known[parent_id]
        if item.prefix_length == parent.prefix_length:
            return self.value_before(parent)
        return self.value(parent, item.prefix_length)

    def mean_of_children(self, continuations: list[tuple[Trajectory, int]]) -> float | None:
        ends = [
            (item, next(bound for bound in self.bounds(item) if bound > cut))
            for item, cut in continuations
        ]
        values = (self.value(item, end) for item, end in ends)
        return mean(value for value in values if value is not None)

    def continuations(self, item: Trajectory, cut: int | None) -> list[tuple[Trajectory, int]]:
        """List what continues a trajectory after `cut` tokens, or where it begins (None)."""
        at = item.prefix_length if cut is None else cut
        found = [(item, at)] if at < _end(item) else []
        for child in self.children[item.trajectory_id]:
            if child.prefix_length == at:
                found += self.continuations(child, None)
        return found

    def leaves(self, item: Trajectory, end: int) -> list[Trajectory]:
        """List the graded trajectories whose path holds the trajectory's own token before `end`."""
        leaves = [item] if item.is_graded else []
        for child in self.children[item.trajectory_id]:
            if child.prefix_length >= end:
                leaves += self.leaves(child, child.prefix_length)
        return leaves


def _end(item: Trajectory) -> int:
    return item.prefix_length + len(item.behavior_log_probs)


def _mean_return(items: Iterable[Trajectory]) -> float | None:
    return mean(item.episode_return for item in items if item.is_graded)
