"""Methods in combination: each adds its own starts to the problems' groups of the first.

A problem has one own group, which all methods share, and any number of further groups (a reset, a
guided copy, an explanation), each of which belongs to the method that asked for it.

Order and budget:

    1. `prepare` runs in the order given; each method narrows the problems of the next.
    2. The first method samples the problems' own groups: their size, estimator and loss are its.
       Another method's further starts come beside them at that method's own sizes. So the tokens of
       a composition are those of the first method, and what each other one adds; nothing is shared
       out or scaled down.
    3. Every wave offers all groups to all methods, in order. A method sees the own group as those
       before it leave it (SRPO's first failure is gone for LTE behind it), and its own further
       groups; never another method's. While one asks for more episodes of a group, those behind it
       wait with that group.
    4. What is trained of an own group: first each method takes out what it takes out, in order;
       then each exchanges what it exchanges, in order (LTE's merge). Advantages are the first
       method's, over what is left.
    5. A further group has the estimator and the loss of its method. Episodes that LTE merges into
       an own group have that group's loss, shaped where they were hinted.

A composition of one method is that method. Behind another method, RRPO and SRPO
take the first failure of the group as it is, and ask for no further tries.

Refused, because it has no meaning: two methods with a role in common (RRPO and SRPO both reset and
both take the seed), a method that adds nothing behind another (GRPO), POPE without unguided copies
(there is no own group to share), and a method that learns from pairs.

Not covered: a method's further groups as the ground of another (resets of guided episodes).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import BASE, Collect, MethodBase, is_own_group, samples_of
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory
from reason_env.errors import CheckpointError, ConfigError
from reason_env.state import ReasonState


class Composed(MethodBase):
    """Several methods as one, in the order given."""

    def __init__(self, methods: Mapping[str, MethodBase]) -> None:
        """Takes the methods by name, and tells all but the first that they are not alone.

        Raises:
            ConfigError: There is none, or two of them contradict each other.
        """
        check_composition(methods)
        self.names = tuple(methods)
        self.methods = tuple(methods.values())
        for method in self.methods[1:]:
            method.is_first = False
        self.roles = frozenset().union(*(method.roles for method in self.methods))

    @property
    def advantage(self) -> AdvantageConfig:
        """The first method's: of the problems' own groups."""
        return self.methods[0].advantage

    @property
    def loss(self) -> LossConfig:
        """The first method's: of the problems' own groups."""
        return self.methods[0].loss

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Each role's by the method that has it."""
        losses = dict(self.methods[0].role_losses)
        for method in self.methods[1:]:
            losses |= method.losses_beside(self.loss)
        return losses

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns the problems that every method leaves."""
        for method in self.methods:
            states = method.prepare(states, collect)
        self.prepared_tokens = sum(method.prepared_tokens for method in self.methods)
        return states

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns the first method's starts, then the further ones of the others."""
        starts = self.methods[0].plan(states, rng)
        for method in self.methods[1:]:
            starts += [item for item in method.plan(states, rng) if item.role in method.roles]
        return starts

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns what the methods ask for; of a group that grows, the first that asks alone."""
        starts: list[Start] = []
        for place, method in enumerate(self.methods):
            growing = {start.group for start in starts}
            visible = [group for group in self._seen(groups, place) if group.key not in growing]
            starts += method.follow_up(visible, rng)
        return starts

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns the samples of each group in order, then those that the methods add themselves.

        Each further group's samples are its method's.
        """
        samples: list[TrainingSample] = []
        for group in groups:
            if is_own_group(group):
                trained = self._left(group, len(self.methods))
                for method in self.methods:
                    trained = method.exchanged(trained, group, rng)
                samples += samples_of(trained, self.advantage)
            else:
                samples += self._owner(group).further_samples(group)
        for place, method in enumerate(self.methods):
            samples += method.added_samples(self._seen(groups, place))
        return samples

    def metrics(self, groups: Sequence[Group]) -> dict[str, float | int | None]:
        """Returns what each method measures."""
        found: dict[str, float | int | None] = {}
        for place, method in enumerate(self.methods):
            found |= method.metrics(self._seen(groups, place))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Returns what each method remembers, by name."""
        return {
            name: method.state_dict() for name, method in zip(self.names, self.methods, strict=True)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value.

        Raises:
            CheckpointError: It is that of another composition.
        """
        if tuple(state) != self.names:
            raise CheckpointError(
                f"the methods' state must be of {'+'.join(self.names)}, got {'+'.join(state)}; "
                "resume with the config that wrote it"
            )
        for name, method in zip(self.names, self.methods, strict=True):
            method.load_state_dict(state[name])

    def _owner(self, group: Group) -> MethodBase:
        role = group.trajectories[0].start.role
        return next(method for method in self.methods if role in method.roles)

    def _left(self, group: Group, place: int) -> tuple[Trajectory, ...]:
        """Returns what the first `place` methods leave of an own group, exchanges apart."""
        left = tuple(item for item in group.trajectories if item.start.role == BASE)
        for method in self.methods[:place]:
            left = method.kept(Group(key=group.key, trajectories=(*left, *_own(method, group))))
        return left

    def _seen(self, groups: Sequence[Group], place: int) -> list[Group]:
        """Returns the groups as the method at a place sees them."""
        method = self.methods[place]
        seen: list[Group] = []
        for group in groups:
            if not is_own_group(group):
                if self._owner(group) is method:
                    seen.append(group)
                continue
            visible = (*self._left(group, place), *_own(method, group))
            if visible:
                seen.append(Group(key=group.key, trajectories=visible))
        return seen


def check_composition(methods: Mapping[str, MethodBase]) -> None:
    """Raises where methods have no meaning together; the reason says why.

    Raises:
        ConfigError: As said; also where there is no method.
    """
    if not methods:
        raise ConfigError("a composition must name at least one method, got none")
    for name, method in methods.items() if len(methods) > 1 else ():
        if method.pair_loss is not None:
            raise ConfigError(
                f"{name} must stand alone, got {'+'.join(methods)}; it learns from pairs of "
                "responses, and the others from single ones"
            )
        if not method.has_own_groups:
            raise ConfigError(
                f"{name} must sample the problems themselves to be combined, got "
                f"{'+'.join(methods)}; guided copies alone leave no group to share: use "
                "copies 'both'"
            )
    first, *others = methods
    for name in others:
        if not methods[name].roles:
            raise ConfigError(
                f"{name} must stand first, got {'+'.join(methods)}; behind {first} it adds nothing"
            )
    for (name, method), (other, its) in combinations(methods.items(), 2):
        shared = sorted(method.roles & its.roles)
        if shared:
            raise ConfigError(
                f"{name} and {other} must not be combined, got {'+'.join(methods)}; both own the "
                f"episodes of {', '.join(shared)}"
            )


def _own(method: MethodBase, group: Group) -> tuple[Trajectory, ...]:
    return tuple(item for item in group.trajectories if item.start.role in method.roles)
