import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import GUIDANCE_TEXTS, Guidance, PromptTemplate, ReasonState

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def chat_codec(chat_template: str | None = CHAT_TEMPLATE) -> HuggingFaceCodec:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<|end|>", "<|user|>", "<|system|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["12*3=36 answer"] * 9, trainer)
    return HuggingFaceCodec(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=chat_template
        )
    )


def state_of(question: str = "12*3=?", *guidance: Guidance, codec=None) -> ReasonState:
    problem = Problem(problem_id="toy/train/0", question=question, answer="36")
    return ReasonState(problem=problem, codec=codec or ByteCodec()).with_guidance(*guidance)


def test_a_plain_prompt_is_question_and_ending():
    assert PromptTemplate().text(state_of()) == "12*3=?\n>"
    assert PromptTemplate().token_ids(state_of()) == tuple(b"12*3=?\n>")


def test_the_response_is_no_part_of_the_prompt():
    started = state_of().extend(ByteCodec().encode("12*3"))
    assert PromptTemplate().text(started) == PromptTemplate().text(state_of())
    assert PromptTemplate().token_ids(started) == PromptTemplate().token_ids(state_of())


@pytest.mark.parametrize(
    ("guidance", "shown"),
    [
        (Guidance("answer", ("36",)), "Answer: 36\n"),
        (Guidance("mistakes", ("35", "37")), "Not: 35, 37\n"),
        (Guidance("partial_solution", ("a=1\n", "b=2\n")), "Begin:\na=1\nb=2\n"),
        (Guidance("instruction", ("Think",)), "Think\n"),
        (Guidance("text", ("p", "q")), "p, q\n"),
    ],
)
def test_each_kind_of_guidance_is_placed_between_question_and_ending(guidance, shown):
    state = state_of("12*3=?", guidance)
    assert PromptTemplate().guidance_text(state) == shown
    assert PromptTemplate().text(state) == f"12*3=?\n{shown}>"
    assert PromptTemplate().text(state.without_guidance()) == "12*3=?\n>"


def test_several_pieces_of_guidance_keep_their_order():
    state = state_of("?", Guidance("mistakes", ("35",)), Guidance("answer", ("36",)))
    assert PromptTemplate().text(state) == "?\nNot: 35\nAnswer: 36\n>"
    assert PromptTemplate().guidance_text(state_of()) == ""


@pytest.mark.parametrize("text", ["{pieces}", "{question}", "{", "}{", "{0}", "{x!r}", "%s \\1"])
def test_braces_in_questions_and_guidance_are_characters(text):
    state = state_of(text, Guidance("mistakes", (text, "{pieces}")))
    assert PromptTemplate().text(state) == f"{text}\nNot: {text}, {{pieces}}\n>"
    template = PromptTemplate(question="Q: {question} {pieces}\n")
    assert template.text(state_of(text)) == f"Q: {text} {{pieces}}\n>"


def test_a_template_s_own_texts_are_used():
    template = PromptTemplate(
        question="<{question}>", guidance=GUIDANCE_TEXTS | {"answer": "[{pieces}]"}, ending="!"
    )
    assert template.text(state_of("7", Guidance("answer", ("36",)))) == "<7>[36]!"


def test_a_chat_prompt_is_the_tokenizers_own_template_with_the_assistants_turn_open():
    codec = chat_codec()
    state = state_of("12*3=?", Guidance("answer", ("36",)), codec=codec)
    template = PromptTemplate(kind="chat")
    assert template.text(state) == "12*3=?\nAnswer: 36"
    ids = template.token_ids(state)
    expected = codec.tokenizer.encode(
        "<|user|>12*3=?\nAnswer: 36<|end|><|assistant|>", add_special_tokens=False
    )
    assert list(ids) == expected
    assert expected[0] == codec.tokenizer.convert_tokens_to_ids("<|user|>")
    assert expected[-1] == codec.tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_a_system_message_comes_first_and_only_in_chat():
    codec = chat_codec()
    ids = PromptTemplate(kind="chat", system="12*3").token_ids(state_of(codec=codec))
    assert codec.tokenizer.decode(ids) == "<|system|>12*3<|end|><|user|>12*3=?<|end|><|assistant|>"
    plain = PromptTemplate(system="12*3").token_ids(state_of(codec=codec))
    assert codec.tokenizer.decode(plain) == "12*3=?\n>"


def test_chat_without_a_chat_template_is_refused():
    message = r"^a chat prompt must have a tokenizer with a chat template, got .*; use a plain t"
    for codec in (ByteCodec(), chat_codec(None)):
        with pytest.raises(ConfigError, match=message):
            PromptTemplate(kind="chat").token_ids(state_of(codec=codec))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "chart"}, r"^prompt kind must be 'plain' or 'chat', got 'chart'"),
        ({"question": "Q:"}, r"^question template must hold \{question\}, got 'Q:'; write where"),
        (
            {"guidance": GUIDANCE_TEXTS | {"answer": "A"}},
            r"^guidance templates must hold \{pieces\} for every kind, missing \['answer'\]; start",
        ),
        (
            {"guidance": {"answer": "{pieces}"}},
            r"missing \['mistakes', 'partial_solution', 'instruction', 'text'\]; start from prompt",
        ),
    ],
)
def test_a_template_without_its_placeholders_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        PromptTemplate(**fields)


def test_equal_templates_are_equal_values():
    assert PromptTemplate() == PromptTemplate()
    assert PromptTemplate(ending="!") != PromptTemplate()
