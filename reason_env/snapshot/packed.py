"""A state as short JSON for snapshots: the problem by its id, the token ids as one text.

`state.to_json()` is the form to store and to send. The packed form is read many times faster, but
needs the same problem set and codec, which a snapshot compares first.
"""

from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from reason_env.codec import Codec
from reason_env.errors import CodecError
from reason_env.problem import ProblemSet
from reason_env.state import (
    Guidance,
    ReasonState,
    expand_sources,
    source_runs,
    verdict_from_json,
    verdict_to_json,
)

_BYTE, _WIDE = "1", "4"
_NUM_BYTES = 256


def pack_ids(token_ids: Sequence[int]) -> str:
    """Write ids as their width in bytes and base64; 0 <= id < 2**32.

    >>> pack_ids((72, 105)), pack_ids((72, 257)), unpack_ids('1SGk=', 258)
    ('1SGk=', '4SAAAAAEBAAA=', (72, 105))
    """
    try:
        return _BYTE + b2a_base64(bytes(token_ids), newline=False).decode("ascii")
    except ValueError:
        words = np.array(token_ids, dtype="<u4").tobytes()
        return _WIDE + b2a_base64(words, newline=False).decode("ascii")


def unpack_ids(text: str, vocab_size: int) -> tuple[int, ...]:
    """Read what `pack_ids` wrote; every id must be below `vocab_size`.

    Raises:
        CodecError: An id lies outside the vocabulary.
        ValueError: The text is no packed ids.
    """
    data = a2b_base64(text[1:], strict_mode=True)
    if text[:1] == _BYTE and vocab_size >= _NUM_BYTES:
        return tuple(data)
    if text[:1] not in (_BYTE, _WIDE):
        raise ValueError(f"ids must begin with {_BYTE} or {_WIDE}, got {text[:1]!r}")
    ids = np.frombuffer(data, dtype="u1" if text[:1] == _BYTE else "<u4")
    if ids.max(initial=0) >= vocab_size:
        raise CodecError(
            f"token ids must lie in 0..{vocab_size - 1}, got {ids.max()}; the snapshot is of "
            "another codec"
        )
    return tuple(ids.tolist())


def pack_state(state: ReasonState) -> list[Any]:
    """Write a state as a JSON-able list."""
    return [
        state.problem.problem_id,
        pack_ids(state.response),
        source_runs(state.sources),
        [piece.to_json() for piece in state.guidance],
        verdict_to_json(state.verdict),
    ]


def unpack_state(data: Any, *, problems: ProblemSet, codec: Codec) -> ReasonState:
    """Read what `pack_state` wrote.

    Args:
        data: The list, as JSON reads it.
        problems: The set that holds the state's problem.
        codec: The codec of the ids.

    Raises:
        CodecError: An id lies outside the vocabulary.
        LookupError: The list is too short, or there is no such problem.
        StateError: Guidance or token sources are malformed.
        TypeError: The data is no packed state.
        ValueError: The data is no packed state.
    """
    problem_id, ids, runs, guidance, verdict = data
    response = unpack_ids(ids, codec.vocab_size)
    return ReasonState(
        problem=problems.by_id(problem_id),
        codec=codec,
        guidance=tuple(map(Guidance.from_json, guidance)),
        response=response,
        sources=expand_sources(runs, len(response)),
        verdict=verdict_from_json(verdict),
    )
