"""Evaluates a short arithmetic expression exactly, and lists its numbers.

The text comes from a policy: the grammar has four operations, parentheses and unsigned integers of
ASCII digits; length and depth are bounded; Python evaluates nothing; any other text gives None.
"""

import re
from fractions import Fraction

MAX_CHARS = 200
MAX_PARENTHESES = 20
_TOKEN = re.compile(r"\s*([0-9]{1,6}|[-+*/()])")


def value_and_numbers(text: str) -> tuple[Fraction, tuple[int, ...]] | None:
    """Evaluate an expression and list its numbers in order; None for any other text.

    >>> value_and_numbers("(9 - 3) * 4"), value_and_numbers("3*9/4")
    ((Fraction(24, 1), (9, 3, 4)), (Fraction(27, 4), (3, 9, 4)))
    >>> value_and_numbers("3*"), value_and_numbers("4/(2-2)"), value_and_numbers("__import__('os')")
    (None, None, None)
    """
    text = text.strip()
    if len(text) > MAX_CHARS or text.count("(") > MAX_PARENTHESES:
        return None
    tokens: list[str] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        tokens.append(found[1])
        at = found.end()
    numbers: list[int] = []
    value, rest = _sum(tuple(tokens), 0, numbers)
    return None if value is None or rest != len(tokens) else (value, tuple(numbers))


def _sum(tokens: tuple[str, ...], at: int, numbers: list[int]) -> tuple[Fraction | None, int]:
    value, at = _product(tokens, at, numbers)
    while value is not None and at < len(tokens) and tokens[at] in "+-":
        sign = 1 if tokens[at] == "+" else -1
        other, at = _product(tokens, at + 1, numbers)
        value = None if other is None else value + sign * other
    return value, at


def _product(tokens: tuple[str, ...], at: int, numbers: list[int]) -> tuple[Fraction | None, int]:
    value, at = _atom(tokens, at, numbers)
    while value is not None and at < len(tokens) and tokens[at] in "*/":
        divides = tokens[at] == "/"
        other, at = _atom(tokens, at + 1, numbers)
        if other is None or (divides and other == 0):
            return None, at
        value = value / other if divides else value * other
    return value, at


def _atom(tokens: tuple[str, ...], at: int, numbers: list[int]) -> tuple[Fraction | None, int]:
    if at >= len(tokens):
        return None, at
    if tokens[at] == "(":
        value, at = _sum(tokens, at + 1, numbers)
        closed = at < len(tokens) and tokens[at] == ")"
        return (value, at + 1) if closed else (None, at)
    if not tokens[at].isdigit():
        return None, at
    numbers.append(int(tokens[at]))
    return Fraction(int(tokens[at])), at + 1
