"""Prompts that are too long are found when the environment is made, by id and count."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.env import ReasonEnv, long_prompts, other_ids
from reason_env.errors import StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.state import PromptTemplate, ReasonState


def byte_level() -> HuggingFaceCodec:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["how many apples are left? how many pears"] * 9, trainer)
    template = "{% for m in messages %}<end>{{ m['content'] }}{% endfor %}<end>"
    return HuggingFaceCodec(
        PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", chat_template=template)
    )


CODECS = {"bytes": ByteCodec(), "bpe": byte_level()}
PARTS = st.sampled_from(["how many apples", " ", "\n", "√", "<end>", "7", "zq", "\ud800"])
QUESTIONS = st.lists(PARTS, max_size=9).map("".join)


def problems_of(questions) -> list[Problem]:
    return [
        Problem(problem_id=f"t/train/{row}", question=f"q{text}", answer="4")
        for row, text in enumerate(questions)
    ]


SHOTS = (
    {"question": "qhow many apples", "response": "x" * 60},
    {"question": "how", "response": "4"},
)
TEMPLATES = [
    PromptTemplate(),
    PromptTemplate(question="{question} and {question} again\n"),
    PromptTemplate(examples=SHOTS, num_examples=1),
]


@given(
    st.lists(QUESTIONS, min_size=1, max_size=6),
    st.sampled_from([*TEMPLATES, PromptTemplate(kind="chat")]),
    st.sampled_from(sorted(CODECS)),
    st.integers(1, 130),
)
@settings(deadline=None, max_examples=300)
def test_exactly_the_prompts_with_more_tokens_than_the_limit_are_found(
    questions, template, kind, limit
):
    codec = CODECS["bpe" if template.kind == "chat" else kind]
    problems = problems_of(questions)
    lengths = {
        one.problem_id: len(template.token_ids(ReasonState(problem=one, codec=codec)))
        for one in problems
    }
    expected = {name: length for name, length in lengths.items() if length > limit}
    assert long_prompts(template, problems, codec, limit) == expected


def test_an_example_s_own_problem_says_nothing_about_the_other_prompts():
    problems = problems_of(["how many apples", "how many apples are left, and how many pears"])
    found = long_prompts(TEMPLATES[2], problems, CODECS["bytes"], 100)
    assert found == {"t/train/1": 16 + 2 + 60 + 45 + 2}


def test_the_problem_of_an_example_may_have_the_longest_prompt():
    problems = problems_of(["7", ""])
    template = PromptTemplate(
        examples=({"question": "q7", "response": "4"}, SHOTS[0]), num_examples=1
    )
    found = long_prompts(template, problems, CODECS["bytes"], 60)
    assert found == {"t/train/0": 16 + 2 + 60 + 2 + 2}


def test_prompts_far_from_the_limit_are_not_encoded():
    encoded = []

    class Counting(ByteCodec):
        def encode(self, text):
            encoded.append(text)
            return super().encode(text)

    problems = problems_of("a" * (row % 90) for row in range(7500))
    codec = Counting()
    encoded.clear()
    began = time.process_time()
    assert long_prompts(PromptTemplate(), problems, codec, 1024) == {}
    # Thousands of times what it takes, and less than encoding costs a tokenizer.
    assert time.process_time() - began < 2
    assert len(encoded) == 1


def test_the_environment_names_the_longest_prompt_and_the_others():
    # Fewer characters than the first, and more tokens.
    questions = ["how many apples" * 3, "√" * 30, "zq" * 40, "√" * 29, *["zqzq" * 20] * 4, "7"]
    problems = ProblemSet("t", tuple(problems_of(questions)))
    message = (
        r"^prompt of 't/train/1' \(and 6 more: 't/train/3', 't/train/2', 't/train/4', 't/train/5', "
        r"'t/train/6', \.\.\.\) must have at most 40 tokens, got \d+; raise max_prompt_tokens or dr"
    )
    with pytest.raises(StateError, match=message):
        ReasonEnv(problems, codec=CODECS["bpe"], max_prompt_tokens=40)
    with pytest.raises(
        StateError, match=r"^prompt of 't/train/1' must have at most 92 tokens, got"
    ):
        ReasonEnv(problems, codec=CODECS["bpe"], max_prompt_tokens=92)
    assert other_ids({"a": 4}) == ""
