import contextlib
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reason_env.verdict import Outcome
from reason_env.verify import grade
from reason_env.verify.comparing.identity import is_undefined, same_value
from reason_env.verify.parsing.grammar import parse_answer
from reason_env.verify.parsing.literals import read_number
from reason_env.verify.parsing.unreadable import UnreadableError
from reason_env.verify.tree.exact import PRIME, UndefinedError, modular, rational
from reason_env.verify.tree.nodes import Node, number


def trees() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.integers(0, 99).map(str), st.sampled_from(["x", "y", "n"]))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda p: f"({p[0]}+{p[1]})"),
            st.tuples(inner, inner).map(lambda p: f"({p[0]}-{p[1]})"),
            st.tuples(inner, inner).map(lambda p: f"{p[0]}\\cdot {p[1]}"),
            st.tuples(inner, inner).map(lambda p: f"\\frac{{{p[0]}}}{{{p[1]}+1}}"),
            inner.map(lambda p: f"({p})^2"),
        ),
        max_leaves=8,
    )


@given(trees())
@settings(max_examples=60, deadline=None)
def test_an_expression_equals_itself_and_not_itself_plus_one(text: str) -> None:
    tree = parse_answer(text)
    assume(not is_undefined(tree))
    shifted = parse_answer(f"({text})+1")
    twice = parse_answer(f"\\frac{{2({text})}}{{2}}")

    assert same_value(twice, tree) in (True, None)
    assert same_value(shifted, tree) in (False, None)


def test_a_near_identity_is_not_one() -> None:
    ramanujan = parse_answer(r"e^{\pi\sqrt{163}}")

    assert same_value(ramanujan, parse_answer("262537412640768744")) is False
    assert same_value(parse_answer(r"x + 10^{-30}\pi"), parse_answer("x")) is False


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_reading_raises_nothing_but_unreadable(text: str) -> None:
    with contextlib.suppress(UnreadableError):
        assert isinstance(parse_answer(text), Node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/2/4", Fraction(1, 8)),
        ("-2^2", Fraction(-4)),
        ("2^{-3}", Fraction(1, 8)),
        (r"2\frac13", Fraction(7, 3)),
        (r"\frac1234", Fraction(34, 2)),
        ("5!", Fraction(120)),
        (r"12.5\%", Fraction(1, 8)),
        ("4^{1/2}", Fraction(2)),
        ("3-(-4)", Fraction(7)),
        ("1.5e3", Fraction(1500)),
        ("--5", Fraction(5)),
    ],
)
def test_constants_are_exact(text: str, value: Fraction) -> None:
    assert rational(parse_answer(text)) == value


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "10^{100000}", "99999!", "2^{2^{40}}", "1e999999999", "0^{-1}", "1/0"]
)
def test_numbers_beyond_the_bounds_are_not_evaluated(text: str) -> None:
    assert rational(parse_answer(text)) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", Fraction(1234)),
        ("1,22", Fraction(122, 100)),
        ("0,111", Fraction(111, 1000)),
        ("12,34,56", None),
        ("1 000", Fraction(1000)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        ("1/0", None),
        ("\u0661", None),
        ("1.2.3", None),
        ("+-5", None),
        ("", None),
    ],
)
def test_plain_numbers_are_read_without_the_parser(text: str, value: Fraction | None) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize("text", [r"\text{ }", "\\text{\n\n}", "\\text{\t \t}"])
def test_text_of_white_space_alone_is_no_answer(text: str) -> None:
    assert grade(f"\\boxed{{{text}}}", "5").outcome is Outcome.INCORRECT
    assert grade(f"\\boxed{{7{text}}}", "7").outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    "text",
    ["1 2", "x)", "(1,2", "{1", r"\frac{1}", "3+", r"\begin{pmatrix}1&2\\3\end{pmatrix}", "(" * 60],
)
def test_malformed_text_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_answer(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1/4)^{1/2}", Fraction(1, 2)),
        ("(-1)^{3}", Fraction(-1)),
        ("(-1)^{4}", Fraction(1)),
        ("(1/9)^{-1/2}", Fraction(3)),
        ("0!", Fraction(1)),
    ],
)
def test_powers_and_factorials_are_exact(text: str, value: Fraction) -> None:
    assert rational(parse_answer(text)) == value


@pytest.mark.parametrize(
    "text", ["0^0", "(-4)^{1/2}", "(4/3)^{1/2}", "(3/4)^{1/2}", "(-3)!", "(1/2)!"]
)
def test_irrational_powers_have_no_rational_value(text: str) -> None:
    assert rational(parse_answer(text)) is None


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (r"2\frac{1}{2}x", r"\frac{5x}{2}", True),
        (r"2\frac{1}{2}x", "2x", False),
        (r"x+50\%", r"x+\frac12", True),
        (r"x+50\%", "x+50", False),
        ("-(x+y)", "-x-y", True),
        ("-(x+y)", "x+y", False),
        (r"\frac{x}{2305843009213693951}", "x", False),
        ("y^2-y^2+x", "x", True),
        ("x + \\infty", "x", False),
    ],
)
def test_identities_hold_in_every_operation(left: str, right: str, same: bool) -> None:
    assert same_value(parse_answer(left), parse_answer(right)) in (
        (True,) if same else (False, None)
    )


def test_a_fraction_that_the_prime_divides_has_no_residue() -> None:
    with pytest.raises(UndefinedError, match="the prime divides"):
        modular(number(Fraction(1, PRIME)), 0)
