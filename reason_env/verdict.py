"""What grading found: five outcomes, because a grader that failed is not a wrong answer."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The five things that grading a response can find."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The response holds no final answer that the extraction rules accept."""
    TIMEOUT = "timeout"
    """The work or time budget of the comparison ran out: nothing is known about the answer."""
    ERROR = "error"
    """The verifier itself failed (a worker died, a library raised): nothing is known either."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One graded response.

    >>> Verdict(Outcome.CORRECT, "36", "equal integers").is_correct
    True
    """

    outcome: Outcome
    extracted: str | None = None
    """The answer text taken from the response; None if there was none."""
    reason: str = ""
    """One short sentence, for people: which rule decided."""
    score: float | None = None
    """What a scorer gave, 0..1, where one graded; only 1 is CORRECT."""

    def __post_init__(self) -> None:
        if self.extracted is not None:
            object.__setattr__(self, "extracted", whole_characters(self.extracted))
        object.__setattr__(self, "reason", whole_characters(self.reason))

    @property
    def is_correct(self) -> bool:
        """True only for CORRECT."""
        return self.outcome is Outcome.CORRECT

    @property
    def is_graded(self) -> bool:
        """True if the outcome says something about the response (not TIMEOUT, not ERROR)."""
        return self.outcome not in (Outcome.TIMEOUT, Outcome.ERROR)


def whole_characters(text: str) -> str:
    r"""Returns the text with each surrogate pair as its character, as JSON reads the pair back.

    >>> whole_characters("\ud83d\ude00 \ud83d") == "\U0001f600 \ud83d"
    True
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
