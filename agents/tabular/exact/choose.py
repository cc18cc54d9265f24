"""The greedy step of every algorithm, exact or approximate: the value of acting later -> policy.

CPI's theory needs only a chooser that is good *on average* under the states it is asked about. Two
approximate ones see the values through a few random features, fitted under the given weights, with
noise: `ValueFeatureChooser` fits the state values, as Scherrer (2014) does, and looks one step
ahead exactly; `ActionFeatureChooser` fits the values of each action, as a learner without a model
must. API, CPI and PSDP then differ in the weights they give.

Axes: S states, A actions, F features.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from reason_env.agents.tabular.exact.mdp import Array, TabularMDP, action_value, greedy
from reason_env.errors import ConfigError, shown


class Chooser(Protocol):
    """Returns a policy [S, A] about greedy for a value, on average over the weights."""

    def __call__(self, mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array: ...


def exact(mdp: TabularMDP, value_S: Array, weight_S: Array) -> Array:
    """Returns the greedy policy, whatever the weights."""
    return greedy(action_value(mdp, value_S))


@dataclass(frozen=True, slots=True, eq=False)
class ValueFeatureChooser:
    """Greedy, by the exact model, for a weighted least-squares fit of noisy state values.

    The noise is uniform on `-noise..noise` times `scale`: the value itself, the largest value there
    could be, or one reward (all normalised alike: of values in 0..1, one reward is 1 - discount).
    """

    features_SF: Array
    noise: float
    """Half width of the noise, as a fraction of its scale."""
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
    """Greedy for a weighted least-squares fit of noisy action values, one fit an action."""

    features_SF: Array
    noise: float
    """Half width of uniform noise, as a fraction of the values' range."""
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
        raise ConfigError(f"noise must be at least 0, got {shown(noise)}; 0.1 is Scherrer's")
