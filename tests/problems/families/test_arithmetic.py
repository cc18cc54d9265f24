import ast
import operator
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.verify import reaches
from reason_env.verify.scorers.arithmetic import MAX_CHARS, MAX_PARENTHESES, value_and_numbers

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv}  # fmt: skip


def reference(node: ast.AST) -> Fraction:
    """The value of a tree of Python's own parser, in fractions."""
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](reference(node.left), reference(node.right))
    assert isinstance(node, ast.Constant)
    assert type(node.value) is int
    return Fraction(node.value)


def parsed(text: str) -> ast.AST:
    return ast.parse(re.sub(r"(?<!\d)0+(?=\d)", "", text.strip()), mode="eval").body


numbers = st.integers(0, 999_999).map(str) | st.integers(0, 12).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", " - ", "* "]), inner).map("".join)
        | inner.map(lambda text: f"({text})")
        | inner.map(lambda text: f"( {text} ) ")
    ),
    max_leaves=8,
).filter(lambda text: len(text.strip()) <= MAX_CHARS and text.count("(") <= MAX_PARENTHESES)


@settings(max_examples=150, deadline=None, database=None)
@given(expressions)
def test_every_expression_has_the_value_that_python_gives_it(text):
    try:
        value = reference(parsed(text))
    except ZeroDivisionError:
        assert value_and_numbers(text) is None
        return
    assert value_and_numbers(text) == (value, tuple(map(int, re.findall(r"\d+", text))))


@settings(max_examples=200, deadline=None, database=None)
@given(st.text("0123459+-*/() ", max_size=14))
def test_any_text_with_a_value_has_the_same_value_in_python(text):
    found = value_and_numbers(text)
    if found is not None:
        assert found[0] == reference(parsed(text))
        assert list(found[1]) == [int(number) for number in re.findall(r"\d+", text)]


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(max_size=30))
def test_no_text_raises(text):
    found = value_and_numbers(text)
    assert found is None or isinstance(found[0], Fraction)
    assert reaches(text, 31, [9, 3, 4]) is False or sorted(re.findall("[0-9]+", text)) == list(
        "349"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("9-3-4", 2),
        ("9-(3-4)", 10),
        ("8/4/2", 1),
        ("8/(4/2)", 4),
        ("1/3+1/6", Fraction(1, 2)),
        ("2*3/4", Fraction(3, 2)),
        ("0/5", 0),
        (" ( 7 ) ", 7),
        ("007+1", 8),
        ("999999*2", 1_999_998),
        ("(" * 20 + "5" + ")" * 20, 5),
        ("1+" * 99 + "12", 111),
    ],
)
def test_values_by_hand(text, value):
    assert value_and_numbers(text)[0] == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "()", "(", ")", "(7", "7)", ")7(", "3 4", "12 3", "(3)(4)", "3(4)", "3*", "*3",
        "+3", "-3", "3--4", "3**2", "6//2", "1.5", "1e5", "0x10", "1_0", "1,5", "x", "3x", "5/0",
        "5/(2-2)", "9=9", "1000000", "\u0663*9", "\u00b2", "\uff13+4", "3\u00d79", "3\x009",
        "__import__('os')", "(" * 21 + "5" + ")" * 21, "(" * 10**6, "1" * 10**6, "1+" * 100 + "1",
        "1+" * 10**6 + "1", " " * 10**6 + "+", "(" * 500 + ")" * 500, "\\frac{1}{2}", "3;4",
        "lambda: 3",
    ],
)  # fmt: skip
def test_other_text_gives_none_within_half_a_second(text):
    start = time.process_time()
    assert value_and_numbers(text) is None
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3*9+4", True),
        ("4+9*3", True),
        ("(9*3)+4", True),
        ("31", False),
        ("3*9+4+0", False),
        ("3*9+4-4", False),
        ("27+4", False),
        ("9+4*3", False),
        ("3*9+04", True),
        ("nonsense", False),
    ],
)
def test_an_expression_reaches_a_number_with_exactly_its_digits(text, answer):
    assert reaches(text, 31, [9, 3, 4]) is answer


def test_fractions_on_the_way_are_exact():
    assert reaches("8/(3-8/3)", 24, [8, 3, 8, 3])
    assert not reaches("8/(3-8/3)", 24, [8, 3, 8, 8])
    assert not reaches("1/3*2", 1, [1, 2, 3])
