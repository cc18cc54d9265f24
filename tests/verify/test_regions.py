import pytest

from reason_env.verify.comparing.regions import Piece, ordered
from reason_env.verify.comparing.sets import as_region
from reason_env.verify.parsing.grammar import parse_answer

EQUAL = [
    # an end of an intersection belongs to it if it belongs to both sides
    (r"[0,2]\cap(0,2)", "(0,2)"),
    (r"(0,2)\cap[0,2]", "(0,2)"),
    (r"[0,2)\cap(0,2]", "(0,2)"),
    (r"[0,2]\cap[0,2]", "[0,2]"),
    (r"[0,3]\cap(1,2)", "(1,2)"),
    (r"[1,2]\cap(0,3)", "[1,2]"),
    (r"(0,2)\cap[1,3]", "[1,2)"),
    (r"[0,2]\cap(1,3)", "(1,2]"),
    # two sides that touch share a point if both have it
    (r"[0,1]\cap[1,2]", r"\{1\}"),
    (r"[0,1)\cap[1,2]", r"\emptyset"),
    (r"[0,1]\cap(1,2]", r"\emptyset"),
    (r"[0,1]\cap[2,3]", r"\emptyset"),
    # pieces of a union merge if they overlap, or touch in a point that one of them has
    (r"(0,1)\cup(1,2)", r"(1,2)\cup(0,1)"),
    (r"(0,1]\cup(1,2)", "(0,2)"),
    (r"(0,1)\cup[1,2)", "(0,2)"),
    (r"(0,2)\cup[1,3]", "(0,3]"),
    (r"(0,2)\cup[0,1)", "[0,2)"),
    (r"(0,1)\cup[0,2)", "[0,2)"),
    (r"(0,3)\cup(1,2)\cup(2.5,4)", "(0,4)"),
    (r"[0,2]\cup(1,2)", "[0,2]"),
    (r"(0,2)\cup(1,2]", "(0,2]"),
    (r"(0,2)\cup[\frac12,1]", "(0,2)"),
    (r"(1,1)\cup(2,3)", "(2,3)"),
    (r"\{1\}\cup(1,2)", "[1,2)"),
    # a difference with a point leaves it out
    (r"[0,2]\setminus\{1\}", r"[0,1)\cup(1,2]"),
    (r"[0,2]\setminus\{0\}", "(0,2]"),
    (r"[0,2]\setminus\{2\}", "[0,2)"),
]


def pieces(text: str) -> tuple[Piece, ...]:
    region = as_region(parse_answer(text))
    assert region is not None
    return ordered(region)


@pytest.mark.parametrize(("text", "simple"), EQUAL)
def test_a_region_is_reduced_to_its_simple_form(text: str, simple: str) -> None:
    assert pieces(text) == pieces(simple)


def test_only_points_are_subtracted() -> None:
    assert as_region(parse_answer(r"[0,3]\setminus[1,2]")) is None


def test_two_open_pieces_that_touch_stay_apart() -> None:
    assert len(pieces(r"(0,1)\cup(1,2)")) == 2
    assert len(pieces(r"(0,1]\cup(1,2)")) == 1
    assert pieces(r"\emptyset") == ()
