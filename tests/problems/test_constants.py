"""The constant-answer probe: honest shares by hand, and what it reports."""

import pytest

from reason_env.problem import Problem
from reason_env.problems.constants import (
    DEGENERATE,
    ConstantShare,
    canonical,
    likeliest,
    probe_constants,
)
from reason_env.verify import GradeOptions


def problems(*answers: str) -> list[Problem]:
    return [
        Problem(problem_id=f"t/{at}", question="q", answer=answer)
        for at, answer in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000"),
        ("0.50", r"\frac{1}{2}"),
        (r"\dfrac12", "1/2"),
        ("50%", r"50\%"),
        (r"50\%", "0.5"),
        ("7 cm", "7"),
        (r"7\text{ square feet}", "$7$"),
        ("x = 7", "7"),
        (r"30^\circ", "30"),
        (r"\$7.50", "7.5"),
        ("2, 1", "1,2"),
        (r"\left(1, 2\right)", "(1,2)"),
        (r"so $\boxed{7}$", "7"),
        ("Tuesday", "tuesday"),
    ],
)
def test_equal_values_have_one_canonical_form(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "-7"),
        ("0.1", "0,1"),
        ("(1,2)", "(2,1)"),
        ("[1,0)", "(3,2)"),
        ("1=1", "1"),
        ("5:5", "1"),
        ("x-x", "0"),
        (r"\frac{1}{2^{1007}}", "0"),
        (r"\sqrt{2}", "2"),
        ("1/0", "0"),
    ],
)
def test_other_values_have_another_form(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_the_likeliest_constants_are_degenerate_ones_and_frequent_answers() -> None:
    found = likeliest(["77", "88", "88", "88.0", "1", "66"], len(DEGENERATE) + 2)
    assert found[: len(DEGENERATE)] == list(DEGENERATE)
    assert found[len(DEGENERATE) :] == ["88", "77"]
    assert likeliest(["77"], 3) == list(DEGENERATE[:3])


def test_the_honest_share_is_the_number_of_references_of_a_constants_value() -> None:
    found = {
        share.constant: share
        for share in probe_constants(problems("5", "5.0", "5 cm", "-5")).shares
    }
    assert found["5"] == ConstantShare(constant="5", earned=3, honest=3, examples=())
    assert found["-5"].earned == found["-5"].honest == 1
    assert found["0"].earned == 0


def test_a_constant_above_its_share_is_reported_with_the_references_it_takes() -> None:
    near = GradeOptions(relative_tolerance=0.3)
    probe = probe_constants(problems("900.5", "900.5", "910.5", "7000.5"), near)
    worst = probe.above[0]
    assert worst == ConstantShare(constant="910.5", earned=3, honest=1, examples=("900.5",))
    other_one = next(share for share in probe.above if share.constant == "900.5")
    assert (other_one.earned, other_one.honest) == (3, 2)
    assert {share.constant for share in probe.above} == {"900.5", "910.5"}
    assert probe.num_problems == 4


def test_no_problems_are_probed_by_the_degenerate_constants() -> None:
    probe = probe_constants([])
    assert (probe.num_problems, probe.above, len(probe.shares)) == (0, (), len(DEGENERATE))


def test_no_constant_is_above_its_share_of_plain_numbers() -> None:
    probe = probe_constants(problems(*map(str, range(2, 60)), "1/3", "-4", "2.5", "(2,7)"))
    assert probe.above == ()
    assert probe.best.earned == 1
