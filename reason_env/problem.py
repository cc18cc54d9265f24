"""Problem and ProblemSet: questions with references; immutable, ordered, content-hashed.

A problem set is a plain value. `reason_env.problems` builds it from families, files and hubs;
nothing here reads a file or draws a random number.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, overload

from reason_env.errors import ProblemError, UnknownNameError, did_you_mean, shown

StepChecker = Callable[["Problem", Sequence[str]], int | None]
"""(problem, response steps) -> 1-based index of the first wrong step, or None if none is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One question with its reference.

    >>> p = Problem(problem_id="toy/train/0", question="12*3=?", answer="36", solution=("12*3=36",))
    >>> Problem.from_dict(p.to_dict()) == p
    True
    """

    problem_id: str
    """`<set>/<split>/<row>`; unique in its set."""
    question: str
    """The text of the question."""
    answer: str
    """The reference answer, which no observation shows without guidance."""
    solution: tuple[str, ...] = ()
    """Reference reasoning steps, without delimiters; may be empty."""
    level: int = 0
    """Difficulty; 0 if unknown."""
    source: str = ""
    """The origin of the problem, for people."""

    def __post_init__(self) -> None:
        if not self.problem_id:
            raise ProblemError(
                "problem_id must not be empty, got ''; name it '<set>/<split>/<row>'"
            )
        if not self.question.strip():
            raise ProblemError(
                f"question of {self.problem_id!r} must hold text, got {shown(self.question)}; "
                "drop the row or map another column to it"
            )
        if not self.answer.strip():
            raise ProblemError(
                f"answer of {self.problem_id!r} must hold text, got {shown(self.answer)}; "
                "drop the row or map another column to it"
            )

    @property
    def reference(self) -> "str | ScoredReference":
        """What a response is graded against."""
        return self.answer

    def to_dict(self) -> dict[str, Any]:
        """The problem as a JSON-able dict; `from_dict` is the inverse."""
        # Not asdict(), which copies every text: each written state contains a problem.
        return {name: getattr(self, name) for name in Problem.__slots__} | {
            "solution": list(self.solution)
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Problem":
        """Read what `to_dict` wrote.

        Raises:
            ProblemError: A field is missing, unknown or of the wrong type.
        """
        try:
            problem = _scored(data) if "scored_by" in data else cls(**data)
        except (TypeError, AttributeError) as error:
            raise ProblemError(
                f"a problem must be a dict as to_dict() writes it, got {shown(data)}; "
                f"{shown(str(error))}"
            ) from error
        steps = cast("object", problem.solution)
        texts = (problem.problem_id, problem.question, problem.answer, problem.source)
        if (
            not isinstance(steps, (list, tuple))
            or {type(text) for text in (*texts, *problem.solution)} != {str}
            or type(problem.level) is not int
        ):
            raise ProblemError(
                "a problem's fields must be texts, a list of texts (solution) and an integer "
                f"(level), got {shown(data)}"
            )
        object.__setattr__(problem, "solution", tuple(problem.solution))
        return problem


SCORERS = ("reasoning_gym", "countdown")
"""The scorers that `verify` knows; the first runs in separate workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredReference:
    """What a scorer needs to verify one of several right answers; hashable, JSON-able."""

    scorer: str
    """One of `SCORERS`."""
    entry: str
    """JSON from which the scorer rebuilds the same entry in any process."""

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            raise ProblemError(
                f"scorer must be one of {', '.join(SCORERS)}, got {shown(self.scorer)}; "
                "load the problems with load_problems"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredProblem(Problem):
    """A problem with several right answers: `answer` is one, and a scorer decides about others.

    >>> scored_by = ScoredReference(scorer="reasoning_gym", entry='{"index":0}')
    >>> p = ScoredProblem(problem_id="rg/train/0", question="?", answer="1", scored_by=scored_by)
    >>> Problem.from_dict(p.to_dict()) == p, p.reference is scored_by
    (True, True)
    """

    scored_by: ScoredReference

    @property
    def reference(self) -> str | ScoredReference:
        """The scorer and its entry: `answer` is only an example."""
        return self.scored_by

    def to_dict(self) -> dict[str, Any]:
        """The problem as a JSON-able dict; `Problem.from_dict` is the inverse."""
        scored_by = {"scorer": self.scored_by.scorer, "entry": self.scored_by.entry}
        return Problem.to_dict(self) | {"scored_by": scored_by}


def _scored(data: dict[str, Any]) -> ScoredProblem:
    scored_by = data["scored_by"]
    if {type(text) for text in scored_by.values()} != {str}:
        raise TypeError("a scored_by must hold two texts, scorer and entry")
    given: dict[str, Any] = {**data, "scored_by": ScoredReference(**scored_by)}
    return ScoredProblem(**given)


@dataclass(frozen=True, slots=True, eq=False)
class ProblemSet(Sequence[Problem]):
    """An ordered, named, immutable set of problems with unique ids.

    >>> p = Problem(problem_id="toy/train/0", question="12*3=?", answer="36")
    >>> toy = ProblemSet("toy", (p,))
    >>> len(toy), toy[0].answer, toy.by_id("toy/train/0") is p
    (1, '36', True)

    Raises:
        ProblemError: The set is empty, or two problems share an id.
    """

    name: str
    problems: tuple[Problem, ...]
    checker: StepChecker | None = None
    """Finds the first wrong step, as ground truth for localisation; None if not available."""
    _by_id: dict[str, Problem] = field(init=False, repr=False)
    _content_hash: str = field(init=False, repr=False, default="")
    """Computed at the first call of `content_hash`."""

    def __post_init__(self) -> None:
        if not self.problems:
            raise ProblemError(
                f"problem set {self.name!r} must hold at least one problem, got none; "
                "check the file, the split, the levels and the size"
            )
        by_id: dict[str, Problem] = {}
        for problem in self.problems:
            if problem.problem_id in by_id:
                raise ProblemError(
                    f"problem ids of {self.name!r} must be unique, got "
                    f"{problem.problem_id!r} twice; rename one of them"
                )
            by_id[problem.problem_id] = problem
        object.__setattr__(self, "problems", tuple(self.problems))
        object.__setattr__(self, "_by_id", by_id)

    def __len__(self) -> int:
        return len(self.problems)

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Problem, ...]: ...
    def __getitem__(self, index: int | slice) -> Problem | tuple[Problem, ...]:
        return self.problems[index]

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def by_id(self, problem_id: str) -> Problem:
        """Find a problem by its id.

        Raises:
            UnknownNameError: No such problem; the message names the nearest id.
        """
        try:
            return self._by_id[problem_id]
        except KeyError:
            raise UnknownNameError(
                f"no problem {problem_id!r} among {len(self)}"
                f"{did_you_mean(problem_id, self._by_id)}"
            ) from None

    @property
    def content_hash(self) -> str:
        """16 hex digits over every field of every problem; equal in every process."""
        if not self._content_hash:
            digest = hashlib.sha256()
            for problem in self.problems:
                line = json.dumps(problem.to_dict(), sort_keys=True, ensure_ascii=True)
                digest.update(line.encode("ascii") + b"\n")
            object.__setattr__(self, "_content_hash", digest.hexdigest()[:16])
        return self._content_hash
