"""Codec: the protocol of a tokenizer, and the check of token ids."""

import contextlib
import operator
from collections.abc import Iterable, Sequence
from typing import Protocol

from reason_env.errors import CodecError, shown


class Codec(Protocol):
    """What the environment and the agents need of a tokenizer."""

    @property
    def codec_id(self) -> str:
        """Identity by content: equal `codec_id` means equal vocabulary and delimiter."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids; valid ids are 0..vocab_size-1."""
        ...

    @property
    def eos_id(self) -> int:
        """The id that the environment appends to end a response."""
        ...

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Every id that ends a response, `eos_id` first; none decodes to any text."""
        ...

    @property
    def pad_id(self) -> int:
        """The id that fills arrays; never meaningful inside a mask."""
        ...

    @property
    def step_delimiter(self) -> str:
        """The text that ends a reasoning step."""
        ...

    @property
    def max_token_chars(self) -> int:
        """Most characters that one token decodes to."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode `text`, without special tokens, as the continuation of another text."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decode ids; valid ids never raise.

        End tokens give the empty string. Every other id gives text, so that a special token inside
        a response separates what is before it from what is after it.
        """
        ...

    def ends_step(self, step_token_ids: Sequence[int]) -> bool:
        """Whether the last of these ids closes the step that they begin (the others do not).

        If decoding joins the texts of ids, an id that closes a step alone always closes one.
        """
        ...


_NUM_BYTES = 256


def check_token_ids(codec: Codec, token_ids: Iterable[int]) -> tuple[int, ...]:
    """Convert ids to Python integers and check that they are in the vocabulary.

    Raises:
        CodecError: An id is no integer, or outside 0..vocab_size-1.
    """
    if codec.vocab_size >= _NUM_BYTES and type(token_ids) in (list, tuple):
        # If every id is below 256, bytes() checks them all, many times faster.
        with contextlib.suppress(TypeError, ValueError):
            return tuple(bytes(token_ids))
    try:
        ids = tuple(map(operator.index, token_ids))
    except TypeError as error:
        raise CodecError(f"token ids must be integers, got {shown(token_ids)}; {error}") from error
    if ids and not (min(ids) >= 0 and max(ids) < codec.vocab_size):
        wrong = next(token for token in ids if not 0 <= token < codec.vocab_size)
        raise CodecError(
            f"token ids must lie in 0..{codec.vocab_size - 1}, got {shown(wrong)}; "
            "encode the text with this environment's codec"
        )
    return ids
