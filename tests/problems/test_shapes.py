r"""Small files in the shapes of public data sets, in own words: each loads, or says how.

The columns are those of the published files: openai/grade-school-math, verl's GSM8K, DAPO-Math-17k,
hendrycks/math, MATH-500, NuminaMath-CoT and -1.5, OpenR1-Math-220k, AIME 1983-2024, AI-MO's AMC
set, SVAMP, ASDiv, MAWPS, MMLU, OlympiadBench, DeepScaleR, Big-Math and Open-Reasoner-Zero; and,
below, AQuA-RAT, MathQA, GPQA, SciQ, ARC, MedQA, AGIEval, LogiQA, OpenMathInstruct, MetaMathQA,
MGSM, GSM-Plus, slime's DAPO, Skywork-OR1, INTELLECT-2, AReaL, TinyZero and OpenAI's evals.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reason_env.errors import ProblemError
from reason_env.problem import Problem
from reason_env.problems import load_problems, reference_response
from reason_env.verify import grade

Rows = list[Any]


def lines(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def array(path: Path, rows: Rows) -> str:
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return str(path)


def parquet(path: Path, rows: Rows) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def text(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def load(source: str, **options: Any) -> list[Problem]:
    """Load a file, and check that its references are correct in the layout of a response."""
    problems = list(load_problems(source, **options))
    for problem in problems:
        assert grade(reference_response(problem), problem.answer).is_correct
    return problems


def fields(problem: Problem) -> tuple[str, str, tuple[str, ...]]:
    return problem.question, problem.answer, problem.solution


def test_gsm8k_json_lines(tmp_path: Path) -> None:
    rows = [
        {
            "question": "A jar holds 12 pens. Mia takes 5. How many stay?",
            "answer": "12-5=<<12-5=7>>7 pens stay.\n#### 7",
        },
        {"question": "Two sacks of 700 kg?", "answer": "2*700=<<2*700=1400>>1400\n#### 1,400"},
    ]
    first, second = load(lines(tmp_path / "train.jsonl", rows))
    assert fields(first) == (rows[0]["question"], "7", ("12-5=7 pens stay.",))
    assert second.answer == "1400"


def verl_gsm8k(index: int, question: str, answer: str, solution: str) -> dict[str, Any]:
    prompt = f'{question} Let\'s think step by step and output the final answer after "####".'
    return {
        "data_source": "openai/gsm8k",
        "prompt": [{"content": prompt, "role": "user"}],
        "ability": "math",
        "reward_model": {"ground_truth": answer, "style": "rule"},
        "extra_info": {
            "answer": solution, "index": index, "question": question, "split": "train",
        },
    }  # fmt: skip


def test_verl_gsm8k_parquet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        verl_gsm8k(0, "Tom has 3 boxes of 4 eggs. How many?", "12", "3*4=<<3*4=12>>12\n#### 12"),
        verl_gsm8k(1, "She sells 9 of 20 cakes. How many stay?", "11", "20-9=11\n#### 11"),
    ]
    path = parquet(tmp_path / "train.parquet", rows)
    first, second = load(path)
    assert fields(first) == ("Tom has 3 boxes of 4 eggs. How many?", "12", ("3*4=12",))
    assert fields(second) == ("She sells 9 of 20 cakes. How many stay?", "11", ("20-9=11",))
    load(path)
    told = [record.getMessage() for record in caplog.records if "reading" in record.getMessage()]
    assert len(told) == 1
    assert (
        "question from 'extra_info.question', answer from 'reward_model.ground_truth', solution "
        "from 'extra_info.answer'; name other columns"
    ) in told[0]


@pytest.mark.parametrize("text", ["3*4=12", "3*4=12\n#### 12\nDone."])
def test_verl_texts_of_another_form_than_gsm8k_are_no_solution_unless_asked_for(
    tmp_path: Path, text: str
) -> None:
    rows = [
        verl_gsm8k(0, "Tom has 3 boxes of 4 eggs. How many?", "12", text),
        verl_gsm8k(1, "She sells 9 of 20 cakes. How many stay?", "11", "20-9=11\n#### 11"),
    ]
    path = parquet(tmp_path / "train.parquet", rows)
    assert [problem.solution for problem in load(path)] == [(), ()]
    asked = load(path, columns={"solution": "extra_info.answer"})
    assert [problem.solution for problem in asked] == [tuple(text.split("\n")), ("20-9=11",)]


def dapo(question: str, answer: str, index: str) -> dict[str, Any]:
    prompt = (
        "Solve the following math problem step by step. The last line of your response should be "
        "of the form Answer: $Answer (without quotes) where $Answer is the answer to the problem."
        f'\n\n{question}\n\nRemember to put your answer on its own line after "Answer:".'
    )
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": prompt, "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": index},
    }


def test_dapo_parquet_without_the_instruction_that_all_prompts_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [dapo("Find $2^5-1$.", "31", "a-1"), dapo("Find the sum of 4 and $-7$.", "-3", "a-2")]
    first, second = load(parquet(tmp_path / "dapo-math-17k.parquet", rows))
    assert fields(first) == ("Find $2^5-1$.", "31", ())
    assert fields(second) == ("Find the sum of 4 and $-7$.", "-3", ())
    assert "without the instruction that all prompts share ('Solve the following" in caplog.text


MATH = {
    "problem": "What is $\\frac12+\\frac14$?",
    "level": "Level 2",
    "type": "Prealgebra",
    "solution": "We add: $\\frac24+\\frac14=\\boxed{\\frac{3}{4}}$.",
}


def test_math_json_takes_boxed_answers_on_request(tmp_path: Path) -> None:
    path = text(tmp_path / "1.json", json.dumps(MATH, indent=1))
    with pytest.raises(
        ProblemError,
        match=r"must have a column 'answer', got columns problem, level, type, solution; take it "
        r"out of the solutions with columns=\{'answer': 'boxed\(solution\)'\}",
    ):
        load_problems(path)
    (problem,) = load(path, columns={"answer": "boxed(solution)"})
    assert fields(problem) == (MATH["problem"], "\\frac{3}{4}", (MATH["solution"],))
    assert problem.level == 2


def test_math_500_json_lines(tmp_path: Path) -> None:
    own = {"answer": "\\frac{3}{4}", "subject": "Prealgebra", "level": 2, "unique_id": "a/1.json"}
    row = {"problem": MATH["problem"], "solution": MATH["solution"], **own}
    (problem,) = load(lines(tmp_path / "test.jsonl", [row]), split="test")
    assert fields(problem) == (MATH["problem"], "\\frac{3}{4}", (MATH["solution"],))
    assert (problem.level, problem.problem_id) == (2, "test/test/0")


def test_numina_math_cot_takes_boxed_answers_on_request(tmp_path: Path) -> None:
    row = {
        "source": "synthetic_math",
        "problem": "A number plus 8 is 21. Which number?",
        "solution": "Subtract: $21-8=13$.\n\nIt is $\\boxed{13}$.",
        "messages": [
            {"content": "A number plus 8 is 21. Which number?", "role": "user"},
            {"content": "Subtract ...", "role": "assistant"},
        ],
    }
    (problem,) = load(
        parquet(tmp_path / "train.parquet", [row]), columns={"answer": "boxed(solution)"}
    )
    assert fields(problem) == (
        row["problem"], "13", ("Subtract: $21-8=13$.", "It is $\\boxed{13}$."),
    )  # fmt: skip
    assert problem.source == "synthetic_math"


def test_numina_math_1_5_names_its_proofs_and_drops_them_on_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind = {"question_type": "math-word-problem", "source": "olympiads", "synthetic": False}
    rows = [
        {"problem": "Find $3\\cdot 14$.", "solution": "42", "answer": "42", **kind},
        {"problem": "Prove that $n^2\\ge n$.", "solution": "Since ...", "answer": "proof", **kind},
        {"problem": "Find all.", "solution": "Unclear.", "answer": "notfound", **kind},
        {"problem": "Find $5-9$.", "solution": "-4", "answer": "$-4$", **kind},
    ]
    path = parquet(tmp_path / "train.parquet", rows)
    with pytest.raises(
        ProblemError,
        match=r"train.parquet row 1: answer must be a final answer, got 'proof': the row holds a "
        r"proof \(2 of 4 rows do not\); drop_ungradable=True leaves them out",
    ):
        load_problems(path)
    with pytest.raises(ProblemError, match="row 1: answer must be a final answer, got 'proof'"):
        load_problems(path, allow_ungradable=True)
    problems = load(path, drop_ungradable=True)
    assert [problem.answer for problem in problems] == ["42", "$-4$"]
    assert [problem.problem_id for problem in problems] == ["train/train/0", "train/train/3"]
    assert "dropping 2 of 4 rows" in caplog.text
    assert "row 1, row 2" in caplog.text


def test_openr1_parquet(tmp_path: Path) -> None:
    row = {
        "problem": "How many edges has a cube?",
        "solution": "Each of 8 corners has 3 edges.\n\nEach edge has 2 corners: 12.",
        "answer": "12",
        "problem_type": "Geometry",
        "question_type": "math-word-problem",
        "source": "olympiads",
        "uuid": "0f3e",
        "is_reasoning_complete": [True],
        "generations": ["<think>\n8*3/2\n</think>\n\\boxed{12}"],
        "correctness_math_verify": [True],
        "messages": [{"content": "How many edges has a cube?", "role": "user"}],
    }
    (problem,) = load(parquet(tmp_path / "train-00000-of-00010.parquet", [row]))
    assert fields(problem) == (
        row["problem"], "12", ("Each of 8 corners has 3 edges.", "Each edge has 2 corners: 12."),
    )  # fmt: skip


def test_aime_csv(tmp_path: Path) -> None:
    path = text(
        tmp_path / "AIME_Dataset_1983_2024.csv",
        "\ufeffID,Year,Problem Number,Question,Answer,Part\r\n"
        '1999-I-1,1999,1,"Let $x=3$,\r\nfind ""$x^3$"".",27,I\r\n'
        "1999-I-2,1999,2,Find $2+5$.,007,I\r\n",
    )
    first, second = load(path)
    assert fields(first) == ('Let $x=3$,\r\nfind "$x^3$".', "27", ())
    assert fields(second) == ("Find $2+5$.", "007", ())
    assert grade("\\boxed{7}", second.answer).is_correct


def test_amc_parquet(tmp_path: Path) -> None:
    row = {"id": 0, "problem": "Find $11\\cdot 13-1$.", "answer": 142.0, "url": "https://a.example"}
    (problem,) = load(parquet(tmp_path / "train.parquet", [row]))
    assert problem.question == row["problem"]
    assert grade("\\boxed{142}", problem.answer).is_correct


def test_svamp_json_joins_body_and_question(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {
            "ID": "chal-1",
            "Body": "Each pack of books costs 8 dollars. Ann has 64 dollars",
            "Question": "How many packs can she buy?",
            "Equation": "( 64.0 / 8.0 )",
            "Answer": 8.0,
            "Type": "Common-Division",
        }
    ]
    (problem,) = load(array(tmp_path / "SVAMP.json", rows))
    assert problem.question == (
        "Each pack of books costs 8 dollars. Ann has 64 dollars How many packs can she buy?"
    )
    assert grade("\\boxed{8}", problem.answer).is_correct
    assert "question from 'Body+Question', answer from 'Answer'" in caplog.text


def test_asdiv_answers_keep_their_noun(tmp_path: Path) -> None:
    rows = [
        {
            "body": "Seven red apples and two green apples are in a basket.",
            "question": "How many apples are in the basket?",
            "solution_type": "Addition",
            "answer": "9 (apples)",
            "formula": "7+2=9",
        }
    ]
    (problem,) = load(lines(tmp_path / "asdiv.jsonl", rows))
    assert problem.question.endswith("in a basket. How many apples are in the basket?")
    assert problem.answer == "9 apples"
    assert grade("\\boxed{9}", problem.answer).is_correct
    assert not grade("\\boxed{8 apples}", problem.answer).is_correct


def test_mawps_json_takes_the_only_solution(tmp_path: Path) -> None:
    rows = [
        {
            "iIndex": 4,
            "sQuestion": "Joan found 70 shells and gave 43 away. How many has she?",
            "lEquations": ["X=70-43"],
            "lSolutions": [27.0],
        }
    ]
    (problem,) = load(array(tmp_path / "AddSub.json", rows))
    assert problem.question == rows[0]["sQuestion"]
    assert grade("\\boxed{27}", problem.answer).is_correct


def test_mmlu_csv_shows_its_choices(tmp_path: Path) -> None:
    path = text(
        tmp_path / "test.csv",
        "question,A,B,C,D,answer\nWhich is prime?,4,6,7,9,C\n",
    )
    (problem,) = load(path, split="test")
    assert problem.question == "Which is prime?\nA) 4\nB) 6\nC) 7\nD) 9"
    assert problem.answer == "C"
    assert grade("The answer is (C).", problem.answer, "mcq").is_correct
    headless = text(tmp_path / "bare.csv", "Which is prime?,4,6,7,9,C\nWhich is even?,4,1,7,9,A\n")
    with pytest.raises(ProblemError, match="first line of a CSV file must name its columns"):
        load_problems(headless)


def test_mmlu_parquet_turns_indices_into_letters(tmp_path: Path) -> None:
    rows = [
        {"question": "Which is prime?", "subject": "a", "choices": ["4", "7", "9"], "answer": 1},
        {"question": "Which is even?", "subject": "a", "choices": ["4", "7", "9"], "answer": 0},
    ]
    first, second = load(parquet(tmp_path / "test.parquet", rows), split="test")
    assert fields(first) == ("Which is prime?\nA) 4\nB) 7\nC) 9", "B", ())
    assert second.answer == "A"


def olympiad(final_answer: list[str], **more: object) -> dict[str, object]:
    return {
        "id": 1606,
        "subfield": "Algebra",
        "context": "Let $f(x)=x^2$.",
        "question": "Solve $f(x)=9$.",
        "solution": ["Take roots.", "Both signs."],
        "final_answer": final_answer,
        "is_multiple_answer": False,
        "unit": None,
        "answer_type": "Numerical",
        "error": None,
    } | more


def test_olympiad_bench_has_lists_of_answers(tmp_path: Path) -> None:
    rows = [olympiad(["$\\frac{1}{2}$"]), olympiad(["3", "-3"], is_multiple_answer=True)]
    first, second = load(array(tmp_path / "OE_TO_maths_en_COMP.json", rows))
    assert fields(first) == (
        "Let $f(x)=x^2$. Solve $f(x)=9$.", "$\\frac{1}{2}$", ("Take roots.", "Both signs."),
    )  # fmt: skip
    assert second.answer == "3, -3"
    assert grade("\\boxed{-3, 3}", second.answer).is_correct
    undecided = array(tmp_path / "several.json", [olympiad(["1"]), olympiad(["3", "-3"])])
    with pytest.raises(
        ProblemError, match=r"row 1: answer must be text or a number, got \['3', .*'all\(COLUMN\)'"
    ):
        load_problems(undecided)
    both = load(undecided, columns={"answer": "all(final_answer)"})
    assert [problem.answer for problem in both] == ["1", "3, -3"]


def test_deepscaler_json_array(tmp_path: Path) -> None:
    rows = [
        {"problem": "Find $6!/5!$.", "answer": "6", "solution": "$6!=6\\cdot5!$, so \\boxed{6}."},
        {"problem": "Find $2-5$.", "answer": "-3", "solution": ""},
    ]
    first, second = load(array(tmp_path / "deepscaler.json", rows))
    assert fields(first) == ("Find $6!/5!$.", "6", ("$6!=6\\cdot5!$, so \\boxed{6}.",))
    assert fields(second) == ("Find $2-5$.", "-3", ())


def test_big_math_parquet(tmp_path: Path) -> None:
    row = {
        "problem": "What is 15% of 60?",
        "answer": "9",
        "source": "cn_k12",
        "domain": ["Mathematics -> Percentages"],
        "llama8b_solve_rate": 0.875,
    }
    (problem,) = load(parquet(tmp_path / "train.parquet", [row]))
    assert fields(problem) == (row["problem"], "9", ())
    assert problem.source == "cn_k12"


def test_orz_json_of_chats(tmp_path: Path) -> None:
    rows = [
        [
            {"from": "human", "value": f"What is $7^2-{number}$?"},
            {"from": "assistant", "ground_truth": {"value": str(49 - number)}},
        ]
        for number in (8, 52)
    ]
    first, second = load(array(tmp_path / "orz_math_57k_collected.json", rows))
    assert fields(first) == ("What is $7^2-8$?", "41", ())
    assert fields(second) == ("What is $7^2-52$?", "-3", ())


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        (
            {
                "question": "What is 3+4?",
                "options": ["A)5", "B)6", "C)7"],
                "rationale": "3+4=7",
                "correct": "C",
            },
            "What is 3+4?\nA)5\nB)6\nC)7",
            "C",
        ),
        (
            {"Problem": "what is 3 + 4 ?", "options": "a ) 5 , b ) 6 , c ) 7", "correct": "c"},
            "what is 3 + 4 ?\nA) 5\nB) 6\nC) 7",
            "C",
        ),
        (
            {
                "question": {
                    "stem": "Which is prime?",
                    "choices": [{"text": "4", "label": "A"}, {"text": "7", "label": "B"}],
                },
                "answerKey": "B",
            },
            "Which is prime?\nA) 4\nB) 7",
            "B",
        ),
        (
            {"question": "Which is prime?", "options": {"A": "4", "B": "7"}, "answer": "7"},
            "Which is prime?\nA) 4\nB) 7",
            "7",
        ),
        (
            {
                "passage": "Let n be 7.",
                "question": "Which is n?",
                "options": ["(A)4", "(B)7"],
                "label": "B",
                "answer": None,
            },
            "Let n be 7. Which is n?\n(A)4\n(B)7",
            "B",
        ),
        (
            {"context": "n=7.", "query": "n?", "options": ["4", "7", "9"], "correct_option": 1},
            "n=7. n?\nA) 4\nB) 7\nC) 9",
            "B",
        ),
        (
            {"input": "Which is n=7?", "choices": ["4", "7"], "target": "B"},
            "Which is n=7?\nA) 4\nB) 7",
            "B",
        ),
        (
            {
                "question": "What is 3*4?",
                "distractor3": "14",
                "distractor1": "10",
                "distractor2": "11",
                "correct_answer": "12",
                "support": "",
            },
            "What is 3*4?\nA) 10\nB) 14\nC) 11\nD) 12",
            "D",
        ),
        (
            {"question": "Prime?", "opa": "4", "opb": "7", "opc": "8", "cop": 1},
            "Prime?\nA) 4\nB) 7\nC) 8",
            "B",
        ),
        (
            {"question": "Prime?", "options": {"a": "4", "b": "7"}, "answer": "b"},
            "Prime?\nA) 4\nB) 7",
            "B",
        ),
        (
            {"question": "Prime?", "options": ["4", "7"], "answer": 2},
            "Prime?\nA) 4\nB) 7",
            "B",
        ),
    ],
    ids=[
        "aqua",
        "mathqa",
        "arc",
        "medqa",
        "agieval",
        "logiqa",
        "inspect",
        "sciq",
        "medmcqa",
        "lower",
        "from 1",
    ],
)
def test_multiple_choice_json_lines(
    tmp_path: Path, row: dict[str, Any], question: str, answer: str
) -> None:
    (problem,) = load(lines(tmp_path / "x.jsonl", [row]))
    assert fields(problem) == (question, answer, ())
    assert grade(f"The answer is ({answer}).", answer, "mcq").is_correct


def test_gpqa_csv_has_its_choices_in_an_order_that_depends_on_their_texts_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = text(
        tmp_path / "gpqa_diamond.csv",
        "Pre-Revision Question,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,"
        "Incorrect Answer 3,Explanation,Record ID\n"
        "p,What is 3*4?,12,10,11,14,e,r1\np,What is 3+4?,7,8,9,10,e,r2\n",
    )
    first, second = load(path)
    assert fields(first) == ("What is 3*4?\nA) 10\nB) 14\nC) 11\nD) 12", "D", ())
    shown = dict(line.split(") ") for line in second.question.split("\n")[1:])
    assert shown[second.answer] == "7"
    assert sorted(shown.values()) == ["10", "7", "8", "9"]
    assert "with choices from Correct Answer, Incorrect Answer 1, Inc" in caplog.text
    (plain, _) = load(path, columns={"answer": "Correct Answer"})
    assert fields(plain) == ("What is 3*4?", "12", ())


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"problem": "q", "generated_solution": "So \\boxed{12}", "expected_answer": "12"}, "12"),
        ({"question": "q", "answer": None, "answer_number": 12, "equation_solution": None}, "12"),
        ({"prompt": [{"role": "user", "content": "q"}], "label": "12"}, "12"),
        ({"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": '["12"]'}},
         "12"),
        ({"problem_id": "p", "prompt": "q", "verification_info": '{"ground_truth": "12"}'}, "12"),
        ({"prompt": "q", "task": "math", "query_id": "x", "solutions": ["\\boxed{12}"]}, "12"),
        ({"input": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
          "ideal": "12"}, "12"),
        ({"id": "m", "question": "q", "chain": "<gadget>", "result": "12"}, "12"),
        ({"input": "q", "code": "def f():", "target": 12.0}, "12.0"),
    ],
    ids=["openmath", "mgsm", "slime", "skywork", "intellect", "areal", "evals", "calc", "gsm-hard"],
)  # fmt: skip
def test_answers_under_the_names_of_other_sets(
    tmp_path: Path, row: dict[str, Any], answer: str
) -> None:
    (problem,) = load(lines(tmp_path / "x.jsonl", [row]))
    assert fields(problem) == ("q", answer, ())


def test_skywork_lists_of_several_answers_are_refused_by_name(tmp_path: Path) -> None:
    row = {"prompt": "q", "reward_model": {"ground_truth": '["12", "13"]'}}
    with pytest.raises(ProblemError, match=r"row 0: answer must be text .* got \['12', '13'\]: if"):
        load_problems(parquet(tmp_path / "x.parquet", [row]))


def test_metamath_answers_are_taken_out_of_responses_on_request(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "response": "7+5=12\n#### 12\nThe answer is: 12", "type": "GSM"},
        {"query": "r", "response": "So.\nThe answer is: $\\frac{1}{2}$", "type": "MATH"},
        {"query": "s", "response": "Thus she has 5 apples left.", "type": "MATH"},
    ]
    path = array(tmp_path / "MetaMathQA.json", rows)
    with pytest.raises(ProblemError, match=r"columns=\{'answer': 'stated\(response\)'\}"):
        load_problems(path)
    problems = load(path, columns={"answer": "stated(response)"})
    assert [problem.answer for problem in problems] == ["12", "$\\frac{1}{2}$", "5"]


def test_answers_that_are_whole_texts_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prose = "She has 7 red balls and then 5 blue balls. So she has 7 + 5 = 12 balls in total."
    rows = [{"question": "q", "answer": "12"}, {"question": "r", "answer": prose}]
    load(lines(tmp_path / "orca.jsonl", rows))
    assert "1 of 2 answers of" in caplog.text
    assert "are texts: line 2 answer must be a final answer, got 'She has 7 red" in caplog.text
    assert "repeat its 14 words; take what it states with columns={'answer': 's" in caplog.text


def test_mawps_numbers_go_into_the_question(tmp_path: Path) -> None:
    row = {
        "Question": "Mary has N_00 cups and N_02 pens and N_01 m of rope. Cups and rope?",
        "Numbers": "7.0 5.5",
        "Equation": "+ N_00 N_01",
        "Answer": 12.5,
    }
    (problem,) = load(parquet(tmp_path / "train.parquet", [row]))
    assert problem.question == "Mary has 7 cups and N_02 pens and 5.5 m of rope. Cups and rope?"


@pytest.mark.parametrize(
    ("written", "answer", "right", "wrong"),
    [
        ("9 (apples)", "9 apples", "9", "8 apples"),
        ("2.5 (m)", "2.5 \\text{ m}", "2.5", "2.5 cm"),
        ("7 (red balls)", "7 \\text{ red balls}", "7", "6"),
        ("5 (cm\u00b2)", "5 cm\u00b2", "5", "5 cm"),
        ("3 (cats); 4 (dogs)", "3 cats, 4 dogs", "3, 4", "4"),
        ("9:15 (a.m.)", "9:15 a.m.", "9:15", "9:16"),
        ("f(x)", "f(x)", "f(x)", "f"),
        ("<answer> 9 </answer>", "9", "9", "8"),
        ("<think>4+5</think>\n<answer>9</answer>", "9", "9", "8"),
    ],
)
def test_answers_in_the_brackets_and_tags_of_asdiv_and_r1(
    tmp_path: Path, written: str, answer: str, right: str, wrong: str
) -> None:
    (problem,) = load(lines(tmp_path / "x.jsonl", [{"question": "q", "answer": written}]))
    assert problem.answer == answer
    assert grade(f"\\boxed{{{right}}}", problem.answer).is_correct
    assert not grade(f"\\boxed{{{wrong}}}", problem.answer).is_correct


def test_a_prompt_has_the_same_question_whether_one_or_all_rows_are_read(tmp_path: Path) -> None:
    rows = [dapo("Find $2^5-1$.", "31", "a-1"), dapo("Find the sum of 4 and $-7$.", "-3", "a-2")]
    path = parquet(tmp_path / "dapo.parquet", rows)
    assert load(path, size=1)[0].question == load(path)[0].question == "Find $2^5-1$."


def test_choices_in_columns_with_longer_names(tmp_path: Path) -> None:
    path = text(tmp_path / "x.csv", "Question,Option B,Option A,Answer\nPrime?,7,4,B\n")
    assert fields(load(path)[0]) == ("Prime?\nA) 4\nB) 7", "B", ())


def test_a_question_that_some_rows_lack_is_taken_from_a_column_that_all_have(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": text}],
            "answer": "5",
            "extra_info": {"question": own},
        }
        for text, own in (("Find 2+3.", "Find 2+3."), ("Find 1+4.", None))
    ]
    assert [one.question for one in load(lines(tmp_path / "x.jsonl", rows))] == [
        "Find 2+3.", "Find 1+4.",
    ]  # fmt: skip


def test_bytes_that_are_text_are_read(tmp_path: Path) -> None:
    (problem,) = load(parquet(tmp_path / "x.parquet", [{"question": b"Find 2+3.", "answer": b"5"}]))
    assert fields(problem) == ("Find 2+3.", "5", ())
