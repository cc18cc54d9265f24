# pyright: reportMissingImports=false
# inspect_ai is in the environment of `make test-interop` only.
"""Inspect: problems as a task, for its evaluations of any model that it can call.

Inspect finds the task by its entry point: `inspect eval reason_env/reasoning`. A grader that failed
is no wrong answer: the sample counts as unscored, outside every metric.

Not covered: start states, prefixes and hints; Inspect begins every sample at the prompt.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from reason_env.agents.integrations.installed import check_installed
from reason_env.agents.integrations.questions import Question, questions
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.verify import grade

check_installed("inspect_ai", extra="inspect_ai")

import anyio  # noqa: E402 - after the check
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
)
from inspect_ai.scorer import (  # noqa: E402
    CORRECT,
    INCORRECT,
    Score,
    Scorer,
    Target,
    accuracy,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState, generate  # noqa: E402

# A type checker takes `from inspect_ai import` for this file.
_package: Any = import_module("inspect_ai")

MESSAGES = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


@_package.task
def reasoning(
    *,
    problems: str = "chain",
    split: str = "test",
    size: int | None = None,
    template: str = "boxed",
    grading: str | None = None,
    epochs: int = 1,
) -> Any:
    """Give the problems of a source as a task.

    Args:
        problems: A family, gsm8k:PATH, hub:NAME, or a file; `reason-env problems list`.
        split: Split of the problems.
        size: Number of problems; None for all of a file, or the family's default.
        template: How problems are put to the model; a template without examples.
        grading: What counts as an answer and what is forgiven; None for the template's.
        epochs: Samples of each problem; above 1, pass@k over them is reported beside the mean.

    Raises:
        ConfigError: The template shows examples, or epochs is below 1.
    """
    if epochs < 1:
        raise ConfigError(f"epochs must be at least 1, got {epochs!r}; give 1 sample or more")
    asked = questions(problems, split=split, size=size, template=template, grading=grading)
    return _package.Task(
        dataset=MemoryDataset([_sample(question) for question in asked], name=problems),
        solver=generate(),
        scorer=verdict(),
        epochs=_package.Epochs(epochs, ["mean", f"pass_at_{epochs}"]) if epochs > 1 else None,
    )


@scorer(metrics=[accuracy(), stderr()])
def verdict() -> Scorer:
    """Grade the reply with the project's grader, in a thread."""

    async def score(state: TaskState, target: Target) -> Score:
        del target  # the problem says more, such as the scorer of puzzles
        problem = Problem.from_dict(state.metadata["problem"])
        found = await anyio.to_thread.run_sync(
            grade, state.output.completion, problem.reference, state.metadata["grading"]
        )
        explanation = f"{found.outcome.value}: {found.reason}"
        if not found.is_graded:
            return Score.unscored(
                reason="scoring_failed", answer=found.extracted, explanation=explanation
            )
        return Score(
            value=CORRECT if found.is_correct else INCORRECT,
            answer=found.extracted,
            explanation=explanation,
        )

    return score


def _sample(question: Question) -> Sample:
    problem = question.problem
    return Sample(
        id=problem.problem_id,
        input=question.prompt if isinstance(question.prompt, str) else _chat(question.prompt),
        target=problem.answer,
        metadata={
            "level": problem.level,
            "problem": problem.to_dict(),
            "demonstration": question.demonstration,
            "grading": question.grading,
        },
    )


def _chat(messages: Sequence[dict[str, str]]) -> list[ChatMessage]:
    return [MESSAGES[own["role"]](content=own["content"]) for own in messages]
