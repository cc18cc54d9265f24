"""The presets for the field's prompts: where each finds the answer, and how they combine."""

import re

import pytest

import reason_env
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.verdict import Outcome
from reason_env.verify import PRESETS, GradeOptions, extract_answer, grade, grade_many, read_options


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Answer: 13", "13"),
        ("answer : 13", "13"),
        ("**Answer:** 13", "13"),
        ("**Answer**: $13$", "$13$"),
        ("Answer:\n13", "13"),
        ("Therefore it is 13.\nAnswer: \\boxed{13}", r"\boxed{13}"),
        ("I got \\boxed{12}, which is wrong.\nAnswer: 13", "13"),
        ("Answer: 12\nNo.\nAnswer: 13.", "13"),
        ("<think>Answer: 12</think>\nAnswer: 13", "13"),
        ("so \\boxed{12}", "12"),
        ("#### 12", "12"),
        ("Answer: 12\nAnswer:", None),
        ("The answer is 13.", None),
    ],
)
def test_dapo_takes_the_last_answer_line_and_boxes_only_without_one(
    response: str, answer: str | None
) -> None:
    assert extract_answer(response, PRESETS["dapo"]()) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<think>2+3</think><answer>5</answer>", "5"),
        ("2+3 </think> <answer> 5 </answer>", "5"),
        ("<answer>4</answer> or <ANSWER>5</ANSWER> done", "5"),
        ("<answer> 3.5 </answer>", "3.5"),
        ("<answer>\nThe sum is 5.\n</answer>", "The sum is 5."),
        ("<answer>The sum is \\(\\boxed{70}\\).</answer>", "70"),
        ("<answer>5", "5"),
        ("\\boxed{4} <answer>5</answer>", "5"),
        ("\\boxed{4}", "4"),
        ("<think><answer>4</answer></think> 5", None),
        ("<think><answer>4</answer>", None),
        ("<answer>4</answer> <answer></answer>", None),
        ("<answer>\\boxed{4</answer>", None),
        ("5", None),
    ],
)
def test_r1_takes_the_last_answer_tag_outside_the_thoughts(
    response: str, answer: str | None
) -> None:
    assert extract_answer(response, PRESETS["r1"]()) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{5}", "5"),
        ("\\boxed{4}, no: \\fbox{5}", "5"),
        ("#### 5", None),
        ("Final answer: 5", None),
        ("Answer: 5", None),
        ("\\boxed{5", None),
    ],
)
def test_boxed_takes_boxes_only(response: str, answer: str | None) -> None:
    assert extract_answer(response, PRESETS["boxed"]()) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("C", "C"),
        ("(c).", "C"),
        ("**C**", "C"),
        ("\\boxed{C}", "C"),
        ("\\boxed{C. 12}", "C. 12"),
        ("Answer: (C)", "C"),
        ("Answer: C because 7 is odd", "C"),
        ("Answer: option C", "C"),
        ("<answer>C</answer>", "C"),
        ("The answer is (C), since A is even.", "(C), since A is even"),
        ("The correct choice is D.", "D"),
        ("C. 12 apples", "C. 12 apples"),
        ("Answer: A or B", "A or B"),
        ("A dog has four legs.", None),
        ("It might be C", None),
        ("12", None),
        ("", None),
    ],
)
def test_mcq_takes_a_letter_from_any_form(response: str, answer: str | None) -> None:
    assert extract_answer(response, PRESETS["mcq"]()) == answer


@pytest.mark.parametrize(
    ("preset", "response", "reference", "outcome"),
    [
        ("dapo", "Answer: 13", "13", Outcome.CORRECT),
        ("dapo", "Answer: 14", "13", Outcome.INCORRECT),
        ("dapo", "so \\boxed{13}\nAnswer: 14", "13", Outcome.INCORRECT),
        ("dapo+math", "Answer: 50", r"50\%", Outcome.CORRECT),
        ("r1", "x</think><answer>13</answer>", "13", Outcome.CORRECT),
        ("r1", "x</think><answer>14</answer>", "13", Outcome.INCORRECT),
        ("boxed", "50", r"50\%", Outcome.NO_ANSWER),
        ("boxed", "\\boxed{50}", r"50\%", Outcome.INCORRECT),
        ("boxed+math", "\\boxed{50}", r"50\%", Outcome.CORRECT),
        ("mcq", "The answer is (B).", "B", Outcome.CORRECT),
        ("mcq", "(b)", "B", Outcome.CORRECT),
        ("mcq", "The correct option is B", "B", Outcome.CORRECT),
        ("dapo", "Answer\uff1a13", "13", Outcome.CORRECT),
        ("mcq", "The answer is (D).", "B", Outcome.INCORRECT),
        ("mcq", "Answer: A or B", "B", Outcome.INCORRECT),
    ],
)
def test_a_preset_grades_by_name(
    preset: str, response: str, reference: str, outcome: Outcome
) -> None:
    assert grade(response, reference, preset).outcome is outcome
    assert grade_many([(response, reference)], preset)[0].outcome is outcome


def test_presets_combine_their_markers_in_the_order_of_their_names() -> None:
    both = read_options("dapo+r1")
    assert both.markers == ("answer:", "####", "final answer", "<answer>")
    assert both.boxes == "last"
    assert read_options("r1+dapo").markers == ("<answer>", "####", "final answer", "answer:")
    assert read_options("boxed+dapo").boxes == "first"
    assert read_options("boxed+dapo").markers == PRESETS["dapo"]().markers
    assert read_options("strict+math") == PRESETS["math"]()
    assert read_options("text+math").conclusion
    assert read_options("text+math").constant == "optional"


def test_an_answer_line_counts_before_a_tag_where_dapo_is_named_first() -> None:
    response = "<answer>1</answer> Answer: 2"
    assert grade(response, "2", "dapo+r1").is_correct
    assert grade(response, "1", "r1+dapo").is_correct


def test_the_verifier_is_exported_at_the_top() -> None:
    assert reason_env.grade("Answer: 13", "13", "dapo").is_correct


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("dapo+dapo", "must name each preset once, got 'dapo\\+dapo'; write dapo once"),
        (
            "math+boxed+math",
            "must name each preset once, got 'math\\+boxed\\+math'; write math once",
        ),
        ("dapo+math+mcq", "for choices or for values, .* a letter has .* write dapo\\+mcq$"),
    ],
)
def test_presets_that_repeat_or_contradict_each_other_are_refused(names: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options(names)


@pytest.mark.parametrize("name", ["dapo+mth", "mth"])
def test_an_unknown_preset_gets_the_near_match(name: str) -> None:
    message = (
        f"grading must be a preset, or several joined by +, got '{name}'; did you mean 'math'?"
    )
    for use in (
        lambda: read_options(name),
        lambda: grade("#### 1", "1", name),
        lambda: EnvConfig(grading=name),
    ):
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            use()


def test_an_unknown_preset_without_a_near_match_gets_the_list_once() -> None:
    message = (
        "joined by +, got 'dapo+'; choose one of boxed, dapo, gsm8k, math, mcq, r1, strict, text"
    )
    with pytest.raises(ConfigError, match=f"{re.escape(message)}$"):
        read_options("dapo+")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"markers": "answer:"},
            r"markers .* got 'answer:'; write \('answer:',\)",
        ),
        ({"markers": ("a", 3)}, r"markers of GradeOptions must be a tuple of texts"),
        (
            {"markers": ("",)},
            r"markers .* a tuple of texts that are not empty",
        ),
        (
            {"boxes": "maybe"},
            r"boxes of GradeOptions must be one of first, last, never, got",
        ),
        ({"boxes": ["first"]}, r"boxes of GradeOptions must be one of first, last, never, got \["),
        ({"conclusion": "yes"}, r"conclusion of GradeOptions must be True or False, got 'yes'"),
        ({"ordered": 1}, r"ordered of GradeOptions must be True or False, got 1"),
        ({"percent": 50}, r"percent of GradeOptions must be one of value, sign_optional, got 50"),
        ({"relative_tolerance": "1%"}, r"relative_tolerance of .* must be a number, got '1%'"),
        ({"relative_tolerance": True}, r"relative_tolerance of .* must be a number, got True"),
        ({"reference_digits": 2.5}, r"reference_digits of .* must be a whole number, got 2.5"),
        ({"relative_tolerance": float("nan")}, r"relative_tolerance must be in \[0, 1\), got nan"),
    ],
)
def test_an_option_of_the_wrong_type_gets_one_clear_line(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read_options(fields)
    assert "\n" not in str(raised.value)


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be a preset's name, .* got 5; for example 'math'"):
        grade("#### 1", "1", 5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="GradeOptions has no field 'boxs'; did you mean 'boxes'"):
        read_options({"boxs": "first"})


def test_a_list_of_markers_from_json_is_a_tuple() -> None:
    assert read_options({"markers": ["####"]}) == GradeOptions(markers=("####",))


@pytest.mark.parametrize(
    "sentence",
    [
        "Donc la r\u00e9ponse n'est pas 42.",
        "\u0907\u0938\u0932\u093f\u090f \u0909\u0924\u094d\u0924\u0930 42 \u0928\u0939\u0940\u0902",
        "\u0644\u0630\u0644\u0643 \u0627\u0644\u062c\u0648\u0627\u0628 \u0644\u064a\u0633 42",
        "\u56e0\u6b64\uff0c\u7b54\u6848\u4e0d\u662f42",
        "\u6240\u4ee5\u5171\u670942\u4e07\u4e2a",
        "So the number is 10 which is 42.5x",
    ],
)
def test_a_conclusion_that_denies_or_multiplies_its_number_does_not_give_it(sentence: str) -> None:
    assert not grade(sentence, "42", "text").is_correct
    assert not grade(sentence, "10", "text").is_correct


def test_a_chinese_conclusion_counts_things() -> None:
    assert grade("\u6240\u4ee5\u5171\u670942\u4e2a", "42", "text").is_correct
