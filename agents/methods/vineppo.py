"""VinePPO: each reasoning step's advantage, from values that continuations of its ends estimate.

    V(s) = mean return of K episodes that begin at s                    # for each end of a step
    A(step t) = V(s_{t+1}) - V(s_t);  of the last step: r - V(s_t)      # every token of the step
    L = clipped surrogate

The returns are those of the response as a whole: a reward within it would be missed. The value
episodes are counted and never trained. States that episodes of a group share are valued once, the
problem itself among them. After another method it adds its term alone: `grpo+vineppo`.

Source: Kazemnejad et al. 2024, "VinePPO", arXiv 2410.01679. As in the release (McGill-NLP/VinePPO,
f636a54, read, not run): new continuations also at the problem, each state once, the difference of
values, the outcome after the last step. Not as there: it whitens the advantages of an update.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from reason_env.agents.learning import LossConfig
from reason_env.agents.methods.pipeline import problem_episodes, role_of
from reason_env.agents.methods.protocol import AddingMethod, MethodConfig, problem_starts
from reason_env.agents.methods.row import Row
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

VALUE, STEPWISE = "value", "stepwise"
"""Roles of the value episodes and of the trained samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VinePPOConfig(MethodConfig):
    """VinePPO's numbers."""

    kind: Annotated[Literal["vineppo"], tyro.conf.Suppress] = "vineppo"
    group_size: int = 8
    """Episodes a problem (G)."""
    value_samples: int = 9
    """Episodes from each end of a step (K)."""
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        for name in ("group_size", "value_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")


class VinePPO(AddingMethod):
    """Credit for each step, from continuations."""

    config: VinePPOConfig
    row = Row(
        starts="the problem; then every end of a step, for its value",
        estimator="V(end) - V(begin) of each step",
        paper='arXiv 2410.01679, "VinePPO"',
        numbers={"group_size": 8, "value_samples": 9, "loss.kl_coefficient": 1e-4},
        run_numbers={"sampling.temperature": 0.6, "sampling.top_p": 0.9},
        differences=(
            "The loss has no KL term, as elsewhere here (`--loss.kl-coefficient`). The release "
            "whitens the advantages of an update; here they are differences of values as they are.",
        ),
    )
    roles = frozenset({VALUE, STEPWISE})

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the stepwise samples by the method's own loss."""
        return {STEPWISE: self.loss}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Start the value episodes of every end of a step that has none."""
        known = {group.key for group in groups}
        starts: dict[str, Start] = {}
        for item in problem_episodes(groups):
            for state in self.value_states(item):
                key = _value_key(item.start.group, state)
                if key not in known:
                    starts[key] = replace(
                        item.start,
                        state=state,
                        learn_from=state,
                        num_samples=self.config.value_samples,
                        group=key,
                        role=VALUE,
                    )
        return list(starts.values())

    def value_states(self, item: Trajectory) -> list[ReasonState]:
        """List the states of an episode that are valued."""
        return value_states(item)

    def sample(self, item: Trajectory, values: Sequence[float]) -> TrainingSample | None:
        """Make the sample of an episode from the values of its states; None for no sample."""
        return training_sample(item, step_advantages(item, values))

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode whose states were all valued."""
        values = {
            group.key: float(np.mean([item.episode_return for item in group.graded]))
            for group in groups
            if role_of(group) == VALUE and group.graded
        }
        samples: list[TrainingSample] = []
        for item in problem_episodes(groups):
            states = self.value_states(item)
            found = [values.get(_value_key(item.start.group, state)) for state in states]
            known = [value for value in found if value is not None]
            sample = self.sample(item, known) if len(known) == len(found) else None
            if sample is not None:
                samples.append(replace(sample, role=STEPWISE))
        return samples


def value_states(item: Trajectory) -> list[ReasonState]:
    """List the states at which an episode's steps begin, from its start on."""
    final = item.final_state
    begin = item.prefix_length
    cuts = [final.cut(step) for step in range(1, final.num_steps)]
    later = [state for state in cuts if begin < len(state.response) < len(final.response)]
    return [item.start.learn_from, *later]


def step_advantages(item: Trajectory, values: Sequence[float]) -> list[float]:
    """Give each sampled token the advantage of its step.

    Args:
        item: The episode.
        values: Of its `value_states`.
    """
    ends = [len(state.response) for state in value_states(item)[1:]]
    # The last step takes all that follows: what a delimiter or the end token closes.
    ends.append(len(item.final_state.response))
    return token_advantages(item, ends, np.diff([*values, item.episode_return]).tolist())


def token_advantages(
    item: Trajectory, ends: Sequence[int], advantages: Sequence[float]
) -> list[float]:
    """Give each sampled token the advantage of its segment.

    Args:
        item: The episode.
        ends: Number of response tokens up to the end of each segment, in order.
        advantages: Of each segment.
    """
    found: list[float] = []
    begin = item.prefix_length
    for end, advantage in zip(ends, advantages, strict=True):
        sources = item.final_state.sources[begin:end]
        found += [advantage] * sum(source == "policy" for source in sources)
        begin = end
    return found


def _value_key(group: str, state: ReasonState) -> str:
    # Whoever wrote the tokens: two episodes with one beginning share its value.
    ids = ",".join(map(str, state.response))
    return f"{group}/{VALUE}/{ids}"
