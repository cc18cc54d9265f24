"""Graders: grade what needs a worker process, in actors of a Ray cluster.

Only such answers are sent: the others take microseconds, less than sending them. Each actor has
one worker, with the same limits of time and memory, so verdicts are those of this process. A share
that no actor answers is graded again by another one; a verdict that says that grading failed is an
answer like any other.
"""

from collections.abc import Sequence

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.ray.rounds import ActorFacts, Asked, answers_of
from reason_env.verdict import Verdict
from reason_env.verify import GradingJob, grade_jobs

Jobs = tuple[GradingJob, ...]
Verdicts = tuple[Verdict, ...]
DECIDING = ("reason-env", "sympy", "math-verify")
"""Packages whose version verdicts depend on."""


class Grader:
    """What runs in each actor."""

    def facts(self) -> ActorFacts:
        """Describe the process."""
        return ActorFacts.here(*DECIDING)

    def grade(self, jobs: Jobs) -> Verdicts:
        """Grade jobs in order, in one worker."""
        return tuple(grade_jobs(jobs, at_once=1))


class Graders:
    """Grades the jobs of a wave with several actors; call it in place of `grade_jobs`."""

    def __init__(self, actors: Asked[Jobs, Verdicts], config: EngineConfig) -> None:
        """Prepare; the first call that has jobs starts the actors.

        Args:
            actors: `config.graders` of them.
            config: Their number, and how often they may fail.
        """
        self.actors, self.config = actors, config
        self.num_restarts = 0

    def __call__(self, jobs: Sequence[GradingJob]) -> list[Verdict]:
        """Grade jobs, in order.

        Raises:
            EngineError: Actors failed in more than `max_restarts` rounds.
        """
        number = self.config.graders
        # Dealt one by one: neighbours are of one problem, and take about as long.
        shares = {place: tuple(jobs[place::number]) for place in range(min(number, len(jobs)))}
        answers = answers_of(
            self.actors,
            shares,
            max_restarts=self.config.max_restarts,
            problem_with=_problem_with,
            on_lost=self._count,
        )
        return [answers[at % number][at // number] for at in range(len(jobs))]

    def close(self) -> None:
        """Kill the actors; the next call starts new ones."""
        self.actors.stop()

    def _count(self, lost: int) -> None:
        self.num_restarts += lost


def _problem_with(answer: Verdicts, jobs: Jobs) -> str | None:
    if len(answer) != len(jobs):
        return f"it returned {len(answer)} verdicts for {len(jobs)} answers"
    return None
