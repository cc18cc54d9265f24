"""Codecs: text <-> token ids, and where a reasoning step ends.

A step boundary is an index into token ids, never into text, so that cutting a response at a step
is exact. The step delimiter therefore belongs to the codec: a step ends with the first token after
which the text since the last boundary, without the white space that it begins with, contains the
delimiter. A blank line therefore is no step; it belongs to the step that follows.

The built-in `ByteCodec` is lossless for every Python string and has 258 ids and no files.
`HuggingFaceCodec` wraps any Hugging Face tokenizer and re-encodes nothing: ids stay ids.

A response is encoded and decoded in pieces, so the codec adds no space before a text and removes
none, even if the tokenizer does (Llama 2); `encode_prompt` encodes as the tokenizer does. For most
tokenizers a table decodes (`token_bytes.py`); other decoders look at neighbours, and the tokenizer
decodes.
"""

import codecs
import contextlib
import hashlib
import json
import logging
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from reason_env.errors import CodecError, ModelError, shown
from reason_env.token_bytes import byte_table, continuing

BLANKS = " \t\n\r\v\f"
"""White space: the ASCII characters, each a single byte, so that it is found in bytes too."""
DELIMITERS = {"line": "\n", "paragraph": "\n\n"}
"""Step delimiters by name."""
_LOGGER = logging.getLogger(__name__)


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

        An id that closes a step alone also closes it after any other ids.
        """
        ...


_NUM_BYTES = 256
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


class HuggingFaceCodec:
    """A Hugging Face tokenizer as a codec.

    Text round-trips as far as the tokenizer allows: with byte-level tokenizers always, unless they
    normalise (Qwen's compose accents). Text is data: a written-out `<|end|>` encodes to characters,
    never to the special token. End tokens decode to the empty string and every other special token
    as it is written: a response `#### 4<|pad|>2` answers `4<|pad|>2`, neither 42 nor 4.
    """

    def __init__(
        self, tokenizer: Any, step_delimiter: str = "\n", *, end_ids: Sequence[int] = ()
    ) -> None:
        """Wrap `tokenizer`.

        Args:
            tokenizer: A `transformers` tokenizer, fast or slow, with an end token.
            step_delimiter: Text that ends a reasoning step, or one of the names in `DELIMITERS`.
            end_ids: Ids that end a response as the tokenizer's end token does, such as the end of a
                turn; `load_codec` takes them from the model's files.

        Raises:
            CodecError: The tokenizer has no end token, an end is no special token, or the
                delimiter is empty.
        """
        step_delimiter = delimiter_of(step_delimiter)
        if tokenizer.eos_token_id is None:
            raise CodecError(
                "tokenizer must have an eos_token, got None; set tokenizer.eos_token before use"
            )
        self.tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        copy = None if backend is None else continuing(backend)
        self._continuing: Any = None if copy is backend else copy
        """The tokenizer without its space before a text; None if it puts none there."""
        self.step_delimiter = step_delimiter
        self.eos_id = int(tokenizer.eos_token_id)
        self.end_ids = _checked_ends(tokenizer, (self.eos_id, *end_ids))
        pad = tokenizer.pad_token_id
        self.pad_id = self.eos_id if pad is None else int(pad)
        special_ids = sorted(map(int, tokenizer.all_special_ids))
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        # Not len(tokenizer), because a vocabulary may have holes below its largest id.
        self.vocab_size = int(vocabulary[-1][1]) + 1
        # A word-level decoder may put a space between two tokens.
        self.max_token_chars = 1 + max(len(token) for token, _ in vocabulary)
        content = (vocabulary, self.eos_id, special_ids, *sorted(self.end_ids[1:]))
        digest = hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()
        self.codec_id = f"hf-{digest[:16]}-{step_delimiter!r}"
        self._token_texts: dict[int, str] = {}

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode the characters; lone surrogates become "?"."""
        if self._continuing is None:
            return self.encode_prompt(text)
        return tuple(self._continuing.encode(_encodable(text), add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """Encode the characters of a text that a sequence begins with, as the tokenizer does."""
        return tuple(
            self.tokenizer.encode(
                _encodable(text), add_special_tokens=False, split_special_tokens=True
            )
        )

    @cached_property
    def beginning_ids(self) -> tuple[int, ...]:
        """What the tokenizer puts before a text: the begin token of many, nothing of others."""
        whole = self.tokenizer.encode(_SHORT, add_special_tokens=True)
        text = self.tokenizer.encode(_SHORT, add_special_tokens=False)
        sizes = (at for at in range(len(whole)) if whole[at : at + len(text)] == text)
        size = next(sizes, None)
        if size is None:
            raise CodecError(
                f"a tokenizer must put special tokens around a text only, got {whole} for a text "
                f"of {text}; use bos 'never'"
            )
        return tuple(whole[:size])

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...] | None:
        """The bytes of each id if decoding only joins them, else None."""
        return byte_table(self._continuing or self.tokenizer, self.end_ids, self.vocab_size)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decode ids without end tokens."""
        known = self.token_bytes
        if known is not None:
            return b"".join([known[token] for token in token_ids]).decode("utf-8", "replace")
        kept = [int(token) for token in token_ids if int(token) not in self.end_ids]
        if self._continuing is not None:
            return self._continuing.decode(kept, skip_special_tokens=False)
        return self.tokenizer.decode(
            kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def ends_step(self, step_token_ids: Sequence[int]) -> bool:
        """Whether the text of these ids, white space at its beginning apart, has the delimiter."""
        return self.may_end_step(step_token_ids[-1]) and (
            self.step_delimiter in self.decode(step_token_ids).lstrip(BLANKS)
        )

    def may_end_step(self, token_id: int) -> bool:
        """Whether the token closes a step after some ids: its text has the delimiter's last part.

        A token may hold only the last bytes of a character, and then decodes to U+FFFD alone.
        """
        text = self.token_text(token_id)
        return self.step_delimiter[-1] in text or text.startswith("\ufffd")

    def token_text(self, token_id: int) -> str:
        """The text of a token alone."""
        text = self._token_texts.get(token_id)
        if text is None:
            text = self._token_texts.setdefault(int(token_id), self.decode([token_id]))
        return text


_SHORT = "1"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def step_ends(
    codec: Codec, token_ids: Sequence[int], *, begin: int = 0, known: int = 0
) -> tuple[int, ...]:
    r"""Find the index just after each step that closes in `token_ids[known:]`.

    The blank line of a paragraph begins the next step:

    Args:
        codec: Defines the delimiter.
        token_ids: The whole response.
        begin: Where the step that is open at index `known` begins.
        known: No token between `begin` and this index closes a step.

    >>> codec = ByteCodec()
    >>> step_ends(codec, codec.encode("ab\nc\nd"))
    (3, 5)
    >>> step_ends(codec, codec.encode("First.\n\nThen.\n"))
    (7, 14)
    >>> step_ends(codec, codec.encode("ab\nc\nd"), begin=3, known=4)
    (5,)
    """
    if type(codec) is ByteCodec:
        return codec.step_ends(token_ids, begin, known)
    may_end = codec.may_end_step if type(codec) is HuggingFaceCodec else None
    ends: list[int] = []
    for end in range(max(begin, known) + 1, len(token_ids) + 1):
        if may_end is not None and not may_end(token_ids[end - 1]):
            continue
        if codec.ends_step(token_ids[begin:end]):
            ends.append(end)
            begin = end
    return tuple(ends)


def has_text(codec: Codec, token_ids: Sequence[int]) -> bool:
    r"""Whether any of these tokens alone has text other than white space.

    >>> has_text(ByteCodec(), (10, 32, 257)), has_text(ByteCodec(), (10, 65))
    (False, True)
    """
    if type(codec) is ByteCodec:
        return any(token not in _BLANK_BYTES and token != EOS_ID for token in token_ids)
    text_of = codec.token_text if type(codec) is HuggingFaceCodec else _text_of(codec)
    return any(text_of(token).strip(BLANKS) for token in token_ids)


def _text_of(codec: Codec) -> Callable[[int], str]:
    return lambda token: codec.decode((token,))


def delimiter_of(given: str) -> str:
    r"""The step delimiter that is given by its name or as itself.

    >>> delimiter_of("paragraph"), delimiter_of(";")
    ('\n\n', ';')

    Raises:
        CodecError: It is empty.
    """
    if not given:
        raise CodecError(
            f"step_delimiter must be a text or one of {', '.join(DELIMITERS)}, got ''; use 'line'"
        )
    return DELIMITERS.get(given, given)


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


def load_codec(name: str, *, step_delimiter: str = "\n") -> Codec:
    r"""Load the built-in codec "bytes", or the tokenizer of a model directory or hub name.

    >>> load_codec("bytes").codec_id
    "bytes-'\\n'"

    Raises:
        ModelError: No tokenizer can be loaded from there.
    """
    if name == "bytes":
        return ByteCodec(step_delimiter)
    import transformers

    loader: Any = transformers.AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(
            f"{name!r} must be 'bytes' or hold a Hugging Face tokenizer, and none could be loaded "
            f"from it ({first_line[:200]}); save one there with tokenizer.save_pretrained"
        ) from error
    return HuggingFaceCodec(tokenizer, step_delimiter, end_ids=_declared_ends(name, tokenizer))


def _declared_ends(name: str, tokenizer: Any) -> tuple[int, ...]:
    """Read the end tokens that a model's files declare; drop ordinary tokens with a warning.

    The default values of a model's config name ids of another tokenizer: `LlamaConfig` has 2.
    """
    import transformers.utils.hub

    hub: Any = transformers.utils.hub

    declared: list[int] = []
    for file in ("generation_config.json", "config.json"):
        path = hub.cached_file(name, file, _raise_exceptions_for_missing_entries=False)
        if path is None:
            continue
        value = json.loads(Path(path).read_text(encoding="utf-8")).get("eos_token_id")
        declared += value if isinstance(value, list) else [] if value is None else [value]
    known = frozenset(map(int, tokenizer.added_tokens_decoder)) | {int(tokenizer.eos_token_id or 0)}
    ends = tuple(dict.fromkeys(declared))
    ordinary = [end for end in ends if end not in known]
    if ordinary:
        _LOGGER.warning(
            "the files of %s declare end tokens %s, which are ordinary tokens of its tokenizer; "
            "they do not end a response",
            shown(name),
            ordinary,
        )
    return tuple(end for end in ends if end in known)


def _checked_ends(tokenizer: Any, end_ids: Sequence[int]) -> tuple[int, ...]:
    """The distinct end tokens; no text may encode to one."""
    ends = tuple(dict.fromkeys(int(end) for end in end_ids))
    for end in ends[1:]:
        text = tokenizer.convert_ids_to_tokens(end)
        ids = tokenizer.encode(text or "", add_special_tokens=False, split_special_tokens=True)
        if text is None or end in ids:
            raise CodecError(
                f"end tokens must be special tokens of the tokenizer, got {end} ({text!r}); "
                "add it with tokenizer.add_special_tokens, or leave it out"
            )
    return ends
