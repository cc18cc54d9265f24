"""SentencePiece-like tokenizers: their text in pieces is their text as a whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from reason_env.codec import ByteCodec, HuggingFaceCodec, step_ends
from reason_env.codec.token_bytes import byte_table, continuing
from reason_env.env import ReasonEnv
from reason_env.errors import CodecError, ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.state import PromptTemplate, ReasonState, with_reference_prefix

SPACE = "\u2581"
STYLES = ("llama2", "first", "always", "gemma")
WORDS = ["so", "the", "answer", "is", "36", "12"]


def sentencepiece(style: str, *, begins: bool = True) -> PreTrainedTokenizerFast:
    """Characters, bytes for all others, and some words with and without the space before them."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [
        SPACE,
        *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*=.,?#:<>|/_[]",
    ]
    merges: list[tuple[str, str]] = []
    for word in (*(SPACE + word for word in WORDS), *WORDS, SPACE * 2):
        for size in range(2, len(word) + 1):
            if word[:size] not in names:
                names.append(word[:size])
                merges.append((word[: size - 1], word[size - 1]))
    vocabulary = {name: index for index, name in enumerate(names)}
    model = models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    backend = Tokenizer(model)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if style == "llama2":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        )
    elif style == "gemma":
        backend.normalizer = normalizers.Replace(" ", SPACE)
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style, split=False)
    if style != "gemma":
        steps.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(steps)
    if begins:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


CODECS = {style: HuggingFaceCodec(sentencepiece(style)) for style in STYLES}
PARTS = [*"a1 \n*√", " the", "36", "</s>", SPACE]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def test_the_tokenizers_themselves_add_and_remove_spaces():
    tokenizer = CODECS["llama2"].tokenizer
    ids = tokenizer.encode("36", add_special_tokens=False)
    assert tokenizer.convert_ids_to_tokens(ids) == [SPACE + "36"]
    assert tokenizer.decode(ids) == "36"
    assert tokenizer.decode(ids + ids) == "36 36"


@pytest.mark.parametrize("style", STYLES)
@given(pieces=st.lists(TEXTS, max_size=5))
@settings(deadline=None, max_examples=60)
def test_texts_that_are_encoded_in_pieces_decode_to_their_sum(style, pieces):
    codec = CODECS[style]
    assert codec.token_bytes is not None
    pieces = [piece.replace(SPACE, " ") for piece in pieces]
    ids = [token for piece in pieces for token in codec.encode(piece)]
    assert codec.decode(ids) == "".join(pieces)
    assert codec.eos_id not in ids
    by_token = "".join(codec.decode((token,)) for token in ids if token > 258 or 3 <= token < 131)
    assert by_token == "".join(pieces).replace("√", "")


@pytest.mark.parametrize("style", STYLES)
@given(text=TEXTS)
@settings(deadline=None, max_examples=40)
def test_a_prompt_is_encoded_as_the_tokenizer_encodes_it(style, text):
    codec = CODECS[style]
    own = codec.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert list(codec.encode_prompt(text)) == own
    spaced = style != "gemma" and text != ""
    begun = codec.decode(own)
    assert begun == " " * spaced + text.replace(SPACE, " ") or begun == text.replace(SPACE, " ")


def test_a_word_begins_with_a_space_in_a_prompt_and_not_in_a_response():
    for style in ("llama2", "first", "always"):
        codec = CODECS[style]
        names = codec.tokenizer.convert_ids_to_tokens
        assert names(codec.encode_prompt("36 is")) == [SPACE + "36", SPACE + "is"]
        assert names(codec.encode("36 is")) == ["36", SPACE + "is"]
    names = CODECS["gemma"].tokenizer.convert_ids_to_tokens
    assert names(CODECS["gemma"].encode_prompt("36")) == ["36"]


def test_a_tokenizer_without_a_space_before_texts_is_not_copied():
    backend = CODECS["gemma"].tokenizer.backend_tokenizer
    assert continuing(backend) is backend
    backend = CODECS["first"].tokenizer.backend_tokenizer
    before = backend.to_str()
    copy = continuing(backend)
    assert backend.to_str() == before
    assert json.loads(copy.to_str())["model"] == json.loads(before)["model"]


def test_a_byte_level_tokenizer_with_a_space_before_texts_continues_without_it():
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate("Ġab")} | {"</s>": 3}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    codec = HuggingFaceCodec(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"))
    assert (codec.encode("a b"), codec.encode_prompt("a b")) == ((1, 0, 2), (0, 1, 0, 2))
    assert codec.decode((1, 0, 2)) == "a b"


def test_broken_characters_are_replaced_and_whole_ones_kept():
    codec = CODECS["llama2"]
    at = {byte: 3 + byte for byte in range(256)}
    assert codec.decode([at[0xE2], at[0x88], at[0x9A]]) == "√"
    assert codec.decode([at[0xE2], at[0x88], at[0x9A], at[0xFF], at[0x41]]) == "√\ufffdA"
    assert codec.decode([*codec.encode("#### 3"), 0, *codec.encode("6")]) == "#### 3<unk>6"


def test_a_decoder_that_replaces_other_characters_is_left_to_the_tokenizer():
    tokenizer = sentencepiece("gemma")
    backend = tokenizer.backend_tokenizer
    for steps in (
        [decoders.Replace("a", " ")],
        [decoders.Replace(SPACE, "-")],
        [decoders.Replace(SPACE, " "), decoders.CTC()],
    ):
        backend.decoder = decoders.Sequence(steps)
        assert byte_table(tokenizer, {2}, 400) is None


PROBLEM = Problem(
    problem_id="t/0", question="12 * 3 = ?", answer="36", solution=("12 * 3 is 36", "so 36")
)
PROBLEMS = ProblemSet("t", (PROBLEM,))


@pytest.mark.parametrize("style", STYLES)
def test_text_actions_of_one_character_write_that_character(style):
    env = ReasonEnv(PROBLEMS, codec=CODECS[style], granularity="token", format="text")
    prompt, _ = env.reset(seed=0)
    text = "the answer is 36\n#### 36\n"
    for size, character in enumerate(text, 1):
        obs, reward, terminated, _, _ = env.step(character)
        assert obs == prompt + text[:size]
    assert (reward, terminated) == (1.0, True)


@pytest.mark.parametrize("style", STYLES)
def test_reference_prefixes_have_no_spaces_of_their_own(style):
    codec = CODECS[style]
    state = ReasonState(problem=PROBLEM, codec=codec)
    begun = with_reference_prefix(state, 2)
    assert begun.text == "12 * 3 is 36\nso 36\n"
    assert begun.steps == ("12 * 3 is 36\n", "so 36\n")
    assert with_reference_prefix(with_reference_prefix(state, 1), 2) == begun
    assert begun.extend(codec.encode("#### 36")).text == reference_response(PROBLEM)


@pytest.mark.parametrize("style", STYLES)
@given(ids=st.lists(st.integers(0, 361), max_size=24), delimiter=st.sampled_from(["\n", " ", "√"]))
@settings(deadline=None, max_examples=60)
def test_steps_end_where_the_definition_says(style, ids, delimiter):
    codec = HuggingFaceCodec(CODECS[style].tokenizer, delimiter)
    expected, begin = [], 0
    ids = [token for token in ids if token < codec.vocab_size and token != codec.eos_id]
    for end in range(1, len(ids) + 1):
        if delimiter in codec.decode(ids[begin:end]).lstrip(" \t\n\r\v\f"):
            expected.append(end)
            begin = end
    assert step_ends(codec, ids) == tuple(expected)


def test_what_the_tokenizer_puts_before_a_text_is_known():
    assert CODECS["llama2"].beginning_ids == (1,)
    assert HuggingFaceCodec(sentencepiece("gemma", begins=False)).beginning_ids == ()
    tokenizer = sentencepiece("gemma")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert HuggingFaceCodec(tokenizer).beginning_ids == (1,)


class Doubling(PreTrainedTokenizerFast):
    """Encodes a text in another way if special tokens surround it."""

    def encode(self, text, *, add_special_tokens=True, **kwargs):
        ids = super().encode(text, add_special_tokens=False, **kwargs)
        return [token + 1 for token in ids] if add_special_tokens else ids


def test_a_tokenizer_that_changes_the_text_between_special_tokens_is_refused():
    own = sentencepiece("gemma")
    codec = HuggingFaceCodec(Doubling(tokenizer_object=own.backend_tokenizer, eos_token="</s>"))
    with pytest.raises(
        CodecError, match=r"^a tokenizer must put special tokens around a text only"
    ):
        _ = codec.beginning_ids


@pytest.mark.parametrize("bos", ["never", "auto", "always"])
def test_a_plain_prompt_begins_as_its_bos_setting_says(bos):
    begins, silent = CODECS["llama2"], HuggingFaceCodec(sentencepiece("llama2", begins=False))
    template = PromptTemplate(bos=bos)
    for codec, expected in (
        (begins, {"never": (), "auto": (1,), "always": (1,)}[bos]),
        (silent, {"never": (), "auto": (), "always": (1,)}[bos]),
    ):
        state = ReasonState(problem=PROBLEM, codec=codec)
        text = codec.encode_prompt(template.text(state))
        assert template.token_ids(state) == (*expected, *text)
    state = ReasonState(problem=PROBLEM, codec=ByteCodec())
    if bos == "always":
        message = r"^bos 'always' must have a tokenizer with a bos_token, got .*; use 'auto'$"
        with pytest.raises(ConfigError, match=message):
            ReasonEnv(PROBLEMS, prompt=template)
    else:
        assert template.token_ids(state) == PromptTemplate().token_ids(state)


def test_the_end_token_is_never_put_before_or_after_a_prompt():
    tokenizer = sentencepiece("gemma")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    codec = HuggingFaceCodec(tokenizer)
    state = ReasonState(problem=PROBLEM, codec=codec)
    ids = PromptTemplate(bos="auto").token_ids(state)
    assert ids[0] == 1
    assert codec.eos_id not in ids
