"""Guidance, token sources and verdicts as parts of a state, each with its JSON form.

Reading is strict, because the input of `ReasonState.from_dict` may come from anywhere.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal, cast, get_args

from reason_env.errors import StateError, shown
from reason_env.verdict import Outcome, Verdict, join_surrogates

TokenSource = Literal["policy", "reference", "reset", "env"]
"""Who wrote a token: the acting policy, the reference solution, an earlier episode, the env."""
GuidanceKind = Literal[
    "answer", "mistakes", "partial_solution", "instruction", "text", "localisation"
]

SOURCES: tuple[str, ...] = get_args(TokenSource)
GUIDANCE_KINDS: tuple[str, ...] = get_args(GuidanceKind)


@dataclass(frozen=True, slots=True)
class Guidance:
    """A typed piece of privileged text that the prompt shows with the question.

    >>> Guidance("mistakes", ("35", "37")).pieces
    ('35', '37')
    """

    kind: GuidanceKind
    pieces: tuple[str, ...]
    """One text for most kinds; the wrong answers of "mistakes"; the steps of a partial solution, or
    of the chain whose first wrong step is asked for ("localisation")."""

    def __post_init__(self) -> None:
        if self.kind not in GUIDANCE_KINDS:
            raise StateError(
                f"guidance kind must be one of {', '.join(GUIDANCE_KINDS)}, got {self.kind!r}; "
                "use 'text' for anything else"
            )
        given = cast("object", self.pieces)
        if not isinstance(given, tuple) or {type(text) for text in self.pieces} != {str}:
            raise StateError(
                f"guidance pieces must be a non-empty tuple of texts, got {shown(self.pieces)}; "
                "wrap a single text as (text,)"
            )
        object.__setattr__(self, "pieces", tuple(map(join_surrogates, self.pieces)))

    def to_json(self) -> list[Any]:
        """Kind and pieces; `from_json` is the inverse."""
        return [self.kind, list(self.pieces)]

    @classmethod
    def from_json(cls, data: Any) -> "Guidance":
        """Read what `to_json` wrote.

        Raises:
            StateError: The kind is unknown, or the pieces are no list of texts.
            TypeError: The data is no pair.
            ValueError: The data is no pair.
        """
        kind, pieces = data
        if not isinstance(pieces, list):
            raise StateError(f"guidance pieces must be a list of texts, got {shown(pieces)}")
        return cls(kind, tuple(cast("list[str]", pieces)))


def source_runs(sources: Sequence[TokenSource]) -> list[list[Any]]:
    """Run-length encode token sources as [writer, number of tokens] pairs.

    >>> source_runs(("reset", "reset", "policy"))
    [['reset', 2], ['policy', 1]]
    """
    runs: list[list[Any]] = []
    begin, size = 0, len(sources)
    while begin < size:
        writer = sources[begin]
        rest = sources[begin:]
        count = rest.count(writer)
        if count < len(rest):
            count = sum(1 for _ in takewhile(writer.__eq__, rest))
        runs.append([writer, count])
        begin += count
    return runs


def expand_sources(runs: Any, num_tokens: int) -> tuple[TokenSource, ...]:
    """Expand the runs that `source_runs` wrote to one writer per token.

    Raises:
        StateError: A writer is unknown, or the runs do not add up.
        TypeError: The runs are no pairs of a text and a whole number.
        ValueError: The runs are no pairs.
    """
    pairs = [(str(name), operator.index(run)) for name, run in runs]
    if not {name for name, _ in pairs} <= set(SOURCES):
        raise StateError(f"sources must be among {', '.join(SOURCES)}, got {shown(runs)}")
    if sum(run for _, run in pairs) != num_tokens or any(run < 1 for _, run in pairs):
        raise StateError(f"source runs must add up to the {num_tokens} tokens, got {shown(runs)}")
    sources: tuple[str, ...] = ()
    for name, run in pairs:
        sources += (name,) * run
    return cast("tuple[TokenSource, ...]", sources)


def verdict_to_json(verdict: Verdict | None) -> list[Any] | None:
    """Outcome, extracted answer, reason and, if any, score; None for an open state."""
    if verdict is None:
        return None
    score = [] if verdict.score is None else [verdict.score]
    return [verdict.outcome.value, verdict.extracted, verdict.reason, *score]


def verdict_from_json(data: Any) -> Verdict | None:
    """Read what `verdict_to_json` wrote.

    Raises:
        LookupError: There is no outcome.
        TypeError: The data is no list of three or four.
        ValueError: The outcome is unknown.
    """
    return None if data is None else Verdict(Outcome(data[0]), *data[1:])
