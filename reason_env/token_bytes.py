"""The bytes of a tokenizer's ids, where the text of ids is their bytes joined and read as UTF-8.

Byte-level tokenizers (GPT-2, Qwen, Llama 3) write each byte of a token as one visible character;
decoding them needs no tokenizer. Other decoders add spaces, strip prefixes or look at neighbours:
those are left to the tokenizer itself.
"""

from collections.abc import Collection
from typing import Any

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = sorted(set(range(0x100)) - set(_VISIBLE))
BYTE_OF_CHARACTER: dict[str, int] = {chr(byte): byte for byte in _VISIBLE} | {
    chr(0x100 + place): byte for place, byte in enumerate(_HIDDEN)
}
"""The byte that each character of a byte-level vocabulary stands for.

A visible byte of Latin-1 is its own character; the others, in order, are those from U+0100 on.
"""
_PIECE = 4096


def byte_table(
    tokenizer: Any, special_ids: Collection[int], vocab_size: int
) -> tuple[bytes, ...] | None:
    """Returns each id's bytes, [vocab_size]; None where texts are not those bytes joined.

    Args:
        tokenizer: A `transformers` tokenizer.
        special_ids: Ids whose text is empty.
        vocab_size: Number of ids; one that no token has is empty too.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(backend, "decoder", None)).__name__ != "ByteLevel":
        return None
    known = [token for token in range(vocab_size) if token not in special_ids]
    table = [b""] * vocab_size
    for token in known:
        table[token] = _bytes_of(backend.id_to_token(token) or "")
    # The tokenizer has the last word: a class of its own may decode as it likes.
    for ids in (known, known[::-1]):
        for begin in range(0, vocab_size, _PIECE):
            piece = ids[begin : begin + _PIECE]
            text = b"".join(table[token] for token in piece).decode("utf-8", "replace")
            if text != tokenizer.decode(
                piece, skip_special_tokens=False, clean_up_tokenization_spaces=False
            ):
                return None
    return tuple(table)


def _bytes_of(token: str) -> bytes:
    try:
        return bytes([BYTE_OF_CHARACTER[character] for character in token])
    except KeyError:
        # An added token that is written as it is meant.
        return token.encode("utf-8", "replace")
