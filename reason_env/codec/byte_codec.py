"""ByteCodec: the bytes of UTF-8 as token ids, without any files."""

import codecs
import contextlib
from collections.abc import Sequence

from reason_env.codec.delimiters import BLANKS, delimiter_of

PAD_ID = 256
EOS_ID = 257


class ByteCodec:
    r"""UTF-8 bytes as ids 0..255, then pad (256) and end (257).

    Every string round-trips, lone surrogates included. Bytes that are not UTF-8 decode to U+FFFD.

    >>> codec = ByteCodec()
    >>> codec.encode("x=√2")
    (120, 61, 226, 136, 154, 50)
    >>> codec.decode(codec.encode("\ud800 √2")) == "\ud800 √2"
    True
    >>> codec.decode([120, 226, 257])
    'x�'
    """

    vocab_size = 258
    eos_id = EOS_ID
    end_ids = (EOS_ID,)
    pad_id = PAD_ID
    max_token_chars = 1

    def __init__(self, step_delimiter: str = "\n") -> None:
        """Create the codec.

        Args:
            step_delimiter: Text that ends a reasoning step, or one of the names in `DELIMITERS`.
        """
        self.step_delimiter = delimiter_of(step_delimiter)
        self._delimiter_ids = self.encode(self.step_delimiter)

    @property
    def codec_id(self) -> str:
        """Identity by content."""
        return f"bytes-{self.step_delimiter!r}"

    def encode(self, text: str) -> tuple[int, ...]:
        """The UTF-8 bytes of `text` (surrogates in their three-byte form)."""
        return tuple(text.encode("utf-8", "surrogatepass"))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decode ids; the end is empty; the pad and broken sequences become U+FFFD."""
        try:
            data = bytes(token_ids)
        except ValueError:
            # Byte 255 is in no text.
            data = bytes(min(token, 255) for token in token_ids if token != EOS_ID)
        return data.decode("utf-8", _BROKEN)

    def ends_step(self, step_token_ids: Sequence[int]) -> bool:
        """Whether these ids end with the delimiter's bytes, after white space at the beginning."""
        size = len(self._delimiter_ids)
        if tuple(step_token_ids[-size:]) != self._delimiter_ids:
            return False
        return _first_text(step_token_ids, 0) <= len(step_token_ids) - size

    def step_ends(self, token_ids: Sequence[int], begin: int, known: int) -> tuple[int, ...]:
        """Compute the function `step_ends` by a search in the bytes."""
        delimiter = bytes(self._delimiter_ids)
        first = max(_first_text(token_ids, begin), known + 1 - len(delimiter))
        try:
            data = bytes(token_ids[first:])
        except ValueError:
            # Pad and end are in no delimiter, as byte 255.
            data = bytes(min(token, 255) for token in token_ids[first:])
        ends: list[int] = []
        at = data.find(delimiter)
        while at >= 0:
            at += len(delimiter)
            ends.append(first + at)
            at = data.find(delimiter, _first_text(data, at))
        return tuple(ends)

    def has_text(self, token_ids: Sequence[int]) -> bool:
        """Compute the function `has_text`."""
        return any(token not in _BLANK_BYTES and token != EOS_ID for token in token_ids)


_BLANK_BYTES = frozenset(BLANKS.encode())


def _first_text(token_ids: Sequence[int], begin: int) -> int:
    """The index of the first byte from `begin` on that is no white space, or the length."""
    while begin < len(token_ids) and token_ids[begin] in _BLANK_BYTES:
        begin += 1
    return begin


def _surrogate_or_replacement(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8: a surrogate's three bytes, else one byte as U+FFFD."""
    assert isinstance(error, UnicodeDecodeError), "registered for decoding"
    data, start = error.object, error.start
    if data[start] == _SURROGATE_LEAD:
        with contextlib.suppress(UnicodeDecodeError):
            return data[start : start + 3].decode("utf-8", "surrogatepass"), start + 3
    return "\ufffd", start + 1


_SURROGATE_LEAD = 0xED
_BROKEN = "reason_env.surrogate_or_replacement"
codecs.register_error(_BROKEN, _surrogate_or_replacement)
