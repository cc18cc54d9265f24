"""Outcome and Verdict: five outcomes, because a failed grader is not a wrong answer."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What grading a response can find."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The response holds no final answer that the extraction rules accept."""
    TIMEOUT = "timeout"
    """The work or time budget of the comparison ran out; the answer may be right or wrong."""
    ERROR = "error"
    """The verifier failed (a worker died, a library raised); the answer may be right or wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The record of one graded response.

    >>> Verdict(Outcome.CORRECT, "36", "equal integers").is_correct
    True
    """

    outcome: Outcome
    extracted: str | None = None
    """The answer text found in the response; None if there is none."""
    reason: str = ""
    """The rule that decided, as one short sentence for people."""
    score: float | None = None
    """The score of a scorer, 0..1, if one graded; only 1 is CORRECT."""

    def __post_init__(self) -> None:
        if self.extracted is not None:
            object.__setattr__(self, "extracted", join_surrogates(self.extracted))
        object.__setattr__(self, "reason", join_surrogates(self.reason))

    @property
    def is_correct(self) -> bool:
        """True only for CORRECT."""
        return self.outcome is Outcome.CORRECT

    @property
    def is_graded(self) -> bool:
        """True if the outcome judges the response (not TIMEOUT, not ERROR)."""
        return self.outcome not in (Outcome.TIMEOUT, Outcome.ERROR)


def join_surrogates(text: str) -> str:
    r"""Replace each surrogate pair by its character, as JSON does when it reads the pair.

    >>> join_surrogates("\ud83d\ude00 \ud83d") == "\U0001f600 \ud83d"
    True
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
