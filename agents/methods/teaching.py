"""What methods with a teacher share: the loss, the sample, and how a whole solution is shown.

The teacher scores an episode's tokens under a prompt that shows more; the policy is trained under
the prompt without it. Scoring generates nothing, so it costs no tokens of a budget;
`update/teacher_tokens` counts what teachers read.
"""

from dataclasses import replace

from reason_env.agents.learning import DistillationConfig, LossConfig
from reason_env.agents.rollout import TrainingSample, Trajectory, training_sample
from reason_env.errors import ConfigError, shown
from reason_env.state import Guidance

TAUGHT = "taught"
"""Role of the samples that a teacher scores."""


def distillation_loss(
    config: DistillationConfig, temperature: float | None, *, importance_weight_cap: float | None
) -> LossConfig:
    """Return the divergence from the teacher, averaged over its own rows: an added term."""
    return LossConfig(
        surrogate="distill",
        distillation=config,
        temperature=temperature,
        importance_weight_cap=importance_weight_cap,
        separate_normaliser=True,
    )


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


def taught_sample(
    item: Trajectory, teacher_context_ids: tuple[int, ...], weight: float
) -> TrainingSample:
    """Make the sample of an episode that a teacher scores under another prompt."""
    return replace(
        training_sample(item, weight),
        role=TAUGHT,
        group=f"{item.start.group}/{TAUGHT}",
        teacher_context_ids=teacher_context_ids,
    )
