"""What the base model is pretrained on: noisy demonstrations of the built-in families.

A small model that is merely undertrained on arithmetic hides every method's effect, because
reinforcement then teaches sums. Here the arithmetic is a look-up that the model learns well, and
the *choices* are bad at known rates: each multiplication (chain) or division (inverse) in a
demonstration is wrong with the probability in `ERROR_RATES`, and what follows builds on it.

Besides plain problems the model sees the formats that the methods need, on easier levels: continue
a partial solution, explain a given answer, avoid listed answers, name the first wrong step.
Questions of the validation and test splits never occur.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.guidance import localisation_guidance
from reason_env.problem import Problem
from reason_env.problems import chain, inverse
from reason_env.problems.registers import Trace, first_wrong_step, split_of
from reason_env.prompt import PromptTemplate
from reason_env.state import Guidance, ReasonState

Format = Literal["plain", "partial_solution", "answer", "mistakes", "localise"]

ERROR_RATES: dict[str, dict[str, float]] = {
    "chain": {"*": 0.4, "+": 0.01, "-": 0.01},
    "inverse": {"/": 0.4, "+": 0.01, "-": 0.01},
}
"""Probability that a step of a plain demonstration is wrong, by family and symbol."""
FAMILIES = {"chain": chain, "inverse": inverse}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """Which demonstrations, how often."""

    families: Mapping[str, float] = field(default_factory=lambda: {"chain": 0.6, "inverse": 0.4})
    """Share of each family."""
    formats: Mapping[str, float] = field(
        default_factory=lambda: {
            "plain": 0.60,
            "partial_solution": 0.12,
            "answer": 0.10,
            "mistakes": 0.10,
            "localise": 0.08,
        }
    )
    """Share of each format."""
    plain_levels: tuple[int, int] = (1, 12)
    """Lowest and highest number of operations of plain demonstrations."""
    guided_levels: tuple[int, int] = (1, 8)
    """The same for every other format."""

    def __post_init__(self) -> None:
        unknown = set(self.families) - set(FAMILIES)
        if unknown:
            raise ConfigError(f"families must be among {sorted(FAMILIES)}, got {sorted(unknown)}")
        for shares in (self.families, self.formats):
            if abs(sum(shares.values()) - 1.0) > 1e-9:
                raise ConfigError(f"shares must sum to 1, got {dict(shares)!r}")


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
    max_level: int,
) -> Demonstration:
    """Returns one random demonstration of at most `max_level` operations."""
    family = _choose(config.families, rng)
    form = _choose(config.formats, rng)
    low, high = config.plain_levels if form == "plain" else config.guided_levels
    problem = _draw_problem(family, rng.randint(low, max(low, min(high, max_level))), rng)
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


def _written(trace: Trace, begin: int = 0) -> str:
    return "\n".join([*trace.steps[begin:], f"#### {trace.answer}"])


Pair = tuple[tuple[Guidance, ...], str]


def _plain(family: str, problem: Problem, rng: random.Random) -> Pair:
    return (), _written(_noisy(family, problem, rng))


def _partial_solution(family: str, problem: Problem, rng: random.Random) -> Pair:
    """The first steps are the reference's; the rest is as noisy as ever."""
    shown = rng.randint(1, len(problem.solution))
    while True:
        trace = _noisy(family, problem, rng)
        if trace.steps[:shown] == problem.solution[:shown]:
            pieces = tuple(f"{step}\n" for step in problem.solution[:shown])
            return (Guidance("partial_solution", pieces),), _written(trace, shown)


def _answer(family: str, problem: Problem, rng: random.Random) -> Pair:
    reference = Trace(problem.solution, problem.answer)
    return (Guidance("answer", (problem.answer,)),), _written(reference)


def _mistakes(family: str, problem: Problem, rng: random.Random) -> Pair:
    """Wrong answers of noisy demonstrations; the response ends in none of them."""
    drawn = {_noisy(family, problem, rng).answer for _ in range(rng.randint(1, 4))}
    wrong = tuple(sorted(drawn - {problem.answer}))
    if not wrong:
        return _plain(family, problem, rng)
    while True:
        trace = _noisy(family, problem, rng)
        if trace.answer not in wrong:
            return (Guidance("mistakes", wrong),), _written(trace)


def _localise(family: str, problem: Problem, rng: random.Random) -> Pair:
    """A wrong chain, made wrong where it happens to be right; the response boxes the index."""
    rates = dict.fromkeys(ERROR_RATES[family], 0.3)
    while True:
        trace = FAMILIES[family].demonstration(problem, rng, rates)
        steps = (*trace.steps, f"#### {trace.answer}")
        wrong = first_wrong_step(problem, steps)
        if wrong is not None:
            return (localisation_guidance(steps),), f"\\boxed{{{wrong}}}"


FORMATS: dict[str, Callable[[str, Problem, random.Random], Pair]] = {
    "plain": _plain,
    "partial_solution": _partial_solution,
    "answer": _answer,
    "mistakes": _mistakes,
    "localise": _localise,
}
