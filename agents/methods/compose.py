"""Several methods as one: each adds its own starts to the problem groups of the first.

Order and budget:

    1. `prepare`, and `measure` in each iteration, run in the order given; each method selects among
       the problems that the one before it returned.
    2. The first method samples the problem groups: it decides their size, estimator and loss. The
       other methods add their further starts, at their own sizes. So a composition generates the
       tokens of the first method plus what each other method adds; nothing is scaled down.
    3. Each round of `follow_up` shows the groups to all methods, in order. A method sees a problem
       group as the methods before it leave it (after SRPO, LTE does not see SRPO's source
       trajectory), and its own further groups, never another method's. While a method asks for more
       episodes of a group, the methods after it wait with that group.
    4. `pipeline.py` makes the samples: all removals from a problem group, then all swaps (LTE's
       merge), then the first method's advantages.
    5. A method may ask for further problems (`more_states`). It starts them itself, and the other
       methods plan for them as for the first ones.
    6. A further group has the estimator and the loss of its method. Episodes that LTE merges into a
       problem group have that group's loss, shaped if they were hinted.

A composition of one method equals that method. After another method, RRPO and SRPO take the first
failure of the group as it is, and ask for no further tries.

Refused, because it has no meaning: two methods with a role in common (RRPO and SRPO both reset and
both take the source trajectory), a method that adds nothing after another (GRPO), one that compares
no episodes before another (OPSD, SDPO), POPE without unguided copies and RRPO without a base group
(there is no problem group to share), and a method that learns from pairs.

Not covered: one method's further groups as the input of another (resets of guided episodes).
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from typing import Any

import numpy as np

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.pipeline import Part, training_samples, visible_groups
from reason_env.agents.methods.protocol import Collect, MethodBase
from reason_env.agents.methods.services import Services
from reason_env.agents.metrics import Number
from reason_env.agents.policy import JudgeConfig
from reason_env.agents.rollout import Group, Start, TrainingSample
from reason_env.errors import CheckpointError, ConfigError
from reason_env.state import ReasonState


class Composed(MethodBase):
    """Several methods as one, in the order given."""

    def __init__(self, methods: Mapping[str, MethodBase]) -> None:
        """Take the methods by name; set `is_first` of all but the first to False.

        Raises:
            ConfigError: There is no method, or two of them contradict each other.
        """
        check_composition(methods)
        self.names = tuple(methods)
        self.methods = tuple(methods.values())
        for method in self.methods[1:]:
            method.is_first = False
        self.roles = frozenset().union(*(method.roles for method in self.methods))
        self.needs_entropies = any(method.needs_entropies for method in self.methods)

    @property
    def advantage(self) -> AdvantageConfig:
        """The first method's estimator, of the problem groups."""
        return self.methods[0].advantage

    @property
    def loss(self) -> LossConfig:
        """The first method's loss, of the problem groups."""
        return self.methods[0].loss

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Role -> the loss that its method gives it next to the problem groups' loss."""
        first, *others = self.methods
        losses = dict(first.role_losses)
        for method in others:
            losses |= method.losses_with(self.loss)
        return losses

    @property
    def judges(self) -> Sequence[JudgeConfig]:
        """The judges of all methods."""
        return tuple(config for method in self.methods for config in method.judges)

    @contextmanager
    def served_by(self, services: Services) -> Generator[None]:
        """Give all methods the same services inside the block."""
        with ExitStack() as stack:
            stack.enter_context(super().served_by(services))
            for method in self.methods:
                stack.enter_context(method.served_by(services))
            yield

    @property
    def parts(self) -> list[Part]:
        """Each method's share of the pipeline, in order."""
        return [method.part for method in self.methods]

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Return the problems that every method keeps."""
        for method in self.methods:
            states = method.prepare(states, collect)
        self.prepared_tokens = sum(method.prepared_tokens for method in self.methods)
        return states

    def measure(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Return the drawn problems that every method keeps."""
        for method in self.methods:
            states = method.measure(states, collect)
        self.measured_tokens = sum(method.measured_tokens for method in self.methods)
        return states

    def trained_problems(self, problem_ids: Sequence[str]) -> Sequence[str]:
        """Return the problems that every method trains on."""
        for method in self.methods:
            problem_ids = method.trained_problems(problem_ids)
        return problem_ids

    def prepared_responses(self, num_problems: int) -> int:
        """Count those of the first method; the others may be left with fewer problems."""
        return self.methods[0].prepared_responses(num_problems)

    @property
    def planned_responses(self) -> int:
        """Those of the first method, which samples the problem groups."""
        return self.methods[0].planned_responses

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Return the first method's starts, then the further starts of the others."""
        starts: list[Start] = []
        for place, method in enumerate(self.methods):
            num_known = len(self.services.states)
            starts += self._own_starts(place, method.plan(states, rng))
            starts += self._plans_of_others(place, num_known, rng)
        return starts

    def _own_starts(self, place: int, starts: Sequence[Start]) -> list[Start]:
        """Leave out the problem groups that a later method plans: they are the first method's."""
        roles = self.methods[place].roles
        return [start for start in starts if place == 0 or start.role in roles]

    def _plans_of_others(self, place: int, num_known: int, rng: np.random.Generator) -> list[Start]:
        """Let the others plan for problems that the method at a place has just asked for."""
        states = self.services.states
        if len(states) == num_known:
            return []
        return [
            start
            for other, method in enumerate(self.methods)
            if other != place
            for start in self._own_starts(other, method.plan_further(states, num_known, rng))
        ]

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Return what the methods ask for; one method at a time adds episodes to a group."""
        starts: list[Start] = []
        parts = self.parts
        for place, method in enumerate(self.methods):
            growing = {start.group for start in starts}
            visible = visible_groups(parts, place, groups)
            num_known = len(self.services.states)
            starts += method.follow_up([item for item in visible if item.key not in growing], rng)
            starts += self._plans_of_others(place, num_known, rng)
        return starts

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Run the pipeline with all methods."""
        return training_samples(self.parts, groups, rng)

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Return the metrics of each method."""
        found: dict[str, Number] = {}
        parts = self.parts
        for place, method in enumerate(self.methods):
            found |= method.metrics(visible_groups(parts, place, groups))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what each method remembers, by name."""
        return {
            name: method.state_dict() for name, method in zip(self.names, self.methods, strict=True)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: It is the state of another composition.
        """
        if tuple(state) != self.names:
            raise CheckpointError(
                f"the methods' state must be of {'+'.join(self.names)}, got {'+'.join(state)}; "
                "resume with the config that wrote it"
            )
        for name, method in zip(self.names, self.methods, strict=True):
            method.load_state_dict(state[name])


def check_composition(methods: Mapping[str, MethodBase]) -> None:
    """Check that methods can be combined in this order.

    Raises:
        ConfigError: There is no method, or the combination has no meaning; the message says why.
    """
    if not methods:
        raise ConfigError("a composition must name at least one method, got none")
    names = "+".join(methods)
    for name, method in methods.items() if len(methods) > 1 else ():
        if method.pair_loss is not None:
            raise ConfigError(
                f"{name} must be used alone, got {names}; it learns from pairs of responses, and "
                "the others from single ones"
            )
        if not method.samples_problems:
            raise ConfigError(
                f"{name} must sample the problems themselves to be combined, got {names}; without "
                f"such episodes there is no group to share: use {method.to_sample_problems}"
            )
    first, *others = methods
    if others and methods[first].adds_only:
        raise ConfigError(
            f"{first} must come after another method, got {names}; it compares no episodes, and "
            f"the first method has to: {'+'.join(_comparing_first(methods))}"
        )
    for name in others:
        if not methods[name].roles:
            raise ConfigError(f"{name} must come first, got {names}; after {first} it adds nothing")
    for (name, method), (other_name, other) in combinations(methods.items(), 2):
        shared = sorted(method.roles & other.roles)
        if shared:
            raise ConfigError(
                f"{name} and {other_name} must not be combined, got {names}; both own the episodes "
                f"of {', '.join(shared)}"
            )


def _comparing_first(methods: Mapping[str, MethodBase]) -> list[str]:
    """Order names so that a method that compares episodes is first; add GRPO if there is none."""
    # One without roles (GRPO) adds nothing after another, so it leads.
    order = sorted(methods, key=lambda name: (methods[name].adds_only, bool(methods[name].roles)))
    return ["grpo", *order] if methods[order[0]].adds_only else order
