r"""Mutated copies of references: what each kind changes, and what it must leave alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.problems.mutants import Mutant, mutants
from reason_env.problems.self_check import accepted_mutant, why_lenient
from reason_env.verify import GradeOptions, grade


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("12", {"sign": "-12", "digit": "13"}),
        ("-19", {"sign": "19", "digit": "-18"}),
        ("0.06", {"sign": "-0.06", "digit": "1.06"}),
        ("0", {"digit": "1"}),
        ("0.00", {"digit": "1.00"}),
        (r"\frac{3}{4}", {"sign": r"-\frac{3}{4}", "digit": r"\frac{4}{4}"}),
        (r"\frac{0}{4}", {}),
        ("$-4$", {"sign": "$4$", "digit": "$-5$"}),
        (r"2\sqrt{3}", {"sign": r"-2\sqrt{3}", "digit": r"3\sqrt{3}"}),
        ("x=3", {"sign": "x=-3", "digit": "x=4"}),
        ("y=2x+1", {"sign": "y=-2x+1", "digit": "y=3x+1"}),
        ("x^2+y^2=4", {"digit": "x^2+y^2=5"}),
        (r"\pm 3", {"digit": r"\pm 4"}),
        ("x > 2", {"digit": "x > 3"}),
        ("5!", {"sign": "-5!"}),
        ("101_2", {"sign": "-101_2"}),
        (r"\binom{6}{2}", {}),
        (r"\lim_{x \to 3} a", {}),
        (r"\lim_{x\to\infty} \frac{1}{x}", {}),
        (r"\int\limits_{a}^{b} 3x\, dx", {"digit": r"\int\limits_{a}^{b} 4x\, dx"}),
        ("3:15", {}),
        ("1, 2", {"sign": "-1, 2", "digit": "2, 2"}),
        ("(3, 1)", {"digit": "(4, 1)", "order": "(1, 3)"}),
        ("(a, a)", {}),
        ("(x+1)(x-2)", {"digit": "(x+2)(x-2)"}),
        ("[2, 5)", {"digit": "[3, 5)", "bracket": "(2, 5)"}),
        (r"(-\infty, 4]", {"digit": r"(-\infty, 5]", "bracket": r"(-\infty, 4)"}),
        (r"(0,1) \cup (2,3)", {"digit": r"(1,1) \cup (2,3)", "bracket": r"[0,1) \cup (2,3)"}),
        ("[1, 2]", {"digit": "[2, 2]"}),
        ("7 cm", {"sign": "-7 cm", "digit": "8 cm", "unit": "7 m"}),
        (r"7\text{ hours}", {"unit": r"7\text{ minutes}"}),
        (r"\$5", {"unit": "€5", "digit": r"\$6"}),
        ("9 apples", {"sign": "-9 apples", "digit": "8 apples"}),
        ("Tuesday", {}),
        ("C", {}),
        ("C. 12", {}),
        ("at most 3 of the 5", {"digit": "at most 4 of the 5"}),
        ("three more than 5 others are left here", {}),
        (r"so $\boxed{7}$", {}),
        ("z = 1 + 1 = 2", {}),
        ("", {}),
    ],
)
def test_each_kind_changes_what_it_is_named_for(answer: str, expected: dict[str, str]) -> None:
    found = {mutant.kind: mutant.text for mutant in mutants(answer)}
    assert {kind: found.get(kind) for kind in expected} == expected
    if not expected:
        assert found == {}


@pytest.mark.parametrize(
    ("answer", "absent"),
    [
        ("0", "sign"),
        (r"\pm 3", "sign"),
        ("1, 2", "order"),
        ("[1, 2]", "bracket"),
        ("x > 2", "sign"),
    ],
)
def test_a_mutation_that_may_change_nothing_is_left_out(answer: str, absent: str) -> None:
    assert absent not in {mutant.kind for mutant in mutants(answer)}


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789-+.,/\\$%{}()[] xcmfrtaπ=^_!:", max_size=30))
def test_any_text_has_mutants_of_other_text(text: str) -> None:
    found = mutants(text)
    assert all(mutant.text not in ("", text) for mutant in found)
    assert len({mutant.kind for mutant in found}) == len(found)


@settings(max_examples=60, deadline=None)
@given(
    number=st.fractions(min_value=-999, max_value=999, max_denominator=40),
    decimals=st.booleans(),
)
def test_the_grader_refuses_every_mutant_of_a_number(number: object, decimals: bool) -> None:
    answer = f"{float(str(number).split('/')[0]) / 8}" if decimals else str(number)
    assert accepted_mutant(answer, with_workers=True) is None


def test_an_accepted_mutant_is_named_with_its_kind() -> None:
    near = GradeOptions(relative_tolerance=0.2)
    mutant = accepted_mutant("51.2", near)
    assert mutant == Mutant("digit", "52.2")
    assert grade("\\boxed{52.2}", "51.2", near).is_correct
    assert why_lenient("51.2", near) == (
        "answer must refuse another digit, got '51.2', which accepts '52.2'"
    )
    assert accepted_mutant("51.2") is None
    assert why_lenient("51.2") == ""


def test_the_content_of_a_box_is_mutated() -> None:
    near = GradeOptions(relative_tolerance=0.02)
    assert accepted_mutant("so it is $\\boxed{51.2}$", near) == Mutant("digit", "52.2")
    assert accepted_mutant("so it is $\\boxed{51.2}$") is None
