"""Greedy policy choosers, exact and approximate: from the value of the next states to a policy.

CPI's theory needs a chooser that is good *on average* under a given state distribution. The two
approximate choosers fit noisy values with a few random features by weighted least squares:
`ValueFeatureChooser` fits the state values, as Scherrer (2014) does, and then looks one step ahead
exactly; `ActionFeatureChooser` fits the values of each action, as a learner without a model must.
API, CPI and PSDP differ in the weights that they pass.

Axes: S states, A actions, F features.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, action_value, greedy
from reason_env.errors import ConfigError, shown


class Chooser(Protocol):
    """Finds a policy [S, A] that is approximately greedy for a value, on average by weight."""

    def __call__(self, mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array: ...


def exact_chooser(mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array:
    """Return the greedy policy; ignores the weights."""
    return greedy(action_value(mdp, value_S))


@dataclass(frozen=True, slots=True, eq=False)
class ValueFeatureChooser:
    """Looks one step ahead, by the exact model, at a weighted fit of noisy state values.

    The noise is uniform on `-noise..noise` times `scale`: the value itself, the largest possible
    value, or one reward. All are normalised: if values lie in 0..1, one reward is 1 - discount.
    """

    features_SF: Array
    noise: float
    """Half width of the noise, as a fraction of the scale."""
    rng: np.random.Generator
    scale: Literal["value", "largest_value", "reward"] = "value"

    def __post_init__(self) -> None:
        _check_noise(self.noise)

    def __call__(self, mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array:
        top = float(np.abs(mdp.reward_SA).max())
        scale_S = {
            "value": np.abs(value_S),
            "largest_value": np.full_like(value_S, top),
            "reward": np.full_like(value_S, (1.0 - mdp.discount) * top),
        }[self.scale]
        noisy_S = value_S + scale_S * self.rng.uniform(-self.noise, self.noise, len(value_S))
        return greedy(
            action_value(mdp, _fitted(self.features_SF, noisy_S[:, None], weight_S)[:, 0])
        )


@dataclass(frozen=True, slots=True, eq=False)
class ActionFeatureChooser:
    """Greedy for a weighted least-squares fit of noisy action values, one fit per action."""

    features_SF: Array
    noise: float
    """Half width of the uniform noise, as a fraction of the range of the values."""
    rng: np.random.Generator

    def __post_init__(self) -> None:
        _check_noise(self.noise)

    def __call__(self, mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array:
        q_SA = action_value(mdp, value_S)
        width = self.noise * float(np.ptp(q_SA))
        noisy_SA = q_SA + self.rng.uniform(-width, width, q_SA.shape)
        return greedy(_fitted(self.features_SF, noisy_SA, weight_S))


def _fitted(features_SF: Array, target_SX: Array, weight_S: Array) -> Array:
    root_S1 = np.sqrt(weight_S)[:, None]
    fit_FX = np.linalg.lstsq(root_S1 * features_SF, root_S1 * target_SX, rcond=None)[0]
    return features_SF @ fit_FX


def _check_noise(noise: float) -> None:
    if not noise >= 0.0:
        raise ConfigError(f"noise must be at least 0, got {shown(noise)}; Scherrer uses 0.1")
