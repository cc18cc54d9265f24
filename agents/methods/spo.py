"""SPO-chain: credit for segments between tokens of low probability, on those tokens alone.

    cut points        sampled tokens whose probability is below rho = 0.9
    segment           from one cut point to the m-th cut point after it
    V(s)              mean return of K episodes that begin before a segment's first token
    A(segment)        V(next segment) - V(segment); of the last segment: r - V(segment)
    trained           the cut points alone, each with the advantage of its segment
    L                 clipped surrogate, averaged over the trained tokens

Where the policy is sure, it decides nothing: neither a segment nor a gradient begins there. What is
before the first cut point has no value and no advantage. A response without a cut point is not
trained. The probabilities are the sampler's, at the temperature of sampling.

Everything else is VinePPO's (`vineppo.py`), whose segments are reasoning steps. SPO-tree is in
`segment_tree.py`.

Source: Guo et al. 2025, "Segment Policy Optimization", arXiv 2505.23564, and its released code
(AIFrameResearch/SPO, b9fc6a2): segments and advantages of tokens equal those of
`_create_value_estimation_requests` and `_compute_token_advantages`
(`benchmarks/methods/released.py`). Not as there: it whitens the advantages of an update.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.row import Row
from reason_env.agents.methods.vineppo import VinePPO, VinePPOConfig, token_advantages
from reason_env.agents.rollout import TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class SPOConfig(VinePPOConfig):
    """The numbers of SPO-chain."""

    kind: Annotated[Literal["spo"], tyro.conf.Suppress] = "spo"  # pyright: ignore[reportIncompatibleVariableOverride]
    cut_probability: float = 0.9
    """Sampled tokens of a lower probability are cut points (rho); above 0, at most 1."""
    cut_interval: int = 5
    """Cut points of a segment (m)."""
    probability_mask: bool = True
    """Train the cut points alone; False: all tokens of a segment."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        VinePPOConfig.__post_init__(self)
        check_cut_probability(self.cut_probability)
        if self.cut_interval < 1:
            raise ConfigError(f"cut_interval must be at least 1, got {self.cut_interval!r}")


def check_cut_probability(value: float) -> None:
    """Check the probability below which a token is a cut point.

    Raises:
        ConfigError: It is not in (0, 1].
    """
    if not 0 < value <= 1:
        raise ConfigError(f"cut_probability must be above 0 and at most 1, got {value!r}")


class SPO(VinePPO):
    """Credit for segments of several uncertain tokens, from continuations."""

    config: SPOConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    row = Row(
        starts="the problem; then before every fifth uncertain token, for its value",
        estimator="V(next segment) - V(segment), on uncertain tokens",
        paper='arXiv 2505.23564, "Segment Policy Optimization"',
        numbers={
            "group_size": 8,
            "value_samples": 9,
            "cut_probability": 0.9,
            "cut_interval": 5,
            "probability_mask": True,
            "loss.kl_coefficient": 1e-4,
        },
        run_numbers={
            "sampling.temperature": 0.6,
            "sampling.top_p": 0.9,
            "learner.epochs": 2,
            "learner.learning_rate": 1e-6,
        },
        result="GSM8K of RhoMath 1.1B: 6 to 12 points above PPO and GRPO.",
        differences=(
            "The loss has no KL term, as elsewhere here (`--loss.kl-coefficient`). The release "
            "whitens the advantages of an update; here they are differences of values as they are.",
            "Cut points follow from the sampler's probabilities; the release scores the responses "
            "once more with the trainer.",
        ),
    )

    def value_states(self, item: Trajectory) -> list[ReasonState]:
        """List the states before the first token of each segment."""
        cuts = uncertain(item, self.config.cut_probability)[:: self.config.cut_interval]
        return [item.final_state.cut_tokens(cut, "reset") for cut in cuts]

    def sample(self, item: Trajectory, values: Sequence[float]) -> TrainingSample | None:
        """Train the cut points, or all tokens of the segments; None if there is no cut point."""
        if not values:
            return None
        begins = [len(state.response) for state in self.value_states(item)]
        ends = [*begins, len(item.final_state.response)]
        gains = np.diff([*values, item.episode_return]).tolist()
        sample = training_sample(item, token_advantages(item, ends, [0.0, *gains]))
        if not self.config.probability_mask:
            return sample
        return only_uncertain(sample, item, self.config.cut_probability)


def uncertain(item: Trajectory, probability: float) -> list[int]:
    """Give the places in the response of the sampled tokens that had a lower probability."""
    return [
        place
        for place, value in enumerate(item.behavior_log_probs, start=item.prefix_length)
        if math.exp(value) < probability
    ]


def only_uncertain(
    sample: TrainingSample, item: Trajectory, probability: float
) -> TrainingSample | None:
    """Train only those tokens of an episode's sample that had a lower probability than this one.

    None if there is none.
    """
    kept = set(uncertain(item, probability))
    if not kept:
        return None
    mask = tuple(place in kept for place in range(len(sample.token_ids)))

    def masked(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(value if own else 0.0 for value, own in zip(values, mask, strict=True))

    return replace(
        sample,
        action_mask=mask,
        behavior_log_probs=masked(sample.behavior_log_probs),
        advantage=masked(sample.advantages),
    )
