"""The base model's card: what it was trained on, and what it can do, measured.

Per family and level: pass@1 and pass@64 of plain problems. At the guided levels: what each kind of
guidance changes, and how often the model names the first wrong step of its own failed chains.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from reason_env.agents.demonstrations import ERROR_RATES, FAMILIES
from reason_env.agents.env_config import EnvConfig
from reason_env.agents.policy import Context, LanguageModelPolicy, SamplingConfig
from reason_env.agents.pretrain import PretrainConfig
from reason_env.agents.rollout import Wave, collect, initial_states, reason_env_of
from reason_env.agents.statistics import pass_at_k
from reason_env.agents.trajectory import Start
from reason_env.guidance import localisation_guidance
from reason_env.problem import ProblemSet
from reason_env.prompt import PromptTemplate
from reason_env.state import Guidance, ReasonState
from reason_env.verify import extract_answer

Guide = Callable[[ReasonState], Guidance | None]
SAMPLES = 64
MAX_LEVEL = {"chain": 12, "inverse": 12}
GUIDED_LEVELS = (4, 8)


@dataclass(frozen=True, slots=True)
class Guided:
    """pass@1 on one set of problems, without and with each kind of guidance."""

    plain: float
    partial_solution: float
    answer: float
    mistakes: float
    localisation: float
    """Share of own failed chains whose first wrong step the model names."""


def level_figures(
    policy: LanguageModelPolicy, family: str, num_problems: int
) -> list[tuple[int, float, float]]:
    """Returns (level, pass@1, pass@64) of the test problems of each level."""
    figures: list[tuple[int, float, float]] = []
    for level in range(1, MAX_LEVEL[family] + 1):
        wave, _ = _sample(
            policy, family, (level, level), num_problems=num_problems, samples=SAMPLES
        )
        correct = [sum(item.is_success for item in group.graded) for group in wave.groups]
        counts = [len(group.graded) for group in wave.groups]
        figures.append(
            (level, pass_at_k(correct, counts, k=1), pass_at_k(correct, counts, k=SAMPLES))
        )
    return figures


def guided_figures(policy: LanguageModelPolicy, family: str, num_problems: int) -> Guided:
    """Returns what guidance changes on test problems of levels 4 to 8."""
    sample = partial(_sample, policy, family, GUIDED_LEVELS, num_problems=num_problems, samples=8)
    plain, problems = sample()
    wrong = {
        group.key: tuple(sorted({_answer(item.final_state) for item in group.graded} - {""}))
        for group in plain.groups
    }

    def answer(state: ReasonState) -> Guidance:
        return Guidance("answer", (state.problem.answer,))

    def half(state: ReasonState) -> Guidance:
        steps = state.problem.solution[: len(state.problem.solution) // 2]
        return Guidance("partial_solution", tuple(f"{step}\n" for step in steps))

    def mistakes(state: ReasonState) -> Guidance | None:
        own = [text for text in wrong[state.problem.problem_id] if text != state.problem.answer]
        return Guidance("mistakes", tuple(own[:4])) if own else None

    rates = [_pass_rate(sample(guide=guide)[0]) for guide in (half, answer, mistakes)]
    half_rate, answer_rate, mistakes_rate = rates
    return Guided(
        plain=_pass_rate(plain),
        partial_solution=half_rate,
        answer=answer_rate,
        mistakes=mistakes_rate,
        localisation=_localisation(policy, plain, problems),
    )


def write_card(
    policy: LanguageModelPolicy,
    config: PretrainConfig,
    directory: Path,
    command: str,
    num_problems: int,
) -> None:
    """Measures the policy and writes `README.md` beside its weights."""
    size = sum(parameter.numel() for parameter in policy.model.parameters())
    lines = [
        "# The base model",
        "",
        f"A Qwen3-architecture model of {size:,} parameters over 258 ids (UTF-8 bytes, pad, end), "
        "trained from scratch on",
        "demonstrations of the built-in families (`agents/demonstrations.py`). It is a laboratory "
        "animal, not a language model.",
        "",
        f"Made by: `{command}` ({config.num_batches:,} batches of {config.batch_size}).",
        "",
        "Demonstrations are wrong on purpose: probability that a step of a plain demonstration "
        "writes a wrong digit, by operation:",
        "",
        *(
            f"* {family}: " + ", ".join(f"`{symbol}` {rate:g}" for symbol, rate in rates.items())
            for family, rates in ERROR_RATES.items()
        ),
        "",
        "Formats, with their share of the demonstrations: "
        + ", ".join(f"{name} {share:g}" for name, share in config.demonstrations.formats.items())
        + f". Plain problems have {config.demonstrations.plain_levels[0]} to "
        f"{config.demonstrations.plain_levels[1]} operations, the others "
        f"{config.demonstrations.guided_levels[0]} to {config.demonstrations.guided_levels[1]}. "
        "No question of the validation and test splits occurs.",
        "",
        f"## Measured on test problems, {num_problems} a level, {SAMPLES} samples a problem, "
        "temperature 1",
        "",
        "| family | level | pass@1 | pass@64 |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        for level, first, at_64 in level_figures(policy, family, num_problems):
            lines.append(f"| {family} | {level} | {first:.3f} | {at_64:.3f} |")
    lines += [
        "",
        f"## Guidance: pass@1 at levels {GUIDED_LEVELS[0]} to {GUIDED_LEVELS[1]}, "
        f"{4 * num_problems} problems, 8 samples each",
        "",
        "| family | none | half the solution | the answer | own wrong answers to avoid | "
        "first wrong step named (own failures) |",
        "|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        g = guided_figures(policy, family, 4 * num_problems)
        lines.append(
            f"| {family} | {g.plain:.3f} | {g.partial_solution:.3f} | {g.answer:.3f} | "
            f"{g.mistakes:.3f} | {g.localisation:.3f} |"
        )
    (directory / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sample(
    policy: LanguageModelPolicy,
    family: str,
    levels: tuple[int, int],
    *,
    num_problems: int,
    samples: int,
    guide: Guide | None = None,
) -> tuple[Wave, ProblemSet]:
    env = EnvConfig(problems=family, split="test", size=num_problems, levels=levels).make(
        policy.codec
    )
    problems = reason_env_of(env).problems
    starts: list[Start] = []
    for state in initial_states(env, [problem.problem_id for problem in problems], seed=0):
        piece = None if guide is None else guide(state)
        shown = state if piece is None else state.with_guidance(piece)
        starts.append(
            Start(
                state=shown,
                num_samples=samples,
                learn_from=state,
                group=state.problem.problem_id,
                role="eval",
            )
        )
    return collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=1), problems


def _pass_rate(wave: Wave) -> float:
    return float(np.mean([item.is_success for item in wave.trajectories if item.is_graded]))


def _answer(state: ReasonState) -> str:
    return "" if state.verdict is None else state.verdict.extracted or ""


def _localisation(policy: LanguageModelPolicy, plain: Wave, problems: ProblemSet) -> float:
    """Returns how often the model, shown its own wrong chain, boxes its first wrong step."""
    assert problems.checker is not None, "built-in families have a step checker"
    contexts: list[Context] = []
    expected: list[int] = []
    template = PromptTemplate()
    for item in plain.trajectories:
        steps = item.final_state.steps
        wrong = problems.checker(item.start.state.problem, steps)
        if item.is_success or wrong is None:
            continue
        state = item.start.state.with_guidance(localisation_guidance(steps))
        contexts.append(
            Context(token_ids=template.token_ids(state), num_samples=1, max_new_tokens=24)
        )
        expected.append(wrong)
    replies = policy.sample(contexts, SamplingConfig(temperature=0.3), seed=2)
    hits = [
        extract_answer(policy.codec.decode(reply.token_ids)) == str(index)
        for (reply,), index in zip(replies, expected, strict=True)
    ]
    return float(np.mean(hits)) if hits else float("nan")
