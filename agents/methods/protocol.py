"""What a method is: where episodes start, what follows, and what is trained. One small object each.

The loop calls `plan` once an iteration, then `follow_up` with all groups so far until it returns
nothing, then `training_samples`. Everything a method knows about the world is in these values.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from reason_env.agents.loss import LossConfig
from reason_env.agents.trajectory import Group, Start, TrainingSample
from reason_env.state import ReasonState


class Method(Protocol):
    """One row of the table: starts, guidance, training context, estimator and loss."""

    @property
    def loss(self) -> LossConfig:
        """The update's loss, every number in it."""
        ...

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Returns the first wave's starts, given where the environment starts each problem."""
        ...

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Returns further starts after seeing all groups so far; empty when there are none."""
        ...

    def training_samples(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Returns which tokens are trained, under which context, with which advantage."""
        ...
