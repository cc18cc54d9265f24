"""Whether the reference solutions of a set fit into the tokens of a response.

A model that reasons as its references do is cut off on the problems whose solutions do not fit, and
earns nothing on them, however good it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reason_env.codec import Codec
from reason_env.problem import Problem
from reason_env.problems.reference import reference_response

ANSWER_LINE_CHARACTERS = 16
"""At most what `reference_response` adds to the steps and the answer."""
MAX_BYTES = 4
"""UTF-8 bytes of a character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionBudget:
    """The lengths of reference solutions against a limit."""

    max_tokens: int
    num_solutions: int
    """Problems with a reference solution."""
    num_too_long: int
    """Those whose response, end token included, has more tokens than the limit."""
    longest: int
    """Tokens of the longest one; 0 if all fit."""

    @property
    def line(self) -> str:
        """The numbers as a sentence; empty if every solution fits.

        >>> SolutionBudget(max_tokens=512, num_solutions=1319, num_too_long=58, longest=952).line
        '58 of 1,319 reference solutions do not fit max_tokens=512; 952 would hold all'
        """
        if not self.num_too_long:
            return ""
        return (
            f"{self.num_too_long:,} of {self.num_solutions:,} reference solutions do not fit "
            f"max_tokens={self.max_tokens}; {self.longest} would hold all"
        )


def solution_budget(
    problems: Sequence[Problem], codec: Codec, max_tokens: int, *, layout: str | None = None
) -> SolutionBudget:
    """Count the reference solutions that are longer than a limit, as responses of a model.

    Args:
        problems: Those without a solution are not counted.
        codec: The model's tokens.
        max_tokens: Tokens of a response, the end token included.
        layout: Where solution and answer stand in a response, as for `reference_response`.
    """
    solved = [problem for problem in problems if problem.solution]
    sizes = [
        len(codec.encode(reference_response(problem, codec.step_delimiter, layout))) + 1
        for problem in solved
        if _may_exceed(problem, max_tokens, len(codec.step_delimiter), len(layout or ""))
    ]
    too_long = [size for size in sizes if size > max_tokens]
    return SolutionBudget(
        max_tokens=max_tokens,
        num_solutions=len(solved),
        num_too_long=len(too_long),
        longest=max(too_long, default=0),
    )


def _may_exceed(problem: Problem, max_tokens: int, delimiter: int, layout: int) -> bool:
    """Whether a response has as many bytes: no tokenizer splits a byte.

    Most solutions are far shorter than the limit, and tokenizing them would take seconds.
    """
    length = layout + sum(map(len, problem.solution)) + len(problem.solution) * delimiter
    return MAX_BYTES * (length + len(problem.answer) + ANSWER_LINE_CHARACTERS) > max_tokens
