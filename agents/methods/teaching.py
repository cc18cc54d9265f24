"""What methods with a teacher share: config, loss and samples, and how a whole solution is shown.

The teacher scores an episode's tokens under a prompt that shows more; the policy is trained under
the prompt without it. Scoring generates nothing, so it costs no tokens of a budget;
`update/teacher_tokens` counts what teachers read.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reason_env.agents.learning import DistillationConfig, LossConfig
from reason_env.agents.methods.pipeline import problem_episodes
from reason_env.agents.methods.protocol import AddingMethod, MethodConfig, problem_starts
from reason_env.agents.methods.reference import check_temperature
from reason_env.agents.rollout import Group, Start, TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError, shown
from reason_env.state import Guidance, ReasonState

TAUGHT = "taught"
"""Role of the samples that a teacher scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfDistillationConfig(MethodConfig):
    """The numbers of a method with a teacher; a subclass adds `group_size`, and its defaults."""

    weight: float = 1.0
    """Weight of the divergence, in reward units per nat; matters next to another method's loss."""
    wording: str = ""
    """Words that show the teacher a solution, with {solution}; empty: the template's for a partial
    one."""
    likelihood_temperature: float | None = None
    """Temperature of both distributions; None: that of sampling."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ConfigError(f"weight must be above 0 and finite, got {self.weight!r}")
        check_temperature(self.likelihood_temperature)
        check_wording(self.wording)


class SelfDistillation(AddingMethod):
    """Distils the policy with more in view into the policy without it; compares no episodes.

    A subclass says what the teacher of an episode sees (`seen`).
    """

    config: SelfDistillationConfig
    roles = frozenset({TAUGHT})
    has_follow_up = False

    @property
    def loss(self) -> LossConfig:
        """The divergence from the teacher, averaged over its own rows: an added term."""
        return LossConfig(
            surrogate="distill",
            distillation=self.config.distillation,
            temperature=self.config.likelihood_temperature,
            separate_normaliser=True,
        )

    def losses_with(self, loss: LossConfig) -> Mapping[str, LossConfig]:
        """Train the taught samples by their divergence, averaged over them alone."""
        return {TAUGHT: self.loss}

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem."""
        return problem_starts(states, self.planned_responses)

    def seen(self, item: Trajectory, episodes: Sequence[Trajectory]) -> ReasonState | None:
        """Return the state whose prompt the teacher of an episode sees; None: it has no teacher.

        Args:
            item: The episode.
            episodes: The graded ones of its group, itself among them.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what the teacher sees")

    def taught(self, groups: Sequence[Group]) -> list[tuple[Trajectory, ReasonState | None]]:
        """Pair each graded episode that begins at a problem with what its teacher sees."""
        found: list[tuple[Trajectory, ReasonState | None]] = []
        for group in groups:
            episodes = problem_episodes([group])
            found += [(item, self.seen(item, episodes)) for item in episodes]
        return found

    def added(self, groups: Sequence[Group]) -> list[TrainingSample]:
        """Make a sample of each episode that has a teacher."""
        return [
            replace(
                training_sample(item, self.config.weight),
                role=TAUGHT,
                group=f"{item.start.group}/{TAUGHT}",
                teacher_context_ids=self.prompt_ids(state),
            )
            for item, state in self.taught(groups)
            if state is not None
        ]


def check_wording(wording: str) -> None:
    """Check the words that show a solution.

    Raises:
        ConfigError: They leave the solution out.
    """
    if wording and "{solution}" not in wording:
        raise ConfigError(
            f"wording must hold {{solution}}, got {shown(wording)}; write where it goes, or leave "
            "it empty for the template's words"
        )


def solution_shown(text: str, wording: str) -> Guidance:
    r"""Make the guidance that shows a whole solution.

    Without own words it is a partial solution that happens to be whole: every template has words
    for that kind.

    >>> solution_shown("2*3=6\n#### 24\n", "").kind
    'partial_solution'
    >>> solution_shown("2*3=6\n", "A solution:\n{solution}Solve it yourself.").pieces
    ('A solution:\n2*3=6\nSolve it yourself.',)
    """
    if not wording:
        return Guidance("partial_solution", (text,))
    return Guidance("instruction", (wording.replace("{solution}", text),))
