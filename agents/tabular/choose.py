"""The greedy step of every algorithm, exact or approximate: action values -> policy.

CPI's theory needs only a chooser that is good *on average* under the states it is asked about.
`FeatureChooser` is such a one: it sees each action's values through a few random features, fitted
under the given weights, with noise. API, CPI and PSDP then differ in the weights they give.

Axes: S states, A actions, F features.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reason_env.agents.tabular.mdp import Array, greedy


class Chooser(Protocol):
    """Returns a policy [S, A] that is about greedy for the values, on average over the weights."""

    def __call__(self, action_value_SA: Array, weight_S: Array) -> Array: ...


def exact(action_value_SA: Array, weight_S: Array) -> Array:
    """Returns the greedy policy, whatever the weights."""
    return greedy(action_value_SA)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureChooser:
    """Greedy for a weighted least-squares fit of noisy action values, one fit an action."""

    features_SF: Array
    noise: float
    """Half width of uniform noise, as a fraction of the values' range."""
    rng: np.random.Generator

    def __call__(self, action_value_SA: Array, weight_S: Array) -> Array:
        width = self.noise * float(np.ptp(action_value_SA))
        noisy_SA = action_value_SA + self.rng.uniform(-width, width, action_value_SA.shape)
        root_S1 = np.sqrt(weight_S)[:, None]
        fit_FA = np.linalg.lstsq(root_S1 * self.features_SF, root_S1 * noisy_SA, rcond=None)[0]
        return greedy(self.features_SF @ fit_FA)


def feature_chooser(
    num_states: int,
    *,
    num_features: int,
    noise: float,
    features_rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> FeatureChooser:
    """Returns a chooser that sees `num_features` random features, the first of them constant."""
    features_SF = features_rng.standard_normal((num_states, num_features))
    features_SF[:, 0] = 1.0
    return FeatureChooser(features_SF, noise, noise_rng)
