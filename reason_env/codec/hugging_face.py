"""HuggingFaceCodec: a tokenizer of `transformers` as a codec.

A response is encoded and decoded in pieces, so the codec adds no space before a text and removes
none, even if the tokenizer does (Llama 2); `encode_prompt` encodes as the tokenizer does. For most
tokenizers a table decodes (`token_bytes.py`); other decoders look at neighbours, and the tokenizer
decodes.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from reason_env.codec.delimiters import BLANKS, delimiter_of
from reason_env.codec.token_bytes import byte_table, continuing
from reason_env.errors import CodecError


class HuggingFaceCodec:
    """A Hugging Face tokenizer as a codec.

    Text round-trips as far as the tokenizer allows: with byte-level tokenizers always, unless they
    normalise (Qwen's compose accents) or have no token for a byte, which they drop (SmolLM2's have
    none for some control characters and for planes 4 to 11 of Unicode).

    Text is data: a written-out `<|end|>` encodes to characters, never to the special token. End
    tokens decode to the empty string and every other special token as it is written: a response
    `#### 4<|pad|>2` answers `4<|pad|>2`, neither 42 nor 4.
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
        return tuple(self._continuing.encode(encodable(text), add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """Encode the characters of a text that a sequence begins with, as the tokenizer does."""
        return tuple(
            self.tokenizer.encode(
                encodable(text), add_special_tokens=False, split_special_tokens=True
            )
        )

    @cached_property
    def special_tokens(self) -> dict[str, Any]:
        """Text -> the `AddedToken` of each special token, the longest text first."""
        tokens = [one for one in self.tokenizer.added_tokens_decoder.values() if one.special]
        return {one.content: one for one in sorted(tokens, key=lambda one: -len(one.content))}

    @cached_property
    def special_pattern(self) -> re.Pattern[str]:
        """Finds special tokens that are written out in a text."""
        return re.compile("|".join(map(re.escape, self.special_tokens)) or r"(?!)")

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


def encodable(text: str) -> str:
    r"""The text that a tokenizer can take: lone surrogates become "?".

    >>> encodable("a\ud800")
    'a?'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


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
