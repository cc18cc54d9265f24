"""Which samples an iteration's groups give: one pipeline for a single method and for several.

A *problem group* holds the episodes that begin at a problem; the methods of a composition share it.
A *further group* (a reset, a guided copy, an explanation) belongs to the method whose role it has.

    problem group   base episodes
                    -> each method's `remove`, in order
                    -> each method's `swap`, in order
                    -> the first method's advantages, if it trains problem groups and every method
                       trains this one
    further group   its method's advantages, if its role is in `compared`; else nothing
    at the end      each method's `add`, in order

A method declares its share of this as one value, a `Part`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.learning import AdvantageConfig, group_advantages
from reason_env.agents.rollout import Group, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError

BASE = "base"
"""Role of the episodes that begin at the problem, where the environment starts it."""
Episodes = tuple[Trajectory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one method does with an iteration's groups."""

    roles: frozenset[str]
    """Roles of the method's episodes and samples, "base" excluded."""
    compared: frozenset[str]
    """Roles of the further groups whose episodes are trained, each compared with its group."""
    advantage: AdvantageConfig
    """Estimator of the further groups, and of the problem groups if the method is the first."""
    trains_problems: bool = True
    """Whether a first method trains the episodes of the problem groups, compared with each
    other."""
    remove: Callable[[Episodes, Episodes], Episodes] = lambda episodes, own: episodes
    """(episodes, the method's own episodes in that problem group) -> the episodes that stay."""
    swap: Callable[[Episodes, Episodes, np.random.Generator], Episodes] = (
        lambda episodes, own, rng: episodes
    )
    """(episodes, the method's own episodes in that problem group, rng) -> the trained episodes."""
    trains: Callable[[Episodes], bool] = lambda episodes: True
    """The episodes of a problem group after all swaps -> whether the group is trained."""
    add: Callable[[Sequence[Group]], list[TrainingSample]] = lambda groups: []
    """Groups that the method sees -> samples that are compared with no others."""


def training_samples(
    parts: Sequence[Part], groups: Sequence[Group], rng: np.random.Generator
) -> list[TrainingSample]:
    """Run the pipeline: the samples of each group in order, then the added ones."""
    samples: list[TrainingSample] = []
    for group in groups:
        if is_problem_group(group):
            episodes = _after_removal(parts, group)
            for part in parts:
                episodes = part.swap(episodes, _own(part, group), rng)
            if parts[0].trains_problems and all(part.trains(episodes) for part in parts):
                samples += samples_of(episodes, parts[0].advantage)
        else:
            part = parts[_owner(parts, group)]
            if role_of(group) in part.compared:
                samples += samples_of(group.trajectories, part.advantage)
    for place, part in enumerate(parts):
        samples += part.add(visible_groups(parts, place, groups))
    return samples


def visible_groups(parts: Sequence[Part], place: int, groups: Sequence[Group]) -> list[Group]:
    """Select the groups that the method at a place sees.

    It sees problem groups as the methods before it leave them, and its own further groups.
    """
    visible: list[Group] = []
    for group in groups:
        if not is_problem_group(group):
            if _owner(parts, group) == place:
                visible.append(group)
            continue
        episodes = (*_after_removal(parts[:place], group), *_own(parts[place], group))
        if episodes:
            visible.append(Group(key=group.key, trajectories=episodes))
    return visible


def is_problem_group(group: Group) -> bool:
    """Return whether a group's first episode begins at the problem."""
    return role_of(group) == BASE


def role_of(group: Group) -> str:
    """Return the role of a group's first episode, which decides whose group it is."""
    return group.trajectories[0].start.role


def problem_episodes(groups: Sequence[Group]) -> list[Trajectory]:
    """List the graded episodes that begin at a problem."""
    return [
        item
        for group in groups
        if is_problem_group(group)
        for item in group.graded
        if item.start.role == BASE
    ]


def samples_of(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[TrainingSample]:
    """Make one sample of each graded episode, with its advantage among them.

    Episodes whose verifier failed are left out; fewer than two graded episodes give no sample.
    """
    graded = [item for item in trajectories if item.is_graded]
    if len(graded) < 2:
        return []
    advantages = group_advantages([item.episode_return for item in graded], config)
    return [
        training_sample(item, float(advantage))
        for item, advantage in zip(graded, advantages, strict=True)
    ]


def _after_removal(parts: Sequence[Part], group: Group) -> Episodes:
    episodes = tuple(item for item in group.trajectories if item.start.role == BASE)
    for part in parts:
        episodes = part.remove(episodes, _own(part, group))
    return episodes


def _own(part: Part, group: Group) -> Episodes:
    return tuple(item for item in group.trajectories if item.start.role in part.roles)


def _owner(parts: Sequence[Part], group: Group) -> int:
    """Return the place of the method that a further group belongs to."""
    role = role_of(group)
    for place, part in enumerate(parts):
        if role in part.roles:
            return place
    raise ConfigError(
        f"a method's `roles` must hold the role of each further start, got {role!r} in group "
        f"{group.key!r}; add it to the class's roles"
    )
