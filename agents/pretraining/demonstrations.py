"""Draw the base model's pretraining data: noisy demonstrations of the built-in families.

If a small model were only undertrained on arithmetic, reinforcement would teach it sums and hide
the effect of every method. Here the arithmetic is a look-up that the model learns well, and the
*choices* are wrong at known rates (`formats.ERROR_RATES`). The steps after an error build on it.

Besides plain problems, the data have the formats that the methods need: continue (or restate) a
partial solution, explain a given answer, avoid listed answers, locate the first wrong step, be
concise. Levels go up to `highest_level`. Some problems of the highest level have additional easy
steps (`padding`), so that the hard split exceeds the data in choices but not in length. Questions
of the validation, test and hard splits never occur.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reason_env.agents.pretraining.formats import FAMILIES, FORMATS, Checks, localise
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.problems.families import chain, inverse, precedence, unlock
from reason_env.problems.families.family import Trace, split_of
from reason_env.problems.families.registers import LABELS
from reason_env.state import PromptTemplate, ReasonState

PADDED: dict[str, Callable[[int, random.Random, int], tuple[str, Trace]]] = {
    "chain": chain.draw,
    "inverse": inverse.draw,
    "unlock": unlock.draw,
    "precedence": precedence.draw,
}
"""Families that can draw a problem with additional easy steps."""
PADDED_SHARE = 0.2
"""Fraction of these families' demonstrations that are padded problems of the highest level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """The mixture of demonstrations."""

    families: Mapping[str, float] = field(
        default_factory=lambda: {
            "chain": 0.20,
            "inverse": 0.18,
            "unlock": 0.20,
            "precedence": 0.18,
            "countdown": 0.12,
            "equation": 0.12,
        }
    )
    """Fraction of each family."""
    formats: Mapping[str, float] = field(
        default_factory=lambda: {
            "plain": 0.42,
            "partial_solution": 0.18,
            "answer": 0.12,
            "mistakes": 0.09,
            "localise": 0.16,
            "concise": 0.03,
        }
    )
    """Fraction of each format."""
    highest_level: Mapping[str, int] = field(
        default_factory=lambda: {
            "chain": 12,
            "inverse": 10,
            "unlock": 8,
            "precedence": 7,
            "countdown": 8,
            "equation": 8,
        }
    )
    """Highest level of each family in the data; the lowest is 1."""
    checks: Checks = "operations"
    """What a localisation writes about each step before its verdict. results: the correct result.
    operations: the operation with its correct result, then the result in the chain."""
    padding: Mapping[str, int] = field(
        default_factory=lambda: {"chain": 5, "inverse": 3, "unlock": 4, "precedence": 2}
    )
    """Maximum number of additional easy steps in a padded problem; other families have none."""
    plain_level: Mapping[str, int] = field(default_factory=dict[str, int])
    """Highest level of a family's plain demonstrations; its `highest_level` where left out. Above
    it, all demonstrations have guidance, and no attempt without it is shown."""

    def __post_init__(self) -> None:
        for name in ("families", "highest_level"):
            unknown = set(getattr(self, name)) - set(FAMILIES)
            if unknown:
                raise ConfigError(f"{name} must be among {sorted(FAMILIES)}, got {sorted(unknown)}")
        missing = set(self.families) - set(self.highest_level)
        if missing:
            raise ConfigError(f"highest_level must name every family, missing {sorted(missing)}")
        self._check_levels()
        self._check_padding()
        strange = set(self.formats) - set(FORMATS)
        if strange:
            raise ConfigError(f"formats must be among {sorted(FORMATS)}, got {sorted(strange)}")
        for shares in (self.families, self.formats):
            if min(shares.values(), default=0.0) < 0 or abs(sum(shares.values()) - 1.0) > 1e-9:
                raise ConfigError(f"shares must sum to 1, none below 0, got {dict(shares)!r}")

    def _check_levels(self) -> None:
        for name, level in self.highest_level.items():
            low, high = FAMILIES[name].LEVELS.every
            if not low <= level <= high:
                raise ConfigError(
                    f"highest_level of {name!r} must be within {low}..{high}, got {level!r}"
                )
        for name, level in self.plain_level.items():
            highest = self.highest_level.get(name, 0)
            if not 1 <= level <= highest:
                raise ConfigError(
                    f"plain_level of {name!r} must be within 1..{highest}, its highest_level, got "
                    f"{level!r}"
                )

    def _check_padding(self) -> None:
        for name, most in self.padding.items():
            if name not in PADDED:
                raise ConfigError(f"padding must be among {sorted(PADDED)}, got {name!r}")
            highest = self.highest_level.get(name, 1)
            room = len(LABELS) - (unlock.num_steps(highest) if name == "unlock" else highest)
            if not 1 <= most <= room:
                raise ConfigError(
                    f"padding of {name!r} must be within 1..{room}, got {most!r}; a problem has at "
                    f"most {len(LABELS)} steps; leave the family out for no padding"
                )


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One pretraining text; the loss covers the response's tokens, given the prompt."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


def demonstrate(
    config: DemonstrationConfig,
    *,
    codec: ByteCodec,
    prompt: PromptTemplate,
    rng: random.Random,
    progress: float = 1.0,
) -> Demonstration:
    """Draw one random demonstration.

    Args:
        config: Families, formats, levels.
        codec: The model's codec.
        prompt: The template that renders a state.
        rng: Generator of all draws.
        progress: 0..1, the fraction of each family's levels in use; levels 1 and 2 always are.
    """
    family = _choose(config.families, rng)
    form = _choose(config.formats, rng)
    highest = config.highest_level[family]
    if form == "plain":
        highest = config.plain_level.get(family, highest)
    most = config.padding.get(family, 0)
    if most and progress >= 1.0 and rng.random() < PADDED_SHARE:
        problem = _draw_padded_problem(family, highest, most, rng)
    else:
        problem = _draw_problem(
            family, rng.randint(1, min(highest, round(2 + progress * (highest - 2)))), rng
        )
    state = ReasonState(problem=problem, codec=codec)
    if form == "localise":
        guidance, response = localise(family, problem, rng, config.checks)
    else:
        guidance, response = FORMATS[form](family, problem, rng)
    state = state.with_guidance(*guidance)
    return Demonstration(prompt.token_ids(state), (*codec.encode(response), codec.eos_id))


def _choose(shares: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _draw_problem(family: str, level: int, rng: random.Random) -> Problem:
    return _first_of_training(family, level, lambda: FAMILIES[family].draw(level, rng))


def _draw_padded_problem(family: str, level: int, most: int, rng: random.Random) -> Problem:
    draw = PADDED[family]
    return _first_of_training(family, level, lambda: draw(level, rng, rng.randint(1, most)))


def _first_of_training(family: str, level: int, draw: Callable[[], tuple[str, Trace]]) -> Problem:
    while True:
        question, trace = draw()
        if split_of(question) == "train":
            return Problem(
                problem_id=f"{family}/pretrain/0",
                question=question,
                answer=trace.answer,
                solution=trace.steps,
                level=level,
            )
