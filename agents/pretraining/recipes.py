"""Recipes: pretraining configs by name, one for each small model that the project makes.

The recipe `base` makes the shipped model of six families in about an hour. The others continue
from it, and make a model of one family in minutes, for experiments with the one thing that the
family isolates.
"""

from collections.abc import Callable, Mapping

from reason_env.agents.pretraining.demonstrations import DemonstrationConfig
from reason_env.agents.pretraining.pretrain import PretrainConfig
from reason_env.errors import UnknownNameError, did_you_mean


def late() -> PretrainConfig:
    """Attempts at `late`; the shipped model learns its notation, its letters and its one error."""
    return _one_family(
        DemonstrationConfig(
            families={"late": 1.0},
            highest_level={"late": 8},
            formats={"plain": 1.0},
            padding={},
        )
    )


def sealed() -> PretrainConfig:
    """Attempts at `sealed` up to level 3, and continued partial solutions up to level 4.

    Level 4 is the one to experiment with. Without guidance it is new to the model, but only its
    number of powers is.
    """
    return _one_family(
        DemonstrationConfig(
            families={"sealed": 1.0},
            highest_level={"sealed": 4},
            plain_level={"sealed": 3},
            formats={"plain": 0.5, "partial_solution": 0.5},
            padding={},
        )
    )


def _one_family(demonstrations: DemonstrationConfig) -> PretrainConfig:
    return PretrainConfig(
        init="base",
        num_batches=800,
        batch_size=16,
        learning_rate=2e-3,
        warmup_batches=40,
        curriculum_fraction=0.2,
        demonstrations=demonstrations,
    )


RECIPES: Mapping[str, Callable[[], PretrainConfig]] = {
    "base": PretrainConfig,
    "late": late,
    "sealed": sealed,
}


def recipe(name: str) -> PretrainConfig:
    """Return the config of a recipe.

    >>> recipe("late").demonstrations.families
    {'late': 1.0}

    Raises:
        UnknownNameError: There is no such recipe; the message suggests the nearest name.
    """
    if name not in RECIPES:
        raise UnknownNameError(f"no recipe {name!r}{did_you_mean(name, RECIPES)}")
    return RECIPES[name]()
