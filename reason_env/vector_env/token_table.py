"""TokenTable: the effect of each token on an episode, computed once per codec, as arrays.

A small automaton tracks whether a response can hold an answer. It reads the signs that every answer
needs ("####", a box). If the text of ids is the joined text of each id, its states are the part of
a sign that the response ends with, and the last state is "holds a sign"; this is exact, and no text
has to be decoded. Other decoders may change a token's text by its neighbours. With those, a token
that holds the first character of a sign makes a response suspect, until a step closes and its text
shows no sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.codec import BLANKS, ByteCodec, Codec, HuggingFaceCodec
from reason_env.env import COMMITMENT_SIGNS

Bools = np.ndarray[Any, np.dtype[np.bool_]]
SIGN_PARTS: tuple[str, ...] = tuple(
    sorted({sign[:size] for sign in COMMITMENT_SIGNS for size in range(len(sign))}, key=len)
)
"""Beginnings of signs, the empty one first: the states before the last."""
_FIRSTS = {sign[0] for sign in COMMITMENT_SIGNS}
_RESTS = tuple({sign[size:] for sign in COMMITMENT_SIGNS for size in range(1, len(sign))})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenTable:
    """Arrays over the vocabulary."""

    ends: Bools
    """The token ends the response, [vocab_size]."""
    closes: Bools
    """The token ends a reasoning step after any other tokens, [vocab_size]."""
    closes_text: Bools
    """The token ends the step if any text precedes it in the step, [vocab_size]."""
    may_close: Bools
    """Whether it ends one depends on the tokens before it, [vocab_size]."""
    is_blank: Bools
    """The token alone has no text other than white space, [vocab_size]."""
    next_sign: np.ndarray[Any, np.dtype[np.uint8]]
    """State before, token -> state after, [states, vocab_size]; 0 is "no sign"."""
    suspect: int
    """From this state on, the text of a closed step must be decoded."""

    @property
    def seen(self) -> int:
        """The last state, which no token leaves: the response holds a sign, or may hold one."""
        return len(self.next_sign) - 1


def token_table(codec: Codec) -> TokenTable:
    r"""Compute the table of a codec.

    >>> from reason_env import ByteCodec
    >>> table = token_table(ByteCodec())
    >>> table.closes.nonzero()[0].tolist(), table.may_close.any(), table.next_sign.shape
    ([], np.False_, (13, 258))
    >>> table.closes_text.nonzero()[0].tolist(), table.is_blank.nonzero()[0].tolist()
    ([10], [9, 10, 11, 12, 13, 32, 257])
    >>> token_table(ByteCodec("\n\n")).may_close.nonzero()[0].tolist()
    [10]
    """
    last = codec.step_delimiter[-1]
    # A token may hold the last bytes of a character: alone it decodes to U+FFFD.
    broken = "" if last.isascii() else "\ufffd"
    texts = [codec.decode((token,)) for token in range(codec.vocab_size)]
    candidates = np.array([last in text or text[:1] == broken != "" for text in texts])
    is_joined = decodes_by_joining(codec)
    closes = np.zeros(codec.vocab_size, dtype=np.bool_)
    # Where neighbours change a token's text, what it does alone says nothing.
    for token in np.flatnonzero(candidates & is_joined).tolist():
        closes[token] = codec.ends_step((token,))
    ends = np.zeros(codec.vocab_size, dtype=np.bool_)
    ends[list(codec.end_ids)] = True
    has_delimiter = np.array([is_joined and codec.step_delimiter in text for text in texts])
    next_sign = _exact_states(texts) if is_joined else _suspect_states(texts)
    return TokenTable(
        ends=ends,
        closes=closes,
        closes_text=has_delimiter & ~closes,
        may_close=candidates & ~closes & ~has_delimiter,
        is_blank=np.array([not text.strip(BLANKS) for text in texts]),
        next_sign=next_sign,
        suspect=len(next_sign) - 1 if is_joined else 1,
    )


def decodes_by_joining(codec: Codec) -> bool:
    """Whether the ASCII text of ids is the joined text of each id.

    Bytes beyond ASCII may combine with their neighbours to one character; no sign has any.
    """
    if type(codec) is HuggingFaceCodec:
        return codec.token_bytes is not None
    return type(codec) is ByteCodec


def sign_state(text: str) -> int:
    r"""The automaton's state after `text`, if ids are decoded by joining.

    >>> [SIGN_PARTS[sign_state(text)] for text in ("2 x", "a \\bo", "###", "##x#")]
    ['', '\\bo', '###', '#']
    >>> sign_state("a #### 7") == len(SIGN_PARTS)
    True
    """
    if any(sign in text for sign in COMMITMENT_SIGNS):
        return len(SIGN_PARTS)
    return next(
        state for state in reversed(range(len(SIGN_PARTS))) if text.endswith(SIGN_PARTS[state])
    )


def _exact_states(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The transition table of `sign_state`."""
    table = np.zeros((len(SIGN_PARTS) + 1, len(texts)), dtype=np.uint8)
    for token, text in enumerate(texts):
        if not text:
            table[:, token] = range(len(table))
        elif (
            not _FIRSTS.isdisjoint(text)
            or text.startswith(_RESTS)
            or any(rest.startswith(text) for rest in _RESTS)
        ):
            table[:-1, token] = [sign_state(part + text) for part in SIGN_PARTS]
    table[-1] = len(SIGN_PARTS)
    return table


def _suspect_states(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Three states: no sign, suspect, and "holds a sign", which only decoding can decide."""
    holds = np.array([not _FIRSTS.isdisjoint(text) for text in texts], dtype=np.uint8)
    return np.stack([holds, np.full_like(holds, 1), np.full_like(holds, 2)])
