"""What the base model is pretrained on: noisy demonstrations of the built-in families.

A small model that is merely undertrained on arithmetic hides every method's effect, because
reinforcement then teaches sums. Here the arithmetic is a look-up that the model learns well, and
the *choices* are bad at known rates: `ERROR_RATES`. What follows an error builds on it.

Besides plain problems the model sees the formats that the methods need: continue (or restate) a
partial solution, explain a given answer, avoid listed answers, name the first wrong step, be
concise. All of it is on levels up to `highest_level`, and questions of the validation, test and
hard splits never occur.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.guidance import localisation_guidance
from reason_env.problem import Problem
from reason_env.problems import chain, countdown, equation, inverse, precedence, unlock
from reason_env.problems.generated import COMMENT, Family, Trace, split_of
from reason_env.prompt import PromptTemplate
from reason_env.state import Guidance, ReasonState

Format = Literal["plain", "partial_solution", "answer", "mistakes", "localise", "concise"]

FAMILIES: dict[str, Family] = {
    "chain": cast("Family", chain),
    "inverse": cast("Family", inverse),
    "unlock": cast("Family", unlock),
    "precedence": cast("Family", precedence),
    "countdown": cast("Family", countdown),
    "equation": cast("Family", equation),
}
PLUS_MINUS = {"+": 0.01, "-": 0.01}
ERROR_RATES: dict[str, dict[str, float]] = {
    "chain": {"*": 0.15, "slip *": 0.35, **PLUS_MINUS},
    "inverse": {"/": 0.15, "slip /": 0.60, **PLUS_MINUS},
    "unlock": {"^": 0.10, "slip ^": 0.70, **PLUS_MINUS},
    "precedence": {"first": 0.7, "last": 0.2, "sums": 0.1, "digit": 0.005},
    "countdown": {"insight": 0.02, "give up": 0.45, "sum": 0.01},
    "equation": {"sign": 0.55, "sum": 0.01},
}
"""How wrong a plain demonstration is, by family; a family's `demonstration` explains its keys."""
SECOND_TRY = {
    "precedence": {
        **ERROR_RATES["precedence"],
        "right": 0.25,
        "first": 0.25,
        "last": 0.25,
        "sums": 0.25,
    }
}
"""The same for a demonstration that avoids listed answers, where it differs."""
CHECK_RATES: dict[str, dict[str, float]] = {
    "chain": {"*": 0.15, "slip *": 0.15, "+": 0.06, "-": 0.06},
    "inverse": {"/": 0.15, "slip /": 0.15, "+": 0.06, "-": 0.06},
    "unlock": {"^": 0.15, "slip ^": 0.15, "+": 0.06, "-": 0.06},
    "precedence": {"right": 0.4, "first": 0.5, "last": 0.3, "sums": 0.2, "digit": 0.08},
    "countdown": {"give up": 0.35, "sum": 0.15},
    "equation": {"sign": 0.2, "sum": 0.1},
}
"""How wrong a chain is that is shown for its first wrong step to be named."""
RESTATE_SHARE = 0.6
"""Of the demonstrations with a partial solution: how many write it out again before going on."""
ASIDE_SHARE = 0.12
"""Of plain demonstrations: how many ramble, with asides between their steps."""
CONCISE = "Be concise."
DO_NOT_RESTATE = "Do not restate."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """Which demonstrations, how often."""

    families: Mapping[str, float] = field(
        default_factory=lambda: {
            "chain": 0.20,
            "inverse": 0.16,
            "unlock": 0.18,
            "precedence": 0.16,
            "countdown": 0.16,
            "equation": 0.14,
        }
    )
    """Share of each family."""
    formats: Mapping[str, float] = field(
        default_factory=lambda: {
            "plain": 0.48,
            "partial_solution": 0.13,
            "answer": 0.12,
            "mistakes": 0.10,
            "localise": 0.14,
            "concise": 0.03,
        }
    )
    """Share of each format."""
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
    """Highest level of each family that is shown; the lowest is 1."""

    def __post_init__(self) -> None:
        for name in ("families", "highest_level"):
            unknown = set(getattr(self, name)) - set(FAMILIES)
            if unknown:
                raise ConfigError(f"{name} must be among {sorted(FAMILIES)}, got {sorted(unknown)}")
        missing = set(self.families) - set(self.highest_level)
        if missing:
            raise ConfigError(f"highest_level must name every family, missing {sorted(missing)}")
        for name, level in self.highest_level.items():
            low, high = FAMILIES[name].LEVELS.every
            if not low <= level <= high:
                raise ConfigError(
                    f"highest_level of {name!r} must be within {low}..{high}, got {level!r}"
                )
        strange = set(self.formats) - set(FORMATS)
        if strange:
            raise ConfigError(f"formats must be among {sorted(FORMATS)}, got {sorted(strange)}")
        for shares in (self.families, self.formats):
            if min(shares.values(), default=0.0) < 0 or abs(sum(shares.values()) - 1.0) > 1e-9:
                raise ConfigError(f"shares must sum to 1, none below 0, got {dict(shares)!r}")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One pretraining text: the model learns the response's tokens, given the prompt's."""

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
    """Returns one random demonstration.

    Args:
        config: Families, formats, levels.
        codec: Of the model.
        prompt: How a state is written out.
        rng: Draws everything.
        progress: 0..1, the part of each family's levels that is open; level 2 always is.
    """
    family = _choose(config.families, rng)
    form = _choose(config.formats, rng)
    highest = config.highest_level[family]
    problem = _draw_problem(
        family, rng.randint(1, min(highest, round(2 + progress * (highest - 2)))), rng
    )
    state = ReasonState(problem=problem, codec=codec)
    guidance, response = FORMATS[form](family, problem, rng)
    state = state.with_guidance(*guidance)
    return Demonstration(prompt.token_ids(state), (*codec.encode(response), codec.eos_id))


def _choose(shares: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _draw_problem(family: str, level: int, rng: random.Random) -> Problem:
    while True:
        question, trace = FAMILIES[family].draw(level, rng)
        if split_of(question) == "train":
            return Problem(
                problem_id=f"{family}/pretrain/0",
                question=question,
                answer=trace.answer,
                solution=trace.steps,
                level=level,
            )


def _noisy(family: str, problem: Problem, rng: random.Random) -> Trace:
    return FAMILIES[family].demonstration(problem, rng, ERROR_RATES[family])


def _written(steps: tuple[str, ...], answer: str) -> str:
    return "\n".join([*steps, f"#### {answer}"])


Pair = tuple[tuple[Guidance, ...], str]


def _plain(family: str, problem: Problem, rng: random.Random) -> Pair:
    """An attempt; some ramble: an aside may stand before any of their steps."""
    trace = _noisy(family, problem, rng)
    if rng.random() >= ASIDE_SHARE:
        return (), _written(trace.steps, trace.answer)
    steps: list[str] = []
    for step in trace.steps:
        if rng.random() < 0.6:
            steps.append(_aside(rng))
        steps.append(step)
    return (), _written(tuple(steps), trace.answer)


def _aside(rng: random.Random) -> str:
    return COMMENT + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))


def _concise(family: str, problem: Problem, rng: random.Random) -> Pair:
    trace = _noisy(family, problem, rng)
    return (Guidance("instruction", (CONCISE,)),), _written(trace.steps, trace.answer)


def _partial_solution(family: str, problem: Problem, rng: random.Random) -> Pair:
    """The first steps are the reference's, written out again or not; the rest is noisy."""
    shown = rng.randint(1, len(problem.solution))
    rest, answer = _continued(family, problem, shown, rng)
    piece = Guidance("partial_solution", tuple(f"{step}\n" for step in problem.solution[:shown]))
    if rng.random() < RESTATE_SHARE:
        return (piece,), _written((*problem.solution[:shown], *rest), answer)
    if rng.random() < 0.5:
        return (piece,), _written(rest, answer)
    return (piece, Guidance("instruction", (DO_NOT_RESTATE,))), _written(rest, answer)


def _continued(
    family: str, problem: Problem, shown: int, rng: random.Random
) -> tuple[tuple[str, ...], str]:
    """Returns the steps after the first `shown` of a noisy trace that has those right.

    Where a thousand traces have not, as when a search must begin with one attempt of many, the rest
    is the reference's.
    """
    for _ in range(1000):
        trace = _noisy(family, problem, rng)
        if trace.steps[:shown] == problem.solution[:shown]:
            return trace.steps[shown:], trace.answer
    return problem.solution[shown:], problem.answer


def _answer(family: str, problem: Problem, rng: random.Random) -> Pair:
    return (Guidance("answer", (problem.answer,)),), _written(problem.solution, problem.answer)


def _mistakes(family: str, problem: Problem, rng: random.Random) -> Pair:
    """Wrong answers of noisy demonstrations, if any; the response ends in none of them."""
    drawn = [_noisy(family, problem, rng).answer for _ in range(rng.randint(1, 8))]
    is_right = FAMILIES[family].is_right
    wrong = tuple(dict.fromkeys(text for text in drawn if not is_right(problem, text)))
    rates = SECOND_TRY.get(family, ERROR_RATES[family])
    pieces = [Guidance("mistakes", wrong)] if wrong else []
    if rng.random() < 0.2:
        pieces.append(Guidance("instruction", (CONCISE,)))
    while True:
        trace = FAMILIES[family].demonstration(problem, rng, rates)
        if trace.answer not in wrong:
            return tuple(pieces), _written(trace.steps, trace.answer)


def _localise(family: str, problem: Problem, rng: random.Random) -> Pair:
    r"""A wrong chain; the response goes through its steps and boxes the first wrong one."""
    while True:
        trace = FAMILIES[family].demonstration(problem, rng, CHECK_RATES[family])
        steps = (*trace.steps, f"#### {trace.answer}")
        wrong = FAMILIES[family].first_wrong_step(problem, steps)
        if wrong is not None:
            passed = "".join(f"{index}+ " for index in range(1, wrong))
            pieces = [localisation_guidance(steps)]
            if rng.random() < 0.1:
                pieces.insert(0, Guidance("answer", (problem.answer,)))
            return tuple(pieces), f"{passed}{wrong}- \\boxed{{{wrong}}}"


FORMATS: dict[str, Callable[[str, Problem, random.Random], Pair]] = {
    "plain": _plain,
    "partial_solution": _partial_solution,
    "answer": _answer,
    "mistakes": _mistakes,
    "localise": _localise,
    "concise": _concise,
}
