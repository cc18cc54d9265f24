# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# verifiers is in the environment of `make test-interop` only.
"""verifiers: problems as a taskset, for its evaluation and for prime-rl.

A task holds its whole problem, so that it is scored wherever it is sent. A grader that failed is no
wrong answer: the reward raises, and the rollout counts as an error.

verifiers finds a taskset by the name of an importable package; docs/verifiers.md has its one line.

Not covered: start states, prefixes and hints. verifiers begins every rollout at the prompt; its
bridge to OpenEnv takes them as arguments of reset (`openenv.py`).
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from reason_env.agents.integrations.installed import check_installed
from reason_env.agents.integrations.questions import questions
from reason_env.errors import VerifierError
from reason_env.problem import Problem
from reason_env.verify import grade

check_installed("verifiers", extra="verifiers")

import verifiers.v1 as vf  # noqa: E402 - after the check

__all__ = ["ReasonTaskset"]


class ReasonTasksetConfig(vf.TasksetConfig):
    """Which problems, and how they are put and graded."""

    problems: str = "chain"
    """A family, gsm8k:PATH, hub:NAME, or a file; `reason-env problems list`."""
    split: str = "train"
    """Split of the problems."""
    size: int | None = None
    """Number of problems; None for all of a file, or the family's default."""
    template: str = "boxed"
    """How problems are put to the model; a template without examples."""
    grading: str | None = None
    """What counts as an answer and what is forgiven; None for the template's."""


class ReasonTaskData(vf.TaskData):
    """One problem with its reference."""

    problem: dict[str, Any]
    """All of the problem, as `Problem.to_dict` writes it."""
    demonstration: str
    """The reference solution as a response; prime-rl's self-distillation reads it by this name."""
    grading: str
    """What counts as an answer."""


class ReasonTask(vf.Task[ReasonTaskData]):
    """Scores a reply by the project's grader."""

    @vf.reward
    async def correct(self, trace: vf.Trace) -> float:
        """1 if the reply's answer is the reference, else 0.

        Raises:
            VerifierError: The grader failed, so that nothing is known about the reply.
        """
        return await asyncio.to_thread(reward_of, self.data, trace.last_reply)

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Whether the reference solution earns the reward."""
        del runtime
        return await asyncio.to_thread(reward_of, self.data, self.data.demonstration) == 1.0


class ReasonTaskset(vf.Taskset[ReasonTask, ReasonTasksetConfig]):
    """The problems of a source as tasks."""

    def load(self) -> Iterator[ReasonTask]:
        """Yield a task for each problem.

        Raises:
            ConfigError: The template shows examples.
        """
        config = self.config
        asked = questions(
            config.problems,
            split=config.split,
            size=config.size,
            template=config.template,
            grading=config.grading,
        )
        for question in asked:
            problem = question.problem
            data = ReasonTaskData(
                id=problem.problem_id,
                name=problem.problem_id,
                prompt=question.prompt,
                problem=problem.to_dict(),
                demonstration=question.demonstration,
                grading=question.grading,
            )
            yield ReasonTask(data, config.task)


def reward_of(data: ReasonTaskData, reply: str) -> float:
    """Grade a reply: 1 or 0.

    Raises:
        VerifierError: The grader failed.
    """
    verdict = grade(reply, Problem.from_dict(data.problem).reference, data.grading)
    if not verdict.is_graded:
        raise VerifierError(
            f"a reply to {data.id!r} must be graded, got {verdict.outcome.value}: {verdict.reason}"
        )
    return float(verdict.is_correct)
