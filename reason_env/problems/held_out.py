"""Hold a part of a single file out of training: two disjoint splits, `train` and `test`.

Which problems are held out depends on their questions and the seed alone: not on the order of the
rows, and not on the process. Rows with equal questions are on the same side, so no question that is
measured was trained on. Ids keep naming the rows of the file.
"""

import hashlib
from collections.abc import Sequence

from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet

SPLITS = ("train", "test")
"""The rest, and the part that is held out."""


def check_hold_out(hold_out: float) -> None:
    """Raise unless a number is a count of at least 1 or a fraction between 0 and 1.

    Raises:
        ConfigError: It is neither.
    """
    is_count = not isinstance(hold_out, bool) and isinstance(hold_out, int) and hold_out >= 1
    if not is_count and not (isinstance(hold_out, float) and 0 < hold_out < 1):
        raise ConfigError(
            f"hold_out must be a fraction in 0..1 or a number of questions, got {hold_out!r}; for "
            "example 0.1"
        )


def part_of(problems: ProblemSet, split: str, *, hold_out: float, seed: int) -> ProblemSet:
    """Give the part of a set that a split means: "test" is held out, "train" is the rest.

    Args:
        problems: The whole set.
        split: "train" or "test".
        hold_out: Fraction of the different questions, at least one; or their number.
        seed: Selects the questions.

    Raises:
        ConfigError: The split has another name, or one part would be empty.
    """
    check_hold_out(hold_out)
    if split not in SPLITS:
        raise ConfigError(
            f"split must be train or test with hold_out, got {split!r}; hold_out makes these two"
        )
    chosen = _held_out_questions(problems, hold_out, seed)
    kept = [item for item in problems if (_text(item) in chosen) == (split == "test")]
    return ProblemSet(problems.name, tuple(kept), problems.checker)


def _held_out_questions(problems: Sequence[Problem], hold_out: float, seed: int) -> set[str]:
    questions = sorted({_text(item) for item in problems}, key=lambda text: _rank(text, seed))
    count = max(1, round(hold_out * len(questions))) if hold_out < 1 else int(hold_out)
    if count >= len(questions):
        raise ConfigError(
            f"hold_out must leave questions to train on, got {hold_out!r} of {len(questions)} "
            "different questions; hold out fewer"
        )
    return set(questions[:count])


def _text(problem: Problem) -> str:
    """The question without the differences of spacing that a copy of a row may have."""
    return " ".join(problem.question.split())


def _rank(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
