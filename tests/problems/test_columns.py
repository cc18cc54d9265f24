"""Columns: found by name, asked for by an expression, and refused with what the file has."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.problems import check_problems
from reason_env.problems.files.chat import shared_instruction
from reason_env.problems.files.reader import load_file


def load(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> list[Problem]:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(load_file(path, **options))


@pytest.mark.parametrize("question", ["question", "problem", "prompt", "query", "Problem", "QUERY"])
@pytest.mark.parametrize(
    "answer", ["answer", "final_answer", "Final Answer", "ground_truth", "solution", "answerKey"]
)
def test_the_usual_names_are_found(tmp_path: Path, question: str, answer: str) -> None:
    (problem,) = load(tmp_path, {"id": 3, question: "2+5", answer: "7"})
    assert (problem.question, problem.answer, problem.solution) == ("2+5", "7", ())


def test_the_fields_own_names_win_over_found_ones(tmp_path: Path) -> None:
    row = {"problem": "not this", "question": "2+5", "final_answer": "8", "answer": "7"}
    (problem,) = load(tmp_path, row)
    assert (problem.question, problem.answer) == ("2+5", "7")


def test_a_mapped_column_wins_over_a_found_one(tmp_path: Path) -> None:
    row = {"question": "2+5", "answer": "8", "checked": {"value": 7}}
    (problem,) = load(tmp_path, row, columns={"answer": "checked.value"})
    assert problem.answer == "7"


def test_what_was_chosen_is_said_once_and_only_if_names_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(tmp_path, {"question": "2+5", "answer": "7"})
        assert not caplog.records
        for _ in range(3):
            load(tmp_path, {"problem": "2+5", "final_answer": "7"})
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "x.jsonl: question from 'problem', answer from 'final_answer'; name other columns with "
        "columns={field: column}"
    )


def test_a_column_whose_name_looks_like_an_expression_is_that_column(tmp_path: Path) -> None:
    row = {"a+b": "2+5", "boxed(x)": "7", "a": "no", "b": "no", "x": "no"}
    (problem,) = load(tmp_path, row, columns={"question": "a+b", "answer": "boxed(x)"})
    assert (problem.question, problem.answer) == ("2+5", "7")


def test_columns_are_joined_in_the_order_asked_for(tmp_path: Path) -> None:
    row = {"story": " Ann has 2. ", "ask": "How many?", "note": None, "value": 12, "unit": "km"}
    columns = {"question": "story+note+ask", "answer": "value + unit"}
    (problem,) = load(tmp_path, row, columns=columns)
    assert (problem.question, problem.answer) == ("Ann has 2. How many?", "12 km")


@pytest.mark.parametrize(
    ("choices", "shown"),
    [
        (["4", "7"], "Prime?\nA) 4\nB) 7"),
        (["A) 4", "B) 7"], "Prime?\nA) 4\nB) 7"),
        ({"text": ["4", "7"], "label": ["1", "2"]}, "Prime?\n1) 4\n2) 7"),
        ([], "Prime?"),
    ],
)
def test_choices_follow_the_question(tmp_path: Path, choices: object, shown: str) -> None:
    (problem,) = load(tmp_path, {"question": "Prime?", "choices": choices, "answer": "B"})
    assert problem.question.strip() == shown


def test_more_choices_than_letters_are_refused_and_not_cut(tmp_path: Path) -> None:
    row = {"question": "Prime?", "choices": [str(n) for n in range(4, 15)], "answer": "B"}
    with pytest.raises(ProblemError, match="line 1: question must hold text, got None"):
        load(tmp_path, row)
    row["choices"] = {"text": ["4", "7"], "label": ["1"]}
    with pytest.raises(ProblemError, match="line 1: question must hold text, got None"):
        load(tmp_path, row)
    row["choices"] = [str(n) for n in range(4, 14)]
    assert load(tmp_path, row)[0].question.endswith("\nJ) 13")


def test_indices_of_choices_are_letters_only_if_every_answer_is_one(tmp_path: Path) -> None:
    choices = ["4", "7"]
    letters = [{"question": "q", "choices": choices, "answer": index} for index in (1, 0)]
    assert [problem.answer for problem in load(tmp_path, *letters)] == ["B", "A"]
    values = [{"question": "q", "choices": choices, "answer": value} for value in (7, 1)]
    assert [problem.answer for problem in load(tmp_path, *values)] == ["7", "1"]
    texts = [{"question": "q", "choices": choices, "answer": "1"}]
    assert load(tmp_path, *texts)[0].answer == "1"


def test_a_long_solution_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(
        ProblemError, match=r"must have a column 'answer', got columns problem, sol"
    ):
        load(tmp_path, {"problem": "q", "solution": "We add both sides and get 7."})
    with pytest.raises(ProblemError, match=r"columns=\{'answer': 'boxed\(solution\)'\}"):
        load(tmp_path, {"problem": "q", "solution": "It is \\boxed{7}"})
    with pytest.raises(ProblemError, match=r"columns=\{'answer': 'stated\(response\)'\}"):
        load(tmp_path, {"problem": "q", "response": "The answer is 7."})


@pytest.mark.parametrize("value", ["\\boxed{7}", "$\\boxed{7}$.", ["$$\\boxed{7}$$"]])
@pytest.mark.parametrize("name", ["solution", "solutions"])
def test_a_solution_that_is_a_box_and_nothing_else_is_an_answer(
    tmp_path: Path, name: str, value: object
) -> None:
    (problem,) = load(tmp_path, {"problem": "q", name: value})
    assert (problem.answer, problem.solution) == ("7", ())
    rows = ({"problem": "q", name: value}, {"problem": "r", name: "So \\boxed{8} it is."})
    with pytest.raises(ProblemError, match="must have a column 'answer'"):
        load(tmp_path, *rows)


def test_a_solution_that_only_repeats_the_answers_is_none(tmp_path: Path) -> None:
    own = {"question": "q", "reward_model": {"ground_truth": "7"}, "solution": "7"}
    assert [problem.solution for problem in load(tmp_path, own, own)] == [(), ()]
    other = own | {"solution": "3+4"}
    assert [problem.solution for problem in load(tmp_path, own, other)] == [("7",), ("3+4",)]


def test_a_column_without_a_value_is_passed_over(tmp_path: Path) -> None:
    row = {"question": "q", "answer": None, "final_answer": "", "answer_number": 7}
    assert load(tmp_path, row)[0].answer == "7"
    with pytest.raises(ProblemError, match="line 1: answer must be text or a number, got None"):
        load(tmp_path, {"question": "q", "answer": None, "solution": "5"})


def test_a_name_that_means_other_things_too_is_found_if_it_is_the_only_one(tmp_path: Path) -> None:
    assert load(tmp_path, {"input": "q", "target": "7"})[0].answer == "7"
    with pytest.raises(
        ProblemError,
        match=r"must have a column 'question' and a column 'answer', got columns input, "
        r"instruction, gold, label; map them with columns=\{'question': 'input', 'answer': 'gold'",
    ):
        load(tmp_path, {"input": "a", "instruction": "q", "gold": "7", "label": "1"})


def test_an_object_is_no_answer_and_neither_is_another_column_beside_it(tmp_path: Path) -> None:
    truth = {"ground_truth": {"target": 98, "numbers": [44, 19]}}
    with pytest.raises(ProblemError, match="must have a column 'answer', got columns prompt, tar"):
        load(tmp_path, {"prompt": "Make 98.", "target": 98, "reward_model": truth})
    with pytest.raises(ProblemError, match=r"columns=\{'answer': 'answer.value'\}"):
        load(tmp_path, {"prompt": "q", "answer": {"value": 12, "unit": "cm"}})


def test_a_solution_without_a_box_is_named(tmp_path: Path) -> None:
    rows = [{"problem": "q", "solution": text} for text in ("so \\boxed{7}", "so 8 it is")]
    with pytest.raises(ProblemError, match=r"line 2: answer must be text or a number, got None"):
        load(tmp_path, *rows, columns={"answer": "boxed(solution)"})


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("9 (apples)", "9 apples"),
        ("2.5 (square feet)", "2.5 square feet"),
        ("1/2(cup)", "1/2 cup"),
        ("9 (x+1)", "9 (x+1)"),
        ("f (a)", "f (a)"),
        ("[4]", "[4]"),
        ('["4"]', "4"),
        (["4"], "4"),
        ([[4]], "4"),
    ],
)
def test_an_answer_with_a_noun_or_in_a_list_is_read(
    tmp_path: Path, written: object, answer: str
) -> None:
    row = {"question": "q", "answer": written}
    assert load(tmp_path, row, allow_ungradable=True)[0].answer == answer


def test_a_list_whose_items_all_count_is_joined_if_the_row_says_so(tmp_path: Path) -> None:
    row = {"question": "q", "answer": [1, 2], "is_multiple_answer": True}
    assert load(tmp_path, row)[0].answer == "1, 2"


@pytest.mark.parametrize("role", [("role", "content"), ("from", "value")])
@pytest.mark.parametrize("column", ["prompt", "messages", "conversations"])
def test_the_question_of_a_chat_is_the_users_last_message(
    tmp_path: Path, role: tuple[str, str], column: str
) -> None:
    who, what = role
    chat = [
        {who: "system", what: "Be brief."},
        {who: "user", what: "1+1"},
        {who: "assistant", what: "2"},
        {who: "human", what: "2+5"},
    ]
    assert load(tmp_path, {column: chat, "answer": "7"})[0].question == "2+5"
    assert load(tmp_path, {column: json.dumps(chat), "answer": "7"})[0].question == "2+5"


def test_the_parts_of_a_message_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "2+5"}, {"type": "image"}, {"type": "text", "text": "=?"}]
    row = {"prompt": [{"role": "user", "content": parts}], "answer": "7"}
    assert load(tmp_path, row)[0].question == "2+5\n=?"


def test_a_chat_without_a_user_is_refused(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "system", "content": "Be brief."}], "answer": "7"}
    with pytest.raises(ProblemError, match="line 1: question must hold text, got None"):
        load(tmp_path, row)


BOX = "Let's think step by step and output the final answer within \\boxed{}."


@pytest.mark.parametrize(
    ("questions", "shared"),
    [
        ([f"Find 2. {BOX}", f"Add 3! {BOX}"], ("", f" {BOX}")),
        ([f"Find $2$ {BOX}", f"Find 3\n{BOX}"], ("", f" {BOX}"[1:])),
        ([f"So many are left. {BOX}", f"How many are left. {BOX}"], ("", f" {BOX}")),
        ([f"{BOX}\n\nFind 2.", f"{BOX}\n\nFind 3."], (f"{BOX}\n\n", "")),
        ([f"{BOX} Let x be 2.", f"{BOX} Let x be 3."], (f"{BOX} ", "")),
        (["Let x be. Find 2.", "Let x be. Find 3."], ("", "")),
        (["Find 2. What is it?", "Find 3. What is it?"], ("", "")),
        ([BOX, BOX], ("", "")),
        ([BOX, f"Find 2. {BOX}"], ("", "")),
        ([f"Find 2. {BOX}"], ("", BOX)),
        (
            [f"{BOX} Find 2. Is it 3?\n\nWrite it on its own line."] * 2,
            (f"{BOX} ", "Write it on its own line."),
        ),
        (["Find 2. Give the final answer modulo 7."], ("", "")),
    ],
)
def test_only_a_shared_instruction_about_the_answer_is_cut_off(
    questions: list[str], shared: tuple[str, str]
) -> None:
    assert shared_instruction(questions) == shared


def test_text_prompts_keep_what_they_share(tmp_path: Path) -> None:
    rows = [{"prompt": f"Find {n}. {BOX}", "answer": str(n)} for n in (2, 3)]
    assert [problem.question for problem in load(tmp_path, *rows)] == [
        row["prompt"] for row in rows
    ]


def test_a_wrong_path_gets_the_nested_columns_and_the_near_match(tmp_path: Path) -> None:
    row = {"question": "q", "reward_model": {"style": "rule", "ground_truth": "7"}}
    with pytest.raises(
        ProblemError,
        match=r"got columns question, reward_model.style, reward_model.ground_truth; did you mean "
        r"'reward_model.ground_truth'",
    ):
        load(tmp_path, row, columns={"answer": "reward_model.groundtruth"})


@pytest.mark.parametrize("columns", ["final", ["final"], {"answer": 3}])
def test_columns_that_are_no_mapping_of_texts_are_refused(tmp_path: Path, columns: Any) -> None:
    message = f"^columns must be a mapping from .*, got {re.escape(repr(columns))}; for example"
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, {"question": "q", "final": "7"}, columns=columns)
    with pytest.raises(ConfigError, match=message):
        check_problems(str(tmp_path / "x.jsonl"), columns=columns)
