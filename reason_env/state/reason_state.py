"""ReasonState: the immutable state of a reasoning episode.

A state is a problem, the guidance in its prompt, and the response so far: token ids, each marked
with who wrote it. Restarting from the middle, branching and hinting are one operation: choose
another state. `transition` computes the next state.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from reason_env.codec import ByteCodec, Codec, check_token_ids, has_text, step_ends
from reason_env.errors import StateError, shown
from reason_env.problem import Problem
from reason_env.state.parts import (
    SOURCES,
    Guidance,
    TokenSource,
    expand_sources,
    source_runs,
    verdict_from_json,
    verdict_to_json,
)
from reason_env.verdict import Verdict

STATE_FORMAT = 1
_NOT_SEARCHED = (-1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonState:
    r"""A point of a reasoning episode, as a value.

    >>> problem = Problem(problem_id="toy/train/0", question="12*3=?", answer="36")
    >>> codec = ByteCodec()
    >>> state = ReasonState(problem=problem, codec=codec).extend(codec.encode("12*3=35\nso"))
    >>> state.steps, state.text
    (('12*3=35\n', 'so'), '12*3=35\nso')
    >>> state.cut(1).text, state.cut(1).sources[0]
    ('12*3=35\n', 'policy')
    >>> ReasonState.from_json(state.to_json()) == state
    True
    """

    problem: Problem
    codec: Codec = field(compare=False, repr=False)
    """Maps ids to text; the JSON form holds only its `codec_id`."""
    guidance: tuple[Guidance, ...] = ()
    response: tuple[int, ...] = ()
    """Token ids of the response so far, [T]."""
    sources: tuple[TokenSource, ...] = ()
    """Who wrote each token, [T]."""
    verdict: Verdict | None = None
    """What grading found; None while the episode is open, or if it was truncated."""
    step_ends: tuple[int, ...] = field(default=_NOT_SEARCHED, compare=False, repr=False)
    """Token index just after each closed step; searched in `response` unless given, as `extend` and
    `cut` do."""

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.response):
            raise StateError(
                f"sources must name one writer per token, got {len(self.sources)} for "
                f"{len(self.response)} tokens; build states with extend()"
            )
        if self.step_ends == _NOT_SEARCHED:
            object.__setattr__(self, "step_ends", step_ends(self.codec, self.response))

    def __hash__(self) -> int:
        return int(self.state_id[:15], 16)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReasonState):
            return NotImplemented
        return (
            self.codec.codec_id == other.codec.codec_id
            and self.response == other.response
            and self.sources == other.sources
            and self.guidance == other.guidance
            and self.verdict == other.verdict
            and self.problem == other.problem
        )

    @property
    def text(self) -> str:
        """The response so far, decoded."""
        return self.codec.decode(self.response)

    @property
    def num_steps(self) -> int:
        """Closed steps plus the open one, if any text follows the last boundary."""
        return len(self._bounds) - 1

    @property
    def steps(self) -> tuple[str, ...]:
        """The response's steps as text, delimiters included; the last may be open.

        A step includes the white space before it; white space after the last is in no step.
        """
        return tuple(self.codec.decode(self.response[a:b]) for a, b in pairwise(self._bounds))

    @property
    def _bounds(self) -> tuple[int, ...]:
        """0 and the index just after each step; blanks and ends after the last are in no step."""
        size = len(self.response)
        while size and self.response[size - 1] in self.codec.end_ids:
            size -= 1
        closed = (0, *self.step_ends)
        is_open = has_text(self.codec, self.response[closed[-1] : size])
        return (*closed, size) if is_open else closed

    @property
    def state_id(self) -> str:
        """32 hex digits over the whole content; equal in every process."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()[:32]

    def extend(self, tokens: Sequence[int], source: TokenSource = "policy") -> "ReasonState":
        """Append `tokens`, written by `source`.

        Raises:
            StateError: The episode is over, or the source is unknown.
            CodecError: An id is no integer or lies outside the vocabulary.
        """
        if self.verdict is not None:
            raise StateError(
                "a graded state must not be extended, got "
                f"verdict {self.verdict.outcome}; cut() it first"
            )
        if source not in SOURCES:
            raise StateError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        new = check_token_ids(self.codec, tokens)
        response = self.response + new
        begin = self.step_ends[-1] if self.step_ends else 0
        more = step_ends(self.codec, response, begin=begin, known=len(self.response))
        # Not replace(), which is slower: an episode of single tokens calls this for each of them.
        return ReasonState(
            problem=self.problem,
            codec=self.codec,
            guidance=self.guidance,
            response=response,
            sources=self.sources + (source,) * len(new),
            step_ends=self.step_ends + more,
        )

    def cut(self, step: int, source: TokenSource | None = None) -> "ReasonState":
        """Keep the first `step` steps, as an open state without any end token.

        Args:
            step: Steps kept, 0..num_steps; 0 is the empty response.
            source: If given, the writer of every kept token ("reset" for chains of the policy).

        Raises:
            StateError: `step` is negative or larger than the number of steps.
        """
        bounds = self._bounds
        if not 0 <= step < len(bounds):
            raise StateError(
                f"step must lie in 0..{len(bounds) - 1}, got {step!r}; the response has "
                f"{len(bounds) - 1} steps"
            )
        if source is not None and source not in SOURCES:
            raise StateError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        end = bounds[step]
        return ReasonState(
            problem=self.problem,
            codec=self.codec,
            guidance=self.guidance,
            response=self.response[:end],
            sources=self.sources[:end] if source is None else (source,) * end,
            step_ends=self.step_ends[:step],
        )

    def cut_tokens(self, num: int, source: TokenSource | None = None) -> "ReasonState":
        """Keep the first `num` tokens, as an open state; none may be an end token.

        Args:
            num: Tokens kept, 0..T; 0 is the empty response.
            source: If given, the writer of every kept token.

        Raises:
            StateError: `num` is out of range, or the kept tokens hold an end token.
        """
        if not 0 <= num <= len(self.response):
            raise StateError(
                f"num must lie in 0..{len(self.response)}, the tokens of the response, got {num!r}"
            )
        if source is not None and source not in SOURCES:
            raise StateError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        kept = self.response[:num]
        if not set(kept).isdisjoint(self.codec.end_ids):
            raise StateError(
                f"a cut must keep no end token, got {num!r} of {len(self.response)} tokens; cut "
                "before it"
            )
        return ReasonState(
            problem=self.problem,
            codec=self.codec,
            guidance=self.guidance,
            response=kept,
            sources=self.sources[:num] if source is None else (source,) * num,
            step_ends=tuple(end for end in self.step_ends if end <= num),
        )

    def with_guidance(self, *guidance: Guidance) -> "ReasonState":
        """Append guidance to the prompt."""
        return replace(self, guidance=self.guidance + guidance)

    def without_guidance(self) -> "ReasonState":
        """Remove all guidance from the prompt."""
        return replace(self, guidance=())

    def to_dict(self) -> dict[str, Any]:
        """The state as a JSON-able dict; the codec is written as its id."""
        return {
            "format": STATE_FORMAT,
            "problem": self.problem.to_dict(),
            "codec_id": self.codec.codec_id,
            "guidance": [piece.to_json() for piece in self.guidance],
            "response": list(self.response),
            "sources": source_runs(self.sources),
            "verdict": verdict_to_json(self.verdict),
        }

    def to_json(self) -> str:
        """The state as canonical ASCII JSON: equal states give equal text in every process."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str, codec: Codec | None = None) -> "ReasonState":
        """Read what `to_json` wrote.

        Args:
            text: The JSON text.
            codec: The codec of the state; None for the built-in byte codec.

        Raises:
            StateError: The text is no such state, or was written with another codec.
        """
        try:
            data = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(
                f"a state must be JSON as to_json() writes it, got {shown(text)}; {error}"
            ) from error
        return cls.from_dict(data, codec)

    @classmethod
    def from_dict(cls, data: dict[str, Any], codec: Codec | None = None) -> "ReasonState":
        """Read what `to_dict` wrote; see `from_json`."""
        known = codec or ByteCodec()
        try:
            if data["format"] != STATE_FORMAT:
                raise StateError(
                    f"state format must be {STATE_FORMAT}, got {shown(data['format'])}; "
                    "write the state again with this version"
                )
            if data["codec_id"] != known.codec_id:
                raise StateError(
                    f"state must be of codec {known.codec_id!r}, got {shown(data['codec_id'])}; "
                    "pass the codec that it was written with"
                )
            response = check_token_ids(known, data["response"])
            return cls(
                problem=Problem.from_dict(data["problem"]),
                codec=known,
                guidance=tuple(map(Guidance.from_json, data["guidance"])),
                response=response,
                sources=expand_sources(data["sources"], len(response)),
                verdict=verdict_from_json(data["verdict"]),
            )
        except StateError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise StateError(
                f"a state must be a dict as to_dict() writes it, got {shown(data)}; "
                f"{type(error).__name__}: {error}"
            ) from error
