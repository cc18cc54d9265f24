import json
from pathlib import Path

import pytest

from reason_env.errors import ConfigError, ProblemError
from reason_env.verdict import Outcome
from reason_env.verify import PRESETS, GradeOptions, grade, grade_file

STRICT = GradeOptions()


@pytest.mark.parametrize(
    ("response", "reference", "options"),
    [
        ("50", r"50\%", GradeOptions(percent="sign_optional")),
        (r"50\%", "50", GradeOptions(percent="sign_optional")),
        ("3.14", "3.15", GradeOptions(relative_tolerance=0.01)),
        ("0.333", r"\frac13", GradeOptions(response_digits=3)),
        (r"\frac13", "0.33", GradeOptions(reference_digits=2)),
        ("x^2", "x^2+C", GradeOptions(constant="optional")),
        (r"17 \times 23", "391", GradeOptions(forms="any")),
    ],
)
def test_an_option_accepts_an_answer_that_the_default_refuses(
    response: str, reference: str, options: GradeOptions
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference, options).outcome is Outcome.CORRECT
    assert grade(f"\\boxed{{{response}}}", reference, STRICT).outcome is Outcome.INCORRECT


@pytest.mark.parametrize(
    ("response", "reference", "options"),
    [
        ("2, 1", "1, 2", GradeOptions(ordered=True)),
        ("5", r"5\text{ cm}", GradeOptions(units="required")),
        (r"\frac{27}{59}", "0.458", GradeOptions(reference_digits=0)),
        ("0.0833333333333333", r"\frac{1}{12}", GradeOptions(response_digits=0)),
    ],
)
def test_an_option_refuses_an_answer_that_the_default_accepts(
    response: str, reference: str, options: GradeOptions
) -> None:
    assert grade(f"\\boxed{{{response}}}", reference, options).outcome is Outcome.INCORRECT
    assert grade(f"\\boxed{{{response}}}", reference, STRICT).outcome is Outcome.CORRECT


def test_the_letter_case_of_an_integration_constant_does_not_matter() -> None:
    assert grade(r"\boxed{x^2+c}", "x^2+C").is_correct
    assert not grade(r"\boxed{x^2+1}", "x^2+C").is_correct


def test_every_preset_builds_and_the_strict_one_is_the_default() -> None:
    assert all(isinstance(make(), GradeOptions) for make in PRESETS.values())
    assert PRESETS["strict"]() == STRICT


def test_a_tolerance_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"relative_tolerance must be in \[0, 1\), got 1.5"):
        GradeOptions(relative_tolerance=1.5)
    with pytest.raises(ConfigError, match=r"reference_digits must be at least 0 .*, got -1"):
        GradeOptions(reference_digits=-1)


def file_of(folder: Path, *lines: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_a_file_is_graded_in_order_with_counts_and_disagreements(tmp_path: Path) -> None:
    rows = [("#### 7", "7"), ("#### 8", "7"), ("no", "7"), ("\\boxed{7}", "7.0")]
    lines = [json.dumps({"response": r, "answer": a}) for r, a in rows]
    graded = grade_file(file_of(tmp_path, *lines, ""), against=lambda r, a: r == "#### 7")

    assert [row.verdict.outcome.value for row in graded.rows] == [
        "correct",
        "incorrect",
        "no_answer",
        "correct",
    ]
    assert graded.counts[Outcome.CORRECT] == 2
    assert sum(graded.counts.values()) == 4
    assert [row.line for row in graded.disagreements] == [4]


def test_a_bad_row_of_a_file_is_named(tmp_path: Path) -> None:
    good = json.dumps({"response": "#### 7", "answer": 7})
    with pytest.raises(ProblemError, match=r"line 2 of .*rows.jsonl must be JSON, got '\{'"):
        grade_file(file_of(tmp_path, good, "{"))
    with pytest.raises(ProblemError, match=r"line 1 of .* must be a JSON object, got '3'"):
        grade_file(file_of(tmp_path, "3"))
    with pytest.raises(
        ProblemError, match=r"must have a column 'response'; did you mean 'responses'"
    ):
        grade_file(file_of(tmp_path, json.dumps({"responses": "", "answer": ""})))
    with pytest.raises(
        ProblemError, match=r"column 'answer' in line 1 of .* must be text, got None"
    ):
        grade_file(file_of(tmp_path, json.dumps({"response": "", "answer": None})))


def test_a_grader_that_fails_on_a_row_makes_no_disagreement(tmp_path: Path) -> None:
    lines = [json.dumps({"response": "#### 7", "answer": answer}) for answer in ("7", "8")]
    graded = grade_file(file_of(tmp_path, *lines), against=lambda r, a: None)

    assert [row.other for row in graded.rows] == [None, None]
    assert graded.disagreements == ()
