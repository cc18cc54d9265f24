"""The bytes of each id, and tokenizers that continue a text instead of beginning one.

Two families of tokenizers decode ids by joining the bytes of each:

    byte-level     GPT-2, Qwen, Llama 3, SmolLM2: each byte of a token is one visible character
    SentencePiece  Llama 2, Mistral, Gemma: a space is U+2581, and a byte without a token is a token
                   such as `<0xE2>`

Many of SentencePiece's put a space before a text that they encode and remove one from a text that
they decode. A response is encoded and decoded in pieces, so that this would put a space into each
piece: `continuing` makes a copy of the tokenizer that does neither.

Not covered: decoders that look at neighbours, as WordPiece's; for those the tokenizer decodes.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = sorted(set(range(0x100)) - set(_VISIBLE))
BYTE_OF_CHARACTER: dict[str, int] = {chr(byte): byte for byte in _VISIBLE} | {
    chr(0x100 + place): byte for place, byte in enumerate(_HIDDEN)
}
"""Character of a byte-level vocabulary -> byte.

A visible byte of Latin-1 is its own character; the other bytes, in order, are U+0100 and up.
"""
_SPACE = "\u2581"
"""A space in SentencePiece's vocabularies."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_PIECE = 4096


def continuing(backend: Any) -> Any:
    """Copy a tokenizer of the `tokenizers` library so that it treats each text as a continuation.

    Args:
        backend: Returned itself if it adds no space before a text and removes none.
    """
    names = ("normalizer", "pre_tokenizer", "decoder")
    parts = {name: _settings_of(getattr(backend, name)) for name in names}
    changed = {name: _without_edge_space(part, name) for name, part in parts.items()}
    if changed == parts:
        return backend
    copy = backend.from_str(json.dumps(json.loads(backend.to_str()) | changed))
    # Special tokens that are written out are text.
    copy.encode_special_tokens = True
    return copy


def byte_table(
    tokenizer: Any, silent_ids: Collection[int], vocab_size: int
) -> tuple[bytes, ...] | None:
    """The bytes of each id, [vocab_size]; None if decoding does more than join them.

    Args:
        tokenizer: A `transformers` tokenizer, or one of the `tokenizers` library.
        silent_ids: Ids whose text is empty.
        vocab_size: Number of ids; unused ids are empty too.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    steps = _steps_of(_settings_of(getattr(backend, "decoder", None)))
    kinds = [step["type"] for step in steps]
    known = [token for token in range(vocab_size) if token not in silent_ids]
    if kinds == ["ByteLevel"]:
        table = {token: _visible_bytes(backend.id_to_token(token) or "") for token in known}
        compared = known
    elif all(map(_joins, steps)) and {"Replace", "Metaspace"}.intersection(kinds):
        names = {token: backend.id_to_token(token) or "" for token in known}
        bytes_of = {
            token: bytes.fromhex(found[1])
            for token, name in names.items()
            if "ByteFallback" in kinds and (found := _BYTE_TOKEN.fullmatch(name))
        }
        table = {token: name.replace(_SPACE, " ").encode() for token, name in names.items()}
        table |= bytes_of
        # A run of bytes is replaced as a whole by the library if one of them is no UTF-8.
        compared = [token for token in known if token not in bytes_of or table[token].isascii()]
    else:
        return None
    options = {"skip_special_tokens": False}
    if backend is not tokenizer:
        options["clean_up_tokenization_spaces"] = False
    # Compare with the tokenizer, because a subclass may decode differently.
    for ids in (compared, compared[::-1]):
        for begin in range(0, len(ids), _PIECE):
            piece = ids[begin : begin + _PIECE]
            text = b"".join(table[token] for token in piece).decode("utf-8", "replace")
            if text != tokenizer.decode(piece, **options):
                return None
    return tuple(table.get(token, b"") for token in range(vocab_size))


def _joins(step: Mapping[str, Any]) -> bool:
    """Whether a step of SentencePiece's decoder keeps what neighbours write."""
    if step["type"] == "Replace":
        return (step["pattern"], step["content"]) == ({"String": _SPACE}, " ")
    if step["type"] == "Metaspace":
        return (step["replacement"], step["prepend_scheme"]) == (_SPACE, "never")
    return step["type"] in ("ByteFallback", "Fuse")


def _visible_bytes(token: str) -> bytes:
    try:
        return bytes([BYTE_OF_CHARACTER[character] for character in token])
    except KeyError:
        # An added token holds its text itself.
        return token.encode("utf-8", "replace")


_LISTS = ("normalizers", "pretokenizers", "decoders")
"""Keys of the parts of a sequence."""


def _settings_of(part: Any) -> Any:
    """The settings of a normalizer, pre-tokenizer or decoder, as JSON; None for none."""
    return None if part is None else json.loads(part.__getstate__())


def _steps_of(settings: Any) -> list[dict[str, Any]]:
    """The parts of a sequence, in order; of another part, itself."""
    if settings is None:
        return []
    nested = next((settings[key] for key in _LISTS if key in settings), None)
    if nested is None:
        return [settings]
    return [step for part in nested for step in _steps_of(part)]


def _without_edge_space(settings: Any, name: str) -> Any:
    """The settings of a part that neither adds nor removes a space at a text's beginning.

    Args:
        settings: None for no part.
        name: "normalizer", "pre_tokenizer" or "decoder".
    """
    if settings is None:
        return None
    for key in _LISTS:
        if key in settings:
            parts = [_without_edge_space(part, name) for part in settings[key]]
            return settings | {key: [part for part in parts if part is not None]}
    kind = settings["type"]
    if kind == "Prepend" or (kind == "Strip" and settings.get("content") == " "):
        return None
    if kind == "Metaspace":
        return settings | {"prepend_scheme": "never"}
    # A byte-level decoder has the same setting and does not use it.
    if kind == "ByteLevel" and name == "pre_tokenizer":
        return settings | {"add_prefix_space": False}
    return settings
