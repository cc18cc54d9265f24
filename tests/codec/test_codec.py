import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reason_env.codec import ByteCodec, HuggingFaceCodec, check_token_ids, load_codec, step_ends
from reason_env.env import ReasonEnv
from reason_env.errors import CodecError, ModelError, StateError
from reason_env.problem import Problem, ProblemSet

TEXTS = ["12*3=36\nso the answer is 36.\n\n", "√2 \\frac{1}{2}\n#### 36\n", "a;b;c;;d\r\n"] * 30
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_level_tokenizer(*, vocab_size: int = 330, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|end|>", "<|pad|>", "<|user|>", "<|system|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=CHAT_TEMPLATE,
        **({"eos_token": "<|end|>", "pad_token": "<|pad|>"} | special),
    )


def word_level_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<unk>", "<end>", "the", "answer", "is", "7", ";", "stop"]
    vocabulary = {word: index for index, word in enumerate(words)}
    vocabulary["far"] = 20
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>")


def id_of(codec: HuggingFaceCodec, text: str) -> int:
    """Returns the one token that decodes to `text`; the test's tokenizer is trained to have it."""
    for token in range(codec.vocab_size):
        if codec.decode([token]) == text:
            return token
    raise AssertionError(f"the tokenizer has no token {text!r}")


@given(ANY_TEXT)
@settings(deadline=None)
def test_bytes_round_trip_every_text_lone_surrogates_included(text):
    codec = ByteCodec()
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert all(0 <= token < 256 for token in ids)


def test_bytes_round_trip_surrogate_pairs_between_other_characters():
    text = "a\ud83d\ude00√\udfff\ud800é"
    assert ByteCodec().decode(ByteCodec().encode(text)) == text


@given(st.lists(st.integers(0, 257), max_size=30))
@settings(deadline=None)
def test_bytes_decode_is_total_and_never_longer_than_the_ids(ids):
    text = ByteCodec().decode(ids)
    assert len(text) <= len(ids) * ByteCodec.max_token_chars


def test_broken_utf8_becomes_one_replacement_for_each_stray_byte():
    codec = ByteCodec()
    assert codec.decode([0x41, 0xE2, 0x88]) == "A\ufffd\ufffd"
    assert codec.decode([0xFF, 0xE2, 0x88, 0x9A, 0x80, 0x42]) == "\ufffd√\ufffdB"
    assert codec.decode([0xFF, *"é√😀".encode()]) == "\ufffdé√😀"
    assert codec.decode([0xC0, 0xAF]) == "\ufffd\ufffd"  # overlong "/"
    assert codec.decode([0xF4, 0x90, 0x80, 0x80]) == "\ufffd" * 4  # beyond U+10FFFF


def test_the_end_decodes_to_nothing_and_the_pad_to_a_mark_at_any_position():
    codec = ByteCodec()
    assert (codec.pad_id, codec.eos_id, codec.vocab_size) == (256, 257, 258)
    assert codec.decode([256, 0x41, 257, 0x42, 256]) == "\ufffdAB\ufffd"
    assert codec.decode([257]) == ""
    assert codec.decode([0xE2, 0x88, 257, 0x9A]) == "√"
    assert codec.decode([0xE2, 256, 0x88, 0x9A]) == "\ufffd" * 4


def test_codec_ids_differ_by_delimiter():
    ids = [ByteCodec(delimiter).codec_id for delimiter in ("\n", "\n\n", ";")]
    assert ids == ["bytes-'\\n'", "bytes-'\\n\\n'", "bytes-';'"]


def test_a_step_ends_just_after_its_delimiter():
    codec = ByteCodec()
    assert step_ends(codec, codec.encode("ab\ncd\nef")) == (3, 6)
    assert step_ends(codec, codec.encode("ab")) == ()
    assert step_ends(codec, ()) == ()


def test_a_blank_line_is_no_step_and_begins_the_next_one():
    codec = ByteCodec()
    assert step_ends(codec, codec.encode("\nab\n\ncd")) == (4,)
    assert step_ends(codec, codec.encode(" \t\r\n\v\f\n")) == ()
    assert step_ends(codec, codec.encode("First..\n\nThen..\n")) == (8, 16)
    assert ByteCodec(";").ends_step((59,))
    assert not codec.ends_step((10,))
    # Only white space of ASCII is blank.
    assert step_ends(codec, codec.encode("\u00a0\n")) == (3,)
    assert step_ends(ByteCodec(" ;"), ByteCodec().encode(" ; ;")) == (4,)
    assert step_ends(ByteCodec(";"), ByteCodec().encode("; ;a;")) == (1, 3, 5)


@pytest.mark.parametrize(
    ("name", "text"), [("line", "\n"), ("paragraph", "\n\n"), ("lines", "lines")]
)
def test_a_delimiter_is_given_by_its_name_or_as_itself(name, text):
    tokenizer = byte_level_tokenizer()
    for named, own in (
        (ByteCodec(name), ByteCodec(text)),
        (HuggingFaceCodec(tokenizer, name), HuggingFaceCodec(tokenizer, text)),
        (load_codec("bytes", step_delimiter=name), ByteCodec(text)),
    ):
        assert (named.step_delimiter, named.codec_id) == (text, own.codec_id)
    problems = ProblemSet("t", (Problem(problem_id="t/0", question="12*3=?", answer="36"),))
    env = ReasonEnv(problems, step_delimiter=name)
    assert env.codec.codec_id == ByteCodec(text).codec_id
    assert ReasonEnv(problems, step_delimiter=name, codec=ByteCodec(text)).codec is not None


def test_a_delimiter_of_several_tokens_ends_a_step_only_when_it_is_whole():
    codec = ByteCodec("\n\n")
    assert step_ends(codec, codec.encode("a\nb\n\nc\n\n\n\n\nd\n\n")) == (5, 8, 14)
    accented = ByteCodec("√")
    assert step_ends(accented, accented.encode("a√b√")) == (4, 8)
    assert step_ends(accented, accented.encode("a√")[:-1]) == ()


def test_delimiters_do_not_overlap_across_a_step_end():
    codec = ByteCodec("aa")
    assert step_ends(codec, codec.encode("aaa")) == (2,)
    assert step_ends(codec, codec.encode("aaaa")) == (2, 4)


@given(
    st.sampled_from(["\n", "\n\n", "ab", "√"]),
    st.text("ab\n√", max_size=24),
    st.lists(st.integers(0, 40), max_size=5),
)
@settings(deadline=None)
def test_step_ends_do_not_depend_on_how_the_ids_are_divided_into_calls(delimiter, text, cuts):
    codec = ByteCodec(delimiter)
    ids = codec.encode(text)
    whole = step_ends(codec, ids)
    found: tuple[int, ...] = ()
    known = 0
    for cut in [*sorted(min(cut, len(ids)) for cut in cuts), len(ids)]:
        found += step_ends(codec, ids[:cut], begin=found[-1] if found else 0, known=known)
        known = cut
    assert found == whole


def defined_step_ends(codec, ids):
    """The definition: the first token after which the stripped text has the delimiter."""
    found, begin = [], 0
    for end in range(1, len(ids) + 1):
        if codec.step_delimiter in codec.decode(ids[begin:end]).lstrip(" \t\n\r\v\f"):
            found.append(end)
            begin = end
    return tuple(found)


BYTES_OF_STEPS = st.lists(st.sampled_from([*b"ab\n\n \t;", 0xE2, 0x88, 0x9A, 0xC2, 0xA0, 256]))
DELIMITERS_OF_ALL_KINDS = st.sampled_from(["\n", "\n\n", "ab", "√", ";", " ;", "; ", "\na", "\t\n"])


@given(BYTES_OF_STEPS, DELIMITERS_OF_ALL_KINDS, st.booleans())
@settings(deadline=None, max_examples=400)
def test_steps_of_bytes_end_where_the_definition_says(ids, delimiter, has_end):
    codec = ByteCodec(delimiter)
    ids = tuple(ids) + (257,) * has_end
    expected = defined_step_ends(codec, ids)
    assert step_ends(codec, ids) == expected
    one_by_one: tuple[int, ...] = ()
    for size in range(1, len(ids) + 1):
        begin = one_by_one[-1] if one_by_one else 0
        assert codec.ends_step(ids[begin:size]) == (size in expected)
        one_by_one += step_ends(codec, ids[:size], begin=begin, known=size - 1)
    assert one_by_one == expected


@given(ANY_TEXT.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)))
@settings(deadline=None)
def test_a_byte_level_tokenizer_round_trips_every_text(text):
    codec = _BYTE_LEVEL
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert len(text) <= len(ids) * codec.max_token_chars


def test_a_tokenizer_takes_lone_surrogates_as_question_marks():
    assert _BYTE_LEVEL.decode(_BYTE_LEVEL.encode("a\ud800b")) == "a?b"


def test_a_special_token_written_out_is_text_and_never_the_token():
    codec = _BYTE_LEVEL
    ids = codec.encode("say <|end|> and <|user|>")
    assert codec.eos_id not in ids
    assert codec.decode(ids) == "say <|end|> and <|user|>"
    assert codec.tokenizer.encode("<|end|>", add_special_tokens=False) == [codec.eos_id]


def test_end_tokens_decode_to_nothing_and_other_special_tokens_as_they_are_written():
    codec = _BYTE_LEVEL
    a, b = codec.encode("a"), codec.encode("b")
    assert codec.decode([*a, codec.eos_id, *b, codec.pad_id]) == "ab<|pad|>"
    further = HuggingFaceCodec(codec.tokenizer, end_ids=(codec.pad_id,))
    assert further.decode([*a, codec.eos_id, *b, codec.pad_id]) == "ab"


@pytest.mark.parametrize("text", ["#### 4|2", "\\boxed{4|2}", "#### |42", "#### 42|"])
@pytest.mark.parametrize("codec_of", [lambda: _BYTE_LEVEL, ByteCodec])
def test_a_special_token_inside_an_answer_never_joins_what_it_separates(text, codec_of):
    codec = codec_of()
    problems = ProblemSet("t", (Problem(problem_id="t/0", question="?", answer="42"),))
    env = ReasonEnv(problems, codec=codec, granularity="response", format="tokens")
    before, after = text.split("|")
    for mark, outcome in (((), "correct"), ((codec.pad_id,), "incorrect")):
        env.reset(seed=0)
        info = env.step((*codec.encode(before), *mark, *codec.encode(after)))[-1]
        assert info["outcome"] == outcome


def test_the_end_tokens_are_those_of_tokenizer_and_model_the_tokenizers_first(tmp_path, caplog):
    byte_level_tokenizer().save_pretrained(tmp_path)
    directory = str(tmp_path)
    assert load_codec(directory).end_ids == (0,)
    (tmp_path / "config.json").write_text('{"eos_token_id": 4}')
    assert load_codec(directory).end_ids == (0, 4)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    codec = load_codec(directory)
    assert (codec.eos_id, codec.end_ids) == (0, (0, 2, 4))
    assert not caplog.records
    (tmp_path / "config.json").write_text('{"eos_token_id": 70}')
    assert load_codec(directory).end_ids == (0, 2)
    assert "declare end tokens [70], which are ordinary tokens of its tokenizer" in caplog.text


def test_further_end_tokens_make_another_codec_and_one_does_not():
    tokenizer = byte_level_tokenizer()
    ids = [
        HuggingFaceCodec(tokenizer, end_ids=ends).codec_id
        for ends in ((), (0,), (2,), (3,), (2, 3), (3, 2), (3, 0, 2, 3))
    ]
    assert ids[0] == ids[1]
    assert ids[4] == ids[5] == ids[6]
    assert len(set(ids)) == 4
    # Written by version 0.1 with this tokenizer.
    assert ids[0] == "hf-de45c1752aae87b7-'\\n'"


@pytest.mark.parametrize(("end", "text"), [(70, "'b'"), (10**6, "None")])
def test_an_end_token_that_text_can_write_is_refused(end, text):
    message = rf"^end tokens must be special tokens of the tokenizer, got {end} \({text}\); add it"
    with pytest.raises(CodecError, match=message):
        HuggingFaceCodec(byte_level_tokenizer(), end_ids=(2, end))


@pytest.mark.parametrize("end", [0, 2])
@pytest.mark.parametrize("granularity", ["token", "step", "response"])
def test_each_end_token_ends_a_response_and_belongs_to_no_step(end, granularity):
    codec = HuggingFaceCodec(byte_level_tokenizer(vocab_size=261), end_ids=(2,))
    problem = Problem(problem_id="t/0", question="12*3=?", answer="57")
    env = ReasonEnv(
        ProblemSet("t", (problem,)), granularity=granularity, format="tokens", codec=codec
    )
    env.reset(seed=0)
    ids = (*codec.encode("so\n#### 57"), end, *codec.encode("7"), 0)
    terminated = False
    for action in ids if granularity == "token" else [ids]:
        assert not terminated
        _, reward, terminated, _, info = env.step(action)
        if terminated:
            break
    assert (reward, terminated, info["outcome"]) == (1.0, True, "correct")
    assert env.state.response == ids[: ids.index(end) + 1]
    assert env.state.steps == ("so\n", "#### 57")
    assert env.state.cut(2).response == ids[: ids.index(end)]


def test_the_environment_ends_a_response_with_the_first_end_token():
    codec = HuggingFaceCodec(byte_level_tokenizer(), end_ids=(2,))
    problem = Problem(problem_id="t/0", question="12*3=?", answer="36")
    env = ReasonEnv(
        ProblemSet("t", (problem,)), granularity="response", format="tokens", codec=codec
    )
    env.reset(seed=0)
    env.step(codec.encode("36"))
    assert (env.state.response[-1], env.state.sources[-1]) == (0, "env")


def test_an_open_state_with_any_end_token_is_no_start():
    codec = HuggingFaceCodec(byte_level_tokenizer(), end_ids=(2,))
    problem = Problem(problem_id="t/0", question="12*3=?", answer="36")
    env = ReasonEnv(ProblemSet("t", (problem,)), format="tokens", codec=codec)
    state = env.initial_state(problem).extend((*codec.encode("3"), 2))
    with pytest.raises(StateError, match=r"^an open state must not hold the end token 2, got one"):
        env.reset(options={"state": state})


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token():
    codec = HuggingFaceCodec(word_level_tokenizer())
    assert (codec.eos_id, codec.pad_id) == (1, 1)
    assert (_BYTE_LEVEL.eos_id, _BYTE_LEVEL.pad_id) == (0, 1)


def test_every_id_of_a_vocabulary_with_holes_is_valid():
    codec = HuggingFaceCodec(word_level_tokenizer())
    assert codec.vocab_size == 21
    assert codec.decode([20]) == "far"
    assert isinstance(codec.decode([15]), str)
    assert check_token_ids(codec, [20]) == (20,)


def test_a_word_level_tokenizer_decodes_with_spaces_within_the_stated_width():
    codec = HuggingFaceCodec(word_level_tokenizer())
    ids = codec.encode("the answer is 7")
    assert ids == (2, 3, 4, 5)
    assert codec.decode(ids) == "the answer is 7"
    longest = codec.decode([3, 3, 3])
    assert longest == "answer answer answer"
    assert len(longest) <= 3 * codec.max_token_chars


def test_a_word_that_is_the_delimiter_ends_a_step():
    codec = HuggingFaceCodec(word_level_tokenizer(), step_delimiter="stop")
    assert step_ends(codec, codec.encode("the stop answer is stop 7")) == (2, 5)


def test_a_token_that_holds_the_delimiter_in_its_middle_ends_the_step():
    codec = HuggingFaceCodec(byte_level_tokenizer(), step_delimiter=";")
    middle = id_of(codec, "a;b;c;;d\r\n")
    ids = (*codec.encode("12"), middle, *codec.encode("3"))
    ends = step_ends(codec, ids)
    assert ends == (ids.index(middle) + 1,)
    assert codec.decode(ids[: ends[0]]) == "12a;b;c;;d\r\n"


def test_a_delimiter_that_spans_tokens_ends_the_step_with_its_last_token():
    codec = HuggingFaceCodec(byte_level_tokenizer(vocab_size=261), step_delimiter="\n\n")
    newline = id_of(codec, "\n")
    x = id_of(codec, "x")
    assert step_ends(codec, (x, newline, x, newline, newline, newline, x)) == (5,)


def test_a_delimiter_whose_bytes_are_split_over_tokens_ends_the_step():
    for delimiter in ("√", "a√"):
        codec = HuggingFaceCodec(byte_level_tokenizer(vocab_size=261), step_delimiter=delimiter)
        ids = codec.encode("xa√xa√x")
        assert len(ids) == len("xa√xa√x".encode())
        assert step_ends(codec, ids) == (5, 10)


@given(st.lists(st.integers(0, 329), max_size=30), st.sampled_from([";", "\n\n", "√", "er is"]))
@settings(deadline=None)
def test_a_tokenizer_step_ends_at_the_first_token_at_which_its_text_holds_the_delimiter(
    ids, delimiter
):
    codec = HuggingFaceCodec(_BYTE_LEVEL.tokenizer, step_delimiter=delimiter)
    ids = [token for token in ids if token < codec.vocab_size]
    assert step_ends(codec, ids) == defined_step_ends(codec, ids)


def test_codec_ids_differ_by_end_token_delimiter_and_vocabulary_size():
    first = HuggingFaceCodec(byte_level_tokenizer())
    again = HuggingFaceCodec(byte_level_tokenizer())
    other_end = HuggingFaceCodec(byte_level_tokenizer(eos_token="<|user|>"))
    other_delimiter = HuggingFaceCodec(byte_level_tokenizer(), step_delimiter=";")
    smaller = HuggingFaceCodec(byte_level_tokenizer(vocab_size=300))
    assert first.codec_id == again.codec_id
    ids = {codec.codec_id for codec in (first, other_end, other_delimiter, smaller)}
    assert len(ids) == 4
    special = {"eos_token": "<|pad|>", "pad_token": "<|end|>"}
    exchanged = HuggingFaceCodec(byte_level_tokenizer(**special))
    assert (exchanged.eos_id, exchanged.pad_id) == (first.pad_id, first.eos_id)
    assert exchanged.codec_id != first.codec_id


def test_a_saved_tokenizer_loads_as_the_same_codec(tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    loaded = load_codec(str(tmp_path), step_delimiter="\n\n")
    assert isinstance(loaded, HuggingFaceCodec)
    assert loaded.codec_id == HuggingFaceCodec(tokenizer, "\n\n").codec_id
    assert loaded.step_delimiter == "\n\n"


def test_the_name_bytes_is_the_built_in_codec_with_the_given_delimiter():
    assert load_codec("bytes", step_delimiter=";").codec_id == ByteCodec(";").codec_id


def test_token_ids_are_returned_as_python_integers():
    import numpy as np

    ids = check_token_ids(ByteCodec(), np.array([65, 257], dtype=np.int64))
    assert ids == (65, 257)
    assert [type(token) for token in ids] == [int, int]


@pytest.mark.parametrize("wrong", [258, -1, 10**9])
def test_a_token_id_outside_the_vocabulary_is_refused(wrong):
    with pytest.raises(CodecError, match=rf"^token ids must lie in 0\.\.257, got {wrong}; encode"):
        check_token_ids(ByteCodec(), [65, wrong])


@pytest.mark.parametrize("wrong", [[1.0], ["65"], [None], [65, [66]], 7])
def test_a_token_id_that_is_no_integer_is_refused(wrong):
    with pytest.raises(CodecError, match=r"^token ids must be integers, got "):
        check_token_ids(ByteCodec(), wrong)


def test_an_empty_delimiter_is_refused_by_both_codecs():
    message = r"^step_delimiter must be a text or one of line, paragraph, got ''; use 'line'$"
    with pytest.raises(CodecError, match=message):
        ByteCodec("")
    with pytest.raises(CodecError, match=message):
        HuggingFaceCodec(byte_level_tokenizer(), "")


def test_a_tokenizer_without_an_end_token_is_refused():
    tokenizer = byte_level_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(CodecError, match=r"^tokenizer must have an eos_token, got None; set "):
        HuggingFaceCodec(tokenizer)


def test_a_directory_without_a_tokenizer_is_refused_with_its_name(tmp_path):
    with pytest.raises(ModelError, match=r"must be 'bytes' or hold a Hugging Face tokenizer.*save"):
        load_codec(str(tmp_path))


def test_random_ids_decode_to_text_and_the_same_text_every_time():
    rng = random.Random(0)
    for _ in range(50):
        ids = [rng.randrange(_BYTE_LEVEL.vocab_size) for _ in range(20)]
        assert _BYTE_LEVEL.decode(ids) == _BYTE_LEVEL.decode(tuple(ids))


@given(st.lists(st.integers(0, 329), max_size=25), st.sampled_from(["\n", "\n\n", "36", "√"]))
@settings(deadline=None, max_examples=60)
def test_tokens_of_a_tokenizer_are_one_episode_at_every_granularity(ids, delimiter):
    codec = HuggingFaceCodec(_BYTE_LEVEL.tokenizer, step_delimiter=delimiter)
    problem = Problem(problem_id="t/0", question="12*3=?", answer="36")
    ids = tuple(token for token in ids if token < codec.vocab_size)
    ids = (*ids, *codec.encode("\n#### 36\n\n"), codec.eos_id)
    found = []
    for granularity, actions in (("token", ids), ("response", [ids])):
        env = ReasonEnv(
            ProblemSet("t", (problem,)),
            granularity=granularity,
            format="tokens",
            codec=codec,
            max_tokens=30,
            max_prompt_tokens=16,
        )
        obs, _ = env.reset(seed=0)
        assert obs in env.observation_space
        for action in actions:
            obs, reward, terminated, truncated, info = env.step(action)
            assert obs in env.observation_space
            if terminated or truncated:
                break
        found.append((env.state, reward, terminated, truncated, info))
    assert found[0] == found[1]


def test_a_whole_episode_in_text_through_a_tokenizer_is_rewarded():
    problem = Problem(problem_id="t/0", question="12*3=? <|end|>", answer="36")
    for codec in (_BYTE_LEVEL, HuggingFaceCodec(word_level_tokenizer())):
        env = ReasonEnv(ProblemSet("t", (problem,)), codec=codec, max_prompt_tokens=30)
        obs, _ = env.reset(seed=0)
        assert obs == "12*3=? <|end|>\n>"
        obs, reward, terminated, _, _ = env.step("answer is 7\n")
        assert obs in env.observation_space
        assert (reward, terminated) == (0.0, False)
        obs, _, terminated, _, info = env.step("")
        assert (terminated, info["outcome"]) == (True, "no_answer")
        assert env.state.sources[-1] == "env"


_BYTE_LEVEL = HuggingFaceCodec(byte_level_tokenizer())
