"""The table of tokens: the bytes of each, and the answer signs that it begins or ends."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.codec.token_bytes import BYTE_OF_CHARACTER, byte_table
from reason_env.env import COMMITMENT_SIGNS
from reason_env.vector_env.token_table import (
    SIGN_PARTS,
    decodes_by_joining,
    sign_state,
    token_table,
)

CHARACTER_OF_BYTE = {byte: character for character, byte in BYTE_OF_CHARACTER.items()}


def written(data: bytes) -> str:
    return "".join(CHARACTER_OF_BYTE[byte] for byte in data)


def tokenizer_of(decoder, pieces=(), *, kind=PreTrainedTokenizerFast):
    """Every byte, some pieces, an end token and two added ones."""
    vocabulary = {written(bytes([byte])): byte for byte in range(256)}
    for place, piece in enumerate(pieces, 256):
        vocabulary[written(piece)] = place
    vocabulary["<|end|>"] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoder
    tokenizer = kind(tokenizer_object=backend, eos_token="<|end|>")
    tokenizer.add_tokens([AddedToken("so √ it", normalized=False), AddedToken("yes")])
    return tokenizer


PIECES = (b"\xe2\x88", b"\x9a#", b"\\bo", b" 7\n", b"##", b"xed", b"d x#", b"oxe")
PIECES += (b"#####", b"#\\fb", b"box{", b"\n\n\\f")
CODEC = HuggingFaceCodec(tokenizer_of(decoders.ByteLevel(), PIECES))


def test_the_characters_are_those_of_the_tokenizers_library():
    assert sorted(BYTE_OF_CHARACTER) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF_CHARACTER.values()) == list(range(256))
    cases = {"A": 0x41, "Ġ": 0x20, "Ċ": 0x0A, "Ā": 0, "ł": 0xA0, "Ń": 0xAD, "ÿ": 0xFF, "â": 0xE2}
    assert {character: BYTE_OF_CHARACTER[character] for character in cases} == cases


def test_each_id_has_its_bytes_and_special_ones_none():
    table = CODEC.token_bytes
    assert table is not None
    assert len(table) == CODEC.vocab_size == 271
    assert table[0x41] == b"A"
    assert table[256:268] == PIECES
    assert (CODEC.eos_id, table[268]) == (268, b"")
    assert table[269:] == ("so √ it".encode(), b"yes")


def test_an_id_without_a_token_decodes_to_nothing():
    backend = Tokenizer(models.BPE({"A": 0, "B": 1, "<|end|>": 5}, []))
    backend.decoder = decoders.ByteLevel()
    codec = HuggingFaceCodec(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>"))
    assert codec.token_bytes == (b"A", b"B", b"", b"", b"", b"")
    assert codec.decode([1, 3, 0]) == codec.tokenizer.decode([1, 3, 0]) == "BA"


@given(st.lists(st.integers(0, CODEC.vocab_size - 1), max_size=30))
@settings(deadline=None)
def test_joined_bytes_are_what_the_tokenizer_decodes(ids):
    kept = [token for token in ids if token != CODEC.eos_id]
    assert CODEC.decode(ids) == CODEC.tokenizer.decode(kept)


@given(st.lists(st.sampled_from((0xE2, 0x88, 0x9A, 0xF0, 0x9F, 0xED, 0xA0, 256, 257)), max_size=8))
@settings(deadline=None)
def test_broken_characters_are_replaced_as_the_tokenizer_replaces_them(ids):
    assert CODEC.decode(ids) == CODEC.tokenizer.decode(ids)


def test_other_decoders_are_left_to_the_tokenizer():
    for decoder in (
        decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]),
        decoders.WordPiece("##"),
    ):
        codec = HuggingFaceCodec(tokenizer_of(decoder, PIECES))
        assert codec.token_bytes is None
        ids = random.Random(0).choices(range(0x21, 0x7F), k=20)
        assert codec.decode([*ids, codec.eos_id]) == codec.tokenizer.decode(ids)


class Shouting(PreTrainedTokenizerFast):
    """Decodes as it likes."""

    def _decode(self, *args, **kwargs):
        return super()._decode(*args, **kwargs).replace("yes", "YES")


class Backwards(PreTrainedTokenizerFast):
    """Hides what follows an end of line, which only an order of ids shows."""

    def _decode(self, *args, **kwargs):
        text = super()._decode(*args, **kwargs)
        return text.replace("BA", "ba")


def test_a_tokenizer_with_a_custom_decode_is_called_instead_of_the_table():
    for kind, ids, text in ((Shouting, (0x41, 270), "AYES"), (Backwards, (0x42, 0x41), "ba")):
        codec = HuggingFaceCodec(tokenizer_of(decoders.ByteLevel(), PIECES, kind=kind))
        assert byte_table(codec.tokenizer, {codec.eos_id}, codec.vocab_size) is None
        assert codec.decode(ids) == text


def test_a_tokenizer_without_a_backend_has_no_table():
    assert byte_table(object(), (), 4) is None


TABLES = {codec.codec_id: token_table(codec) for codec in (ByteCodec(), CODEC)}


def followed(codec, ids):
    """Follows the table over the ids."""
    table, state = TABLES[codec.codec_id], 0
    for token in ids:
        state = int(table.next_sign[state, token])
    return state


SPELT = (
    "#",
    "##",
    "####",
    "\\",
    "\\b",
    "boxed",
    "fb",
    "ox",
    "xed",
    "d",
    "{7}",
    "√",
    "\n",
    " ",
    "x",
)


@pytest.mark.parametrize("codec", [ByteCodec(), CODEC], ids=["bytes", "tokenizer"])
@given(
    parts=st.lists(st.sampled_from(SPELT) | st.lists(st.integers(0, 257), max_size=2), max_size=12)
)
@settings(deadline=None, max_examples=300)
def test_the_table_follows_the_signs_of_the_text(codec, parts):
    ids = [token for part in parts for token in (codec.encode(part) if type(part) is str else part)]
    text = codec.decode(ids)
    state = followed(codec, ids)
    assert state == sign_state(text)
    assert (state == TABLES[codec.codec_id].seen) == any(sign in text for sign in COMMITMENT_SIGNS)


@given(st.lists(st.integers(250, CODEC.vocab_size - 1) | st.just(0x23), max_size=10))
@settings(deadline=None, max_examples=300)
def test_the_table_follows_signs_over_pieces_of_several_characters(ids):
    assert followed(CODEC, ids) == sign_state(CODEC.decode(ids))


def test_the_table_s_states_are_the_prefixes_of_commitment_signs():
    assert sorted(SIGN_PARTS) == sorted(
        ["", "#", "##", "###", "\\", "\\b", "\\bo", "\\box", "\\boxe", "\\f", "\\fb", "\\fbo"]
    )
    table = token_table(ByteCodec())
    assert table.seen == table.suspect == 12
    assert np.array_equal(table.next_sign[12], np.full(258, 12))
    # The end is no text; the pad is.
    assert table.next_sign[:, 257].tolist() == list(range(13))
    assert table.next_sign[:, 256].tolist() == [0] * 12 + [12]


def test_a_sign_s_first_character_is_suspect_if_decoding_does_not_join_ids():
    codec = HuggingFaceCodec(tokenizer_of(decoders.WordPiece("##"), PIECES))
    table = token_table(codec)
    assert not decodes_by_joining(codec)
    assert (table.suspect, table.seen) == (1, 2)
    holding = [i for i in range(codec.vocab_size) if set("#\\") & set(codec.decode((i,)))]
    assert table.next_sign[0].nonzero()[0].tolist() == holding
    assert {0x23, 0x5C, 257, 258, 260} <= set(holding)
    assert (table.next_sign[1:] == [[1], [2]]).all()


class OwnCodec(ByteCodec):
    """A codec of somebody else's, who may decode as they like."""


class OwnTokenizerCodec(HuggingFaceCodec):
    """Another."""


def test_only_known_codecs_count_as_decoding_by_joining():
    assert decodes_by_joining(ByteCodec())
    assert decodes_by_joining(CODEC)
    assert not decodes_by_joining(OwnCodec())
    assert not decodes_by_joining(OwnTokenizerCodec(tokenizer_of(decoders.ByteLevel(), PIECES)))
