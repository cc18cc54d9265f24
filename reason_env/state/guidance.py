"""Build `Guidance` from a problem or a state: pure functions.

`strength` is the share to show, 0..1, rounded up: of the steps (partial solution), of the wrong
answers (mistakes, the newest), or of the characters (all other kinds). 0 shows nothing. Guidance is
privileged: only `state.with_guidance` puts it into the prompt, and `state.without_guidance()`
removes it.
"""

import math
from collections.abc import Sequence

from reason_env.problem import Problem
from reason_env.state.cuts import checked_fraction
from reason_env.state.parts import Guidance, GuidanceKind
from reason_env.state.reason_state import ReasonState

MAX_MISTAKE_CHARS = 64
"""Longer wrong answers are shortened, so that a policy's text cannot fill the prompt."""
CUT_MARK = " [...]"
"""Ends a wrong answer that is shortened."""


def answer_guidance(problem: Problem, strength: float = 1.0) -> Guidance | None:
    """The reference answer, or its first characters.

    >>> problem = Problem(problem_id="t/train/0", question="?", answer="711")
    >>> answer_guidance(problem).pieces, answer_guidance(problem, 0.4).pieces
    (('711',), ('71',))
    """
    return text_guidance(problem.answer, strength, kind="answer")


def text_guidance(
    text: str, strength: float = 1.0, *, kind: GuidanceKind = "text"
) -> Guidance | None:
    """The text, or its first characters, as one piece."""
    shown = text[: _share(strength, len(text))]
    return Guidance(kind, (shown,)) if shown else None


def partial_solution_guidance(
    problem: Problem, strength: float = 1.0, *, delimiter: str = "\n"
) -> Guidance | None:
    r"""The first steps of the reference solution, each with its delimiter.

    >>> problem = Problem(problem_id="t/train/0", question="?", answer="24", solution=("a", "b"))
    >>> partial_solution_guidance(problem, 0.5).pieces
    ('a\n',)
    """
    return solution_guidance(problem, _share(strength, len(problem.solution)), delimiter=delimiter)


def solution_guidance(
    problem: Problem, num_steps: int, *, delimiter: str = "\n"
) -> Guidance | None:
    """The reference solution's first `num_steps` steps; None if there are none."""
    steps = problem.solution[:num_steps]
    pieces = tuple(step.removesuffix(delimiter) + delimiter for step in steps)
    return Guidance("partial_solution", pieces) if pieces else None


def next_step_guidance(state: ReasonState, strength: float = 1.0) -> Guidance | None:
    """The reference step that follows the closed steps of the response; None at the end."""
    place = len(state.step_ends)
    steps = state.problem.solution
    if place >= len(steps):
        return None
    return text_guidance(steps[place].removesuffix(state.codec.step_delimiter), strength)


def mistakes_guidance(answers: Sequence[str], strength: float = 1.0) -> Guidance | None:
    """The newest of the wrong answers, each once and on one line; long ones are shortened.

    >>> mistakes_guidance(["35", "37", "35"]).pieces, mistakes_guidance(["35", "37"], 0.5).pieces
    (('35', '37'), ('37',))
    >>> mistakes_guidance(["x" * 65]).pieces == ("x" * 58 + " [...]",)
    True
    """
    lines = (_shortened(answer) for answer in answers)
    distinct = tuple(dict.fromkeys(line for line in lines if line))
    kept = distinct[len(distinct) - _share(strength, len(distinct)) :]
    return Guidance("mistakes", kept) if kept else None


def num_shortened(answers: Sequence[str]) -> int:
    """How many different wrong answers `mistakes_guidance` shortens.

    >>> num_shortened(["x" * 64, "y" * 65, "y" * 65])
    1
    """
    lines = {" ".join(answer.split()) for answer in answers}
    return sum(len(line) > MAX_MISTAKE_CHARS for line in lines)


def _shortened(answer: str) -> str:
    line = " ".join(answer.split())
    if len(line) <= MAX_MISTAKE_CHARS:
        return line
    return line[: MAX_MISTAKE_CHARS - len(CUT_MARK)].rstrip() + CUT_MARK


def localisation_guidance(steps: Sequence[str], question: str | None = None) -> Guidance:
    r"""A chain's steps, which the template numbers before it asks for the first wrong one.

    With a question of one's own, the numbered steps and the question are one instruction.

    >>> localisation_guidance(("A:3+4 x=7\n", "#### 700")).pieces
    ('A:3+4 x=7\n', '#### 700')
    >>> localisation_guidance(("A:3+4 x=7\n", "#### 700"), "First wrong step?").pieces
    ('1 A:3+4 x=7\n2 #### 700\nFirst wrong step?',)
    """
    if question is None:
        return Guidance("localisation", tuple(steps))
    numbered = [f"{index} {step.strip()}" for index, step in enumerate(steps, start=1)]
    return Guidance("instruction", ("\n".join([*numbered, question]),))


def _share(strength: float, size: int) -> int:
    return math.ceil(round(checked_fraction(strength, "strength") * size, 9))
