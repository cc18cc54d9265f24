"""Teachers: who scores the trained tokens of a distillation loss, without a gradient.

    policy    the weights that are trained, as they are at each optimizer step
    average   their moving average: average += rate (weights - average) after each step
    others    another policy: the one before training, or a model with the same token ids

The average is kept beside the weights and swapped in for a pass, so no second model is needed; its
tensors are part of the learner's state.

Not covered: teachers on another device.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from reason_env.agents.learning.distillation import AVERAGE, POLICY, DistillationConfig
from reason_env.agents.policy import Predictions
from reason_env.errors import ConfigError


@runtime_checkable
class PredictingPolicy(Protocol):
    """A policy that gives whole distributions."""

    def predict(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        action_mask_BT: Tensor | None = None,
        checkpointing: bool = False,
    ) -> Predictions:
        """Run the model once, and keep what it predicts at the tokens of the action mask."""
        ...


class Teachers:
    """The teachers of a learner's losses."""

    def __init__(
        self,
        policy: object,
        configs: Sequence[DistillationConfig],
        parameters: Sequence[nn.Parameter],
        others: Mapping[str, object],
    ) -> None:
        """Take the teachers that the losses name.

        Args:
            policy: The policy that is trained.
            configs: The losses' distillations; at least one.
            parameters: Those of the policy that are trained.
            others: `DistillationConfig.teacher` -> policy, where it names neither the policy nor
                its average.

        Raises:
            ConfigError: A policy gives no distributions, a teacher is missing, or two losses
                have averages of other rates.
        """
        self.policy = predicting(policy, "the policy")
        self.parameters = list(parameters)
        self.others: dict[str, PredictingPolicy] = {}
        for name in dict.fromkeys(config.teacher for config in configs):
            if name in (POLICY, AVERAGE):
                continue
            if name not in others:
                raise ConfigError(
                    f"the teacher {name!r} must be given to the learner, got "
                    f"{', '.join(others) or 'none'}; give teachers"
                )
            self.others[name] = predicting(others[name], f"the teacher {name!r}")
        rates = {config.average_rate for config in configs if config.teacher == AVERAGE}
        if len(rates) > 1:
            raise ConfigError(
                f"average_rate must be one for all losses, got {sorted(rates)}; use one rate"
            )
        self.rate = rates.pop() if rates else None
        self.average: list[Tensor] | None = None
        """Of `parameters`, in their order; None without a loss that needs it."""
        if self.rate is not None:
            self.average = [own.detach().clone() for own in self.parameters]

    @torch.no_grad()
    def predict(
        self,
        name: str,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        action_mask_BT: Tensor,
    ) -> Predictions:
        """Run a teacher once; what it predicts stays, whatever happens to weights afterwards."""
        if name != AVERAGE:
            teacher = self.policy if name == POLICY else self.others[name]
            return teacher.predict(token_ids_BT, attention_mask_BT, action_mask_BT=action_mask_BT)
        with self._averaged():
            found = self.policy.predict(
                token_ids_BT, attention_mask_BT, action_mask_BT=action_mask_BT
            )
            return found.kept()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the weights; call it after each optimizer step."""
        if self.average is not None and self.rate is not None:
            for own, weight in zip(self.average, self.parameters, strict=True):
                own.lerp_(weight, self.rate)

    @torch.no_grad()
    def restore(self, average: Sequence[Tensor]) -> None:
        """Continue from an earlier average.

        Raises:
            ValueError: It has another number of tensors.
        """
        assert self.average is not None, "called only with an average"
        for own, value in zip(self.average, average, strict=True):
            own.copy_(value)

    @contextmanager
    def _averaged(self) -> Generator[None]:
        """Give the policy the average's values inside the block."""
        assert self.average is not None, "a loss names the average"
        weights = [own.data for own in self.parameters]
        try:
            for own, value in zip(self.parameters, self.average, strict=True):
                own.data = value
            yield
        finally:
            for own, value in zip(self.parameters, weights, strict=True):
                own.data = value


def predicting(policy: object, name: str) -> PredictingPolicy:
    """Return the policy, as one that gives whole distributions.

    Raises:
        ConfigError: It gives none.
    """
    if not isinstance(policy, PredictingPolicy):
        raise ConfigError(
            f"{name} must give whole distributions for a distillation loss, got "
            f"{type(policy).__name__} without predict(); use a LanguageModelPolicy"
        )
    return policy
