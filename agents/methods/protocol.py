"""What a method is: where episodes start, what follows, and what is trained. One small object each.

The loop calls `prepare` once a run, then each iteration `plan`, `follow_up` with all groups so far
until it returns nothing, and `training_samples`. A method says everything in these values: starts
(with the context that is learned under), groups by explicit key, roles, and samples.

`MethodBase` holds the answers of a method that needs no preparation, no second wave and no memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from reason_env.agents.advantage import AdvantageConfig, group_advantages
from reason_env.agents.loss import LossConfig
from reason_env.agents.trajectory import (
    Group,
    Start,
    TrainingSample,
    Trajectory,
    training_sample,
)
from reason_env.errors import ConfigError, did_you_mean
from reason_env.state import ReasonState

Fits = Callable[[ReasonState], bool]
"""Whether the environment and the model can begin an episode at a state."""
Collect = Callable[[Sequence[Start]], Sequence[Group]]
"""Samples some starts with the policy as it is; tokens are counted."""


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

    def state_dict(self) -> dict[str, Any]:
        """Returns what the method remembers between iterations, as JSON can hold it."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value."""
        ...


class MethodBase:
    """A method without preparation, further waves, other losses or memory."""

    fits: Fits = staticmethod(lambda state: True)
    """Whether an episode can begin at a state; `build_method` sets it. Asked before guidance that
    may be too long for the prompt or the model is put into a start."""

    @property
    def role_losses(self) -> Mapping[str, LossConfig]:
        """Every role has the method's loss."""
        return {}

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Returns every problem."""
        return states

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns nothing."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing to remember."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes nothing."""


def problem_starts(states: Sequence[ReasonState], num_samples: int) -> list[Start]:
    """Returns one start a problem, each its own group, learned under what it was sampled under."""
    return [
        Start(state=state, num_samples=num_samples, learn_from=state, group=group_key(index, state))
        for index, state in enumerate(states)
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
