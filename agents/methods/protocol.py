"""What a method is: where episodes start, what follows, and what is trained. One small object each.

The loop calls `prepare` once a run, then each iteration `plan`, `follow_up` with all groups so far
until it returns nothing, and `training_samples`. A method says everything in these values: starts
(with the context that is learned under), groups by explicit key, roles, and samples.

`MethodBase` holds the answers of a method that needs no preparation, no second wave and no memory.
It makes the samples from three smaller questions, so that methods compose (`compose.py`): what is
`kept` of a problem's own group, what is `exchanged` in it, and what a further group or the method
itself adds. A problem's own group is the one that begins with an episode of the role "base".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from reason_env.agents.learning import AdvantageConfig, LossConfig, PairLossConfig, group_advantages
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError, did_you_mean
from reason_env.state import ReasonState

Fits = Callable[[ReasonState], bool]
"""Whether the environment and the model can begin an episode at a state."""
Fingerprint = Callable[[], str]
"""Hash of everything that a measurement of the policy depends on, the states apart."""
Collect = Callable[[Sequence[Start]], Sequence[Group]]
"""Samples some starts with the policy as it is; tokens are counted."""
BASE = "base"
"""The role of episodes that begin at the problem, as the environment starts it."""


class Method(Protocol):
    """One row of the table: starts, guidance, training context, estimator and loss."""

    @property
    def loss(self) -> LossConfig:
        """The update's loss, every number in it."""
        ...

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """The loss of samples of a role, where it is another."""
        ...

    @property
    def pair_loss(self) -> PairLossConfig | None:
        """The loss of pairs of responses, in place of all others; None for none."""
        ...

    @property
    def has_follow_up(self) -> bool:
        """False promises that `follow_up` always returns nothing."""
        ...

    @property
    def prepared_tokens(self) -> int:
        """Tokens of a preparation that was taken from a file."""
        ...

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns the problems to train on, after whatever must be measured before training."""
        ...

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns the first wave's starts, given where the environment starts each problem."""
        ...

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns further starts after seeing all groups so far; empty when there are none."""
        ...

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns which tokens are trained, under which context, with which advantage."""
        ...

    def metrics(self, groups: Sequence[Group]) -> dict[str, float | int | None]:
        """Returns what only this method can measure of an iteration, by names of `METRICS`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns what the method remembers between iterations, as JSON can hold it."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value."""
        ...


class MethodBase:
    """A method without preparation, further waves, other losses or memory.

    A subclass has `advantage` and `loss`, `plan`, and whatever else it does otherwise.
    """

    roles: frozenset[str] = frozenset()
    """Roles of the starts and samples that it adds beside "base"; no other method's in a
    composition."""
    fits: Fits = staticmethod(lambda state: True)
    """Whether an episode can begin at a state; `build_method` sets it. Asked before guidance that
    may be too long for the prompt or the model is put into a start."""
    fingerprint: Fingerprint | None = None
    """What a measurement of the policy depends on beside the states: weights, sampling, budgets,
    seed; `build_method` sets it. None where nobody knows, and nothing is kept between runs."""
    prepared_tokens: int = 0
    """Tokens of a preparation that was taken from a file, counted as if they were generated now."""
    has_follow_up = True
    """False promises that `follow_up` always returns nothing: CPI then finds the states that the
    method starts from without sampling."""
    is_first = True
    """False behind another method of a composition: the problems' own groups are not its."""

    @property
    def has_own_groups(self) -> bool:
        """True if it samples the problems themselves, in groups that other methods can share."""
        return True

    @property
    def advantage(self) -> AdvantageConfig:
        """The estimator of the problems' own groups and of its further ones."""
        raise NotImplementedError(f"{type(self).__name__} must have an advantage")

    @property
    def loss(self) -> LossConfig:
        """The loss of the problems' own groups."""
        raise NotImplementedError(f"{type(self).__name__} must have a loss")

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Every role has the method's loss."""
        return {}

    def losses_beside(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Returns the losses of its roles where the problems' own groups have another `loss`."""
        own = self.role_losses
        return {role: own.get(role, self.loss) for role in self.roles}

    @property
    def pair_loss(self) -> PairLossConfig | None:
        """The loss of pairs of responses, in place of all others; None for none."""
        return None

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns every problem."""
        return states

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns the first wave's starts, given where the environment starts each problem."""
        raise NotImplementedError(f"{type(self).__name__} must plan")

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns nothing."""
        return []

    def training_samples(
        self, groups: Sequence[Group], rng: np.random.Generator
    ) -> list[TrainingSample]:
        """Returns the samples of each group in order, then those that the method adds itself."""
        samples: list[TrainingSample] = []
        for group in groups:
            if is_own_group(group):
                trained = self.exchanged(self.kept(group), group, rng)
                samples += samples_of(trained, self.advantage)
            else:
                samples += self.further_samples(group)
        return samples + self.added_samples(groups)

    def kept(self, group: Group) -> tuple[Trajectory, ...]:
        """Returns which episodes from the problem itself it leaves in the problem's own group."""
        return tuple(item for item in group.trajectories if item.start.role not in self.roles)

    def exchanged(
        self, kept: tuple[Trajectory, ...], group: Group, rng: np.random.Generator
    ) -> tuple[Trajectory, ...]:
        """Returns the own group that is trained: those kept, or others of `group` in their place.

        Args:
            kept: What `kept` has left (of all methods, in a composition).
            group: All episodes of the group.
            rng: Chooses.
        """
        return kept

    def further_samples(self, group: Group) -> list[TrainingSample]:
        """Returns the samples of a further group that it asked for: all, compared among them."""
        return samples_of(group.trajectories, self.advantage)

    def added_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Returns samples of no group."""
        return []

    def metrics(self, groups: Sequence[Group]) -> dict[str, float | int | None]:
        """Returns what only this method can measure of an iteration, by names of `METRICS`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes nothing."""


def is_own_group(group: Group) -> bool:
    """Returns whether a group is a problem's own, which all methods of a composition share."""
    return group.trajectories[0].start.role == BASE


def problem_starts(states: Sequence[ReasonState], num_samples: int) -> list[Start]:
    """Returns one start a problem, each its own group, learned under what it was sampled under."""
    return [
        Start(
            state=state,
            num_samples=num_samples,
            learn_from=state,
            group=group_key(draw, state),
            draw=draw,
        )
        for draw, state in enumerate(states)
    ]


def samples_of(trajectories: Sequence[Trajectory], config: AdvantageConfig) -> list[TrainingSample]:
    """Returns the samples of one group: each graded episode with its advantage among them.

    Episodes whose verifier failed are in no group; fewer than two graded ones teach nothing.
    """
    graded = [item for item in trajectories if item.is_graded]
    if len(graded) < 2:
        return []
    advantages = group_advantages([item.episode_return for item in graded], config)
    return [
        training_sample(item, float(advantage))
        for item, advantage in zip(graded, advantages, strict=True)
    ]


def check_names(config: object, choices: Mapping[str, Sequence[str]]) -> None:
    """Raises where a field of a config is none of its names.

    Args:
        config: A method's config.
        choices: Field -> the names it may have.

    Raises:
        ConfigError: The first field that has another name, with the nearest.
    """
    for name, known in choices.items():
        value = getattr(config, name)
        if value not in known:
            raise ConfigError(
                f"{name} must be one of {', '.join(known)}, got {value!r}"
                f"{did_you_mean(str(value), known)}"
            )


def group_key(index: int, state: ReasonState) -> str:
    """Returns the key of the `index`-th problem of an iteration: a problem may come twice."""
    return f"{index}:{state.problem.problem_id}"
