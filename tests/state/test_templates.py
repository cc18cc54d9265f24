"""Templates: named presets, JSON, examples, and the choice by the codec."""

import json

import pytest

from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, ProblemError, UnknownNameError
from reason_env.problem import Problem
from reason_env.state import (
    GUIDANCE_TEXTS,
    PRESETS,
    Guidance,
    PromptTemplate,
    ReasonState,
    Template,
    chosen_name,
    localisation_guidance,
    read_template,
)
from reason_env.verify import PRESETS as GRADINGS
from tests.state.test_prompt import chat_codec

PROBLEMS = tuple(
    Problem(
        problem_id=f"toy/train/{at}",
        question=f"{at}+1=?",
        answer=str(at + 1),
        solution=(f"{at} and 1", f"make {at + 1}."),
    )
    for at in range(6)
)


def prompt_of(name: str, question: str = "12*3=?", *guidance: Guidance) -> str:
    problem = Problem(problem_id="toy/train/9", question=question, answer="36")
    state = ReasonState(problem=problem, codec=ByteCodec()).with_guidance(*guidance)
    return PRESETS[name].prompt.text(state)


BOX = "Please reason step by step, and put your final answer within \\boxed{}."


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ours", "12*3=?\n>"),
        ("plain", "12*3=?\n>"),
        ("chat", "12*3=?"),
        ("boxed", f"12*3=?\n\n{BOX}"),
        ("boxed-plain", f"Question: 12*3=?\n{BOX}\nAnswer:"),
        ("gsm8k-fewshot", "Question: 12*3=?\nAnswer:"),
        ("qwen-math", "12*3=?"),
        (
            "dapo",
            "Solve the following math problem step by step. The last line of your response should "
            "be of the form Answer: $Answer (without quotes) where $Answer is the answer to the "
            'problem.\n\n12*3=?\n\nRemember to put your answer on its own line after "Answer:".',
        ),
        (
            "r1",
            "A conversation between User and Assistant. The User asks a question, and the Assistant"
            " solves it. The Assistant first thinks about the reasoning process in the mind and "
            "then provides the User with the answer. The reasoning process is enclosed within "
            "<think> </think> and answer is enclosed within <answer> </answer> tags, respectively, "
            "i.e., <think> reasoning process here </think> <answer> answer here </answer>.\n"
            "User: 12*3=?\nAssistant: <think>",
        ),
    ],
)
def test_a_preset_has_the_public_wording_to_the_character(name, text):
    assert prompt_of(name) == text


def test_the_public_presets_have_the_system_message_stops_and_grading_of_their_source():
    assert PRESETS["qwen-math"].prompt.system == BOX
    assert {name: own.stops for name, own in PRESETS.items() if own.stops} == {
        "boxed-plain": ("Question:",),
        "gsm8k-fewshot": ("\n\n", "Question:"),
        "r1": ("</answer>",),
    }
    assert PRESETS["gsm8k-fewshot"].num_examples == 8
    assert {own.grading for own in PRESETS.values()} <= set(GRADINGS)


def test_the_template_of_our_own_model_is_the_prompt_of_version_0_1():
    assert PRESETS["ours"].prompt == PRESETS["plain"].prompt == PromptTemplate()
    assert PRESETS["chat"].prompt == PromptTemplate(kind="chat")
    # Snapshots of version 0.1 hold a hash of this text.
    assert repr(PromptTemplate()) == (
        "PromptTemplate(kind='plain', question='{question}\\n', guidance={'answer': 'Answer: "
        "{pieces}\\n', 'mistakes': 'Not: {pieces}\\n', 'partial_solution': 'Begin:\\n{pieces}', "
        "'instruction': '{pieces}\\n', 'text': '{pieces}\\n'}, ending='>', system='')"
    )


def test_templates_that_differ_in_any_text_have_different_reprs():
    base = PromptTemplate()
    shot = ({"question": "q", "response": "r"},)
    for change in (
        {"opening": "a"},
        {"answer_format": "a"},
        {"step": "{number}{step}"},
        {"examples": shot},
        {"examples": shot, "num_examples": 1},
        {"guidance": GUIDANCE_TEXTS | {"localisation": "{pieces}"}},
    ):
        assert repr(PromptTemplate(**change)) != repr(base)
    assert repr(PromptTemplate(examples=shot)) != repr(
        PromptTemplate(examples=shot, num_examples=1)
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_reads_back_equal_from_its_json(name):
    template = PRESETS[name]
    assert read_template(template.to_json()) == template
    assert read_template(json.loads(template.to_json())) == template
    assert read_template(name) is template
    complete = PRESETS[name].with_changes(num_examples=2).with_examples(PROBLEMS, "hash")
    assert read_template(complete.to_json()) == complete


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_shows_each_kind_of_guidance_and_hides_it_without(name):
    for kind in GUIDANCE_TEXTS:
        shown = prompt_of(name, "12*3=?", Guidance(kind, ("SECRET ",)))
        assert ("SECRET" in shown, "SECRET" in prompt_of(name)) == (True, False)
        assert "12*3=?" in shown


def test_guidance_stands_between_the_question_and_the_answer_format():
    text = prompt_of("boxed", "12*3=?", Guidance("text", ("Try.",)))
    assert text == f"12*3=?\n\nHint: Try.\n\n{BOX}"
    text = prompt_of("boxed-plain", "12*3=?", Guidance("text", ("Try.",)))
    assert text == f"Question: 12*3=?\nHint: Try.\n{BOX}\nAnswer:"


def test_a_localisation_in_prose_is_the_whole_prompt_and_counts_its_steps():
    text = prompt_of("gsm8k-fewshot", "{pieces}?", localisation_guidance(("a {question}\n", "b")))
    assert "Problem: {pieces}?\n" in text
    assert "Step 1: a {question}\nStep 2: b\n" in text
    assert "(1 to 2)" in text
    assert "Answer:" not in text
    assert text.startswith("You are tasked")


def test_examples_are_drawn_from_the_set_and_never_ask_the_problem_s_own_question():
    template = PRESETS["gsm8k-fewshot"].with_changes(num_examples=3)
    drawn = template.with_examples(PROBLEMS, "one")
    assert drawn == template.with_examples(PROBLEMS, "one")
    assert [e.question for e in drawn.prompt.examples] != [
        e.question for e in template.with_examples(PROBLEMS, "two").prompt.examples
    ]
    assert len({e.question for e in drawn.prompt.examples}) == 4
    for problem in PROBLEMS:
        state = ReasonState(problem=problem, codec=ByteCodec())
        text = drawn.prompt.text(state)
        assert text.count("####") == text.count("\n\n") == 3
        assert text.count(f"Question: {problem.question}") == 1
        assert text.endswith(f"Question: {problem.question}\nAnswer:")


def test_an_example_is_laid_out_as_the_problem_is_and_ends_in_its_answer():
    problem = PROBLEMS[4]
    template = PRESETS["gsm8k-fewshot"].with_changes(num_examples=1)
    drawn = template.with_examples((problem, PROBLEMS[2]), "x").prompt.examples
    assert {e.question: e.response for e in drawn}["4+1=?"] == " 4 and 1\nmake 5.\n#### 5\n\n"
    boxed = PRESETS["boxed"].with_changes(num_examples=1).with_examples(PROBLEMS[:2], "x")
    messages = boxed.prompt.messages(ReasonState(problem=problem, codec=ByteCodec()))
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"].endswith(BOX)
    assert messages[1]["content"] in {
        "0 and 1\nmake 1.\nThe answer is \\boxed{1}.",
        "1 and 1\nmake 2.\nThe answer is \\boxed{2}.",
    }
    assert messages[2]["content"] == f"4+1=?\n\n{BOX}"


def test_a_solution_whose_last_step_is_the_answer_line_states_it_once():
    problem = Problem(problem_id="t/train/0", question="?", answer="5", solution=("a", "#### 5"))
    template = PRESETS["gsm8k-fewshot"].with_changes(num_examples=1)
    drawn = template.with_examples((problem, PROBLEMS[0]), "x").prompt.examples
    assert {e.question: e.response for e in drawn}["?"] == " a\n#### 5\n\n"


def test_too_few_problems_for_the_examples_are_refused():
    template = PRESETS["gsm8k-fewshot"].with_changes(num_examples=2)
    bare = Problem(problem_id="t/train/0", question="?", answer="5")
    message = (
        r"^a prompt of 2 examples must have 3 training problems with a reference solution, got 2; "
        r"show fewer examples, or add problems$"
    )
    with pytest.raises(ProblemError, match=message):
        template.with_examples((bare, *PROBLEMS[:2]), "x")


def test_auto_stands_for_our_words_a_chat_or_a_plain_prompt_by_the_codec():
    assert chosen_name(ByteCodec()) == "ours"
    assert chosen_name(chat_codec()) == "boxed"
    assert chosen_name(chat_codec(None)) == "boxed-plain"
    for codec in (ByteCodec(), chat_codec(), chat_codec(None)):
        assert PRESETS[chosen_name(codec)].step_delimiter == "\n"


def test_a_file_changes_what_it_names_and_keeps_the_rest_of_its_base(tmp_path):
    path = tmp_path / "mine.json"
    own = {"base": "dapo", "ending": "!", "guidance": {"answer": "It is {pieces}."}, "stops": ["Q"]}
    path.write_text(json.dumps(own | {"delimiter": "paragraph"}), encoding="utf-8")
    template = read_template(path)
    base = PRESETS["dapo"]
    assert (template.name, template.stops, template.step_delimiter) == ("mine.json", ("Q",), "\n\n")
    assert (template.prompt.ending, template.grading) == ("!", "dapo")
    assert template.prompt.guidance["answer"] == "It is {pieces}."
    assert template.prompt.guidance["mistakes"] == base.prompt.guidance["mistakes"]
    assert template.prompt.question == base.prompt.question


def test_examples_of_a_file_are_shown_without_a_count():
    shots = [{"question": "1+1=?", "response": " 2\n\n"}, {"question": "2+2=?", "response": " 4\n"}]
    template = read_template({"base": "gsm8k-fewshot", "examples": shots})
    assert (template.num_examples, template.prompt.num_examples) == (2, 2)
    assert template.is_complete
    state = ReasonState(problem=PROBLEMS[0], codec=ByteCodec())
    assert template.prompt.text(state).startswith("Question: 1+1=?\nAnswer: 2\n\nQuestion: 2+2=?\n")


def test_fewer_examples_keep_the_drawn_ones_and_more_are_drawn_again():
    drawn = PRESETS["gsm8k-fewshot"].with_changes(num_examples=3).with_examples(PROBLEMS, "x")
    fewer = drawn.with_changes(num_examples=1)
    assert fewer.is_complete
    assert fewer.prompt.examples == drawn.prompt.examples
    more = drawn.with_changes(num_examples=4)
    assert not more.is_complete
    assert more.prompt.examples == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{"base": "boxed", "sytem": "x"}', r"fields must be among .*, got 'sytem'; did you mean "),
        ('{"stops": "x"}', r"^stops of a template must be a list of texts, got 'x'"),
        ('{"stops": [""]}', r"^stops must be non-empty texts, got \(''"),
        ('{"num_examples": "2"}', r"^num_examples of a template must be a whole number, got '2'"),
        ('{"num_examples": -1}', r"^num_examples must be at least 0, got -1"),
        ('{"guidance": {"answer": 3}}', r"^guidance of a template must be a mapping of texts, got"),
        ('{"guidance": {"anser": "{pieces}"}}', r"got 'anser'; did you mean 'answer'"),
        ('{"examples": [{"question": "q"}]}', r"^an example must hold the texts question and resp"),
        ('{"example": "x"}', r"^example must hold \{answer\}, got 'x'; write the response of an e"),
        ('{"delimiter": ""}', r"^delimiter must be line, paragraph or a text, got ''; use 'line'"),
        (
            '{"step": "x"}',
            r"^step template must hold \{number\} and \{step\}, got 'x'; write where",
        ),
        ("{", r"^a template must be a JSON object, got '\{'"),
    ],
)
def test_a_malformed_template_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        read_template(given)


def test_an_unknown_template_is_refused_with_the_near_name():
    with pytest.raises(UnknownNameError, match=r"no template 'boxd': .* did you mean 'boxed'"):
        read_template("boxd")
    with pytest.raises(UnknownNameError, match=r"no template 'darpo' to begin with.*mean 'dapo'"):
        read_template({"base": "darpo"})


def test_more_examples_shown_than_held_are_refused():
    with pytest.raises(ConfigError, match=r"^num_examples must lie in 0\.\.0, the number of exam"):
        PromptTemplate(num_examples=1)


def test_the_delimiter_of_a_template_is_a_name_or_a_text():
    assert Template(name="x", prompt=PromptTemplate(), delimiter="paragraph").step_delimiter == (
        "\n\n"
    )
    assert Template(name="x", prompt=PromptTemplate(), delimiter=";").step_delimiter == ";"
