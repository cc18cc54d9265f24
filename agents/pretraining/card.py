"""Measure the base model and write its card: training data and pass rates.

Per family and level: pass@1 and pass@64 of plain problems. On the levels of the training data and
on the hard split: pass@1 with each kind of guidance, and how often the model locates the first
wrong step of its own failed chains, compared with a random step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy, ModelCard
from reason_env.agents.pretraining.formats import CONCISE, ERROR_RATES, FAMILIES
from reason_env.agents.pretraining.pretrain import PretrainConfig
from reason_env.agents.rollout import RolloutBatch, Start, collect, initial_states
from reason_env.agents.statistics import pass_at_k
from reason_env.env import EnvConfig
from reason_env.problem import ProblemSet
from reason_env.problems import reference_response
from reason_env.state import (
    Guidance,
    PromptTemplate,
    ReasonState,
    answer_guidance,
    localisation_guidance,
    mistakes_guidance,
)
from reason_env.verify import extract_answer

Guide = Callable[[ReasonState], Guidance | None]
LICENCE = "apache-2.0"
"""Of this package, whose generated problems are all that the model has seen."""
SAMPLES = 64
GUIDED_SAMPLES = 8
LOCALISER_TOKENS = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Samples episodes of a policy on one set of problems."""

    policy: LanguageModelPolicy
    family: str
    split: str
    levels: tuple[int, int]
    num_problems: int

    def sample(self, samples: int, guide: Guide | None = None) -> tuple[RolloutBatch, ProblemSet]:
        """Sample episodes of each problem, with guidance if given; return them and the problems."""
        problems = FAMILIES[self.family].make(
            self.split, size=self.num_problems, levels=self.levels
        )
        env = EnvConfig(
            problems=self.family,
            split=self.split,
            size=self.num_problems,
            levels=self.levels,
            max_tokens=max(EnvConfig().max_tokens, _longest(problems) * 5 // 4),
        ).make(self.policy.codec)
        starts: list[Start] = []
        for state in initial_states(env, [problem.problem_id for problem in problems], seed=0):
            piece = None if guide is None else guide(state)
            starts.append(
                Start(
                    state=state if piece is None else state.with_guidance(piece),
                    num_samples=samples,
                    learn_from=state,
                    group=state.problem.problem_id,
                    role="eval",
                )
            )
        batch = collect(starts, env=env, policy=self.policy, sampling=SamplingConfig(), seed=1)
        return batch, problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """pass@1 on one set of problems, without guidance and with each kind of it."""

    plain: float
    partial_solution: float
    answer: float
    mistakes: float
    concise: float
    localisation: float
    """Fraction of the model's failed chains in which it locates the first wrong step."""
    chance: float
    """The same for a random step."""


def level_figures(
    policy: LanguageModelPolicy, family: str, num_problems: int
) -> list[tuple[int, float, float]]:
    """Measure (level, pass@1, pass@64) on test problems, up to the hard split's highest level."""
    figures: list[tuple[int, float, float]] = []
    for level in range(1, FAMILIES[family].LEVELS.hard[1] + 1):
        levels = (level, level)
        sampler = Sampler(
            policy=policy, family=family, split="test", levels=levels, num_problems=num_problems
        )
        batch, _ = sampler.sample(SAMPLES)
        correct = [sum(item.is_success for item in group.graded) for group in batch.groups]
        counts = [len(group.graded) for group in batch.groups]
        figures.append(
            (level, pass_at_k(correct, counts, k=1), pass_at_k(correct, counts, k=SAMPLES))
        )
    return figures


def guided_figures(sampler: Sampler) -> Guided:
    """Measure pass@1 with each kind of guidance, and the accuracy of localisation."""
    plain, problems = sampler.sample(GUIDED_SAMPLES)
    wrong = {
        group.key: [
            verdict.extracted
            for item in group.graded
            if not item.is_success
            and (verdict := item.final_state.verdict) is not None
            and verdict.extracted
        ]
        for group in plain.groups
    }

    def half(state: ReasonState) -> Guidance:
        steps = state.problem.solution[: max(1, len(state.problem.solution) // 2)]
        return Guidance("partial_solution", tuple(f"{step}\n" for step in steps))

    guides: dict[str, Guide] = {
        "partial_solution": half,
        "answer": lambda state: answer_guidance(state.problem),
        "mistakes": lambda state: mistakes_guidance(wrong[state.problem.problem_id]),
        "concise": lambda state: Guidance("instruction", (CONCISE,)),
    }
    rates = {
        name: _pass_rate(sampler.sample(GUIDED_SAMPLES, guide)[0]) for name, guide in guides.items()
    }
    localisation, chance = _localisation(sampler.policy, plain, problems)
    return Guided(plain=_pass_rate(plain), localisation=localisation, chance=chance, **rates)


def write_card(
    policy: LanguageModelPolicy,
    config: PretrainConfig,
    directory: Path,
    command: str,
    num_problems: int,
) -> None:
    """Measure the policy and write `README.md` to the directory of its weights."""
    size = sum(parameter.numel() for parameter in policy.model.parameters())
    shown = config.demonstrations.highest_level
    lines = [
        f"A Qwen3-architecture model of {size:,} parameters over 258 ids (UTF-8 bytes, pad, end), "
        + (
            "trained from scratch on"
            if config.init is None
            else f"continued from `{config.init}` on"
        ),
        "demonstrations of the built-in families (`agents/pretraining/demonstrations.py`). It is "
        "for experiments with these families only.",
        "",
        f"Trained by: `{command}` ({config.num_batches:,} batches of {config.batch_size}).",
        "",
        "Demonstrations contain errors at these rates (each family's `demonstration` explains its "
        "keys):",
        "",
        *(
            f"* {family}: " + ", ".join(f"{symbol} {rate:g}" for symbol, rate in rates.items())
            for family, rates in ERROR_RATES.items()
            if family in config.demonstrations.families
        ),
        "",
        "Formats, with their fraction of the demonstrations: "
        + ", ".join(f"{name} {share:g}" for name, share in config.demonstrations.formats.items())
        + ". Highest levels: "
        + ", ".join(f"{family} {level}" for family, level in shown.items())
        + ". Questions of the validation, test and hard splits never occur.",
        "",
        *_level_tables(policy, config, num_problems),
        *_guided_table(policy, config, 4 * num_problems),
    ]
    families = ", ".join(config.demonstrations.families)
    title = "The base model" if config.init is None else f"A model of {families}"
    ModelCard(title=title, text="\n".join(lines), licence=LICENCE).write(directory)


def _level_tables(
    policy: LanguageModelPolicy, config: PretrainConfig, num_problems: int
) -> list[str]:
    families = config.demonstrations.families
    figures = {family: level_figures(policy, family, num_problems) for family in families}
    highest = max(len(rows) for rows in figures.values())
    lines = [
        f"## Test problems by level: {num_problems} per level, {SAMPLES} samples per problem, "
        "temperature 1",
        "",
    ]
    for place, name in ((1, "pass@1"), (2, f"pass@{SAMPLES}")):
        lines += [
            _row([name, *map(str, range(1, highest + 1))]),
            _row(["---"] * (highest + 1)),
            *(
                _row([family, *(f"{row[place]:.3f}" for row in rows)])
                for family, rows in figures.items()
            ),
            "",
        ]
    return lines


def _guided_table(
    policy: LanguageModelPolicy, config: PretrainConfig, num_problems: int
) -> list[str]:
    titles = (
        "family", "levels", "none", "half the solution", "the answer", "own wrong answers",
        "be concise", "first wrong step located", "by chance",
    )  # fmt: skip
    lines = [
        f"## Guidance: pass@1, {num_problems} problems, {GUIDED_SAMPLES} samples each",
        "",
        "First the upper levels of the training data, from the test split; then the hard split.",
        "",
        _row(titles),
        _row(["---"] * len(titles)),
    ]
    for family in config.demonstrations.families:
        top = config.demonstrations.highest_level[family]
        hard = FAMILIES[family].LEVELS.hard
        for split, levels in (("test", (top // 2, top)), ("hard", hard)):
            found = guided_figures(
                Sampler(
                    policy=policy,
                    family=family,
                    split=split,
                    levels=levels,
                    num_problems=num_problems,
                )
            )
            figures = (
                found.plain, found.partial_solution, found.answer, found.mistakes, found.concise,
                found.localisation, found.chance,
            )  # fmt: skip
            lines.append(
                _row([family, f"{levels[0]}-{levels[1]}", *(f"{value:.3f}" for value in figures)])
            )
    return lines


def _longest(problems: ProblemSet) -> int:
    """Return the bytes of the longest reference response; the model's tokens are bytes."""
    return max(len(reference_response(problem)) for problem in problems)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pass_rate(batch: RolloutBatch) -> float:
    return float(np.mean([item.is_success for item in batch.trajectories if item.is_graded]))


def _localisation(
    policy: LanguageModelPolicy, plain: RolloutBatch, problems: ProblemSet
) -> tuple[float, float]:
    """Measure how often the model boxes the first wrong step of its own chains, and chance."""
    assert problems.checker is not None, "built-in families have a step checker"
    contexts: list[Context] = []
    expected: list[int] = []
    chances: list[float] = []
    template = PromptTemplate()
    for item in plain.trajectories:
        steps = item.final_state.steps
        wrong = problems.checker(item.start.state.problem, steps)
        if item.is_success or wrong is None:
            continue
        state = item.start.state.with_guidance(localisation_guidance(steps))
        contexts.append(
            Context(
                token_ids=template.token_ids(state), num_samples=1, max_new_tokens=LOCALISER_TOKENS
            )
        )
        expected.append(wrong)
        chances.append(1 / len(steps))
    if not contexts:
        return float("nan"), float("nan")
    replies = policy.sample(contexts, SamplingConfig(temperature=0.3), seed=2)
    hits = [
        extract_answer(policy.codec.decode(reply.token_ids)) == str(index)
        for (reply,), index in zip(replies, expected, strict=True)
    ]
    return float(np.mean(hits)), float(np.mean(chances))
