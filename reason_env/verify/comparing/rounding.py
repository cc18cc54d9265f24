"""Decides when a decimal stands for a number that it only rounds to, and what a tolerance forgives.

A reference of three significant digits or more, with a decimal point, is taken for the rounding
of an exact response (27/59 for 0.458); a decimal response has to be the reference's very number
unless it shows so many digits that only the exact value can have given them. Percent signs move
the point by two places.
"""

import math
from fractions import Fraction

from reason_env.verify.comparing.identity import number_value, precise_value
from reason_env.verify.options import GradeOptions
from reason_env.verify.tree import Node, has_op, number, rational, symbols


def is_close(found: Node, gold: Node, options: GradeOptions) -> bool:
    """Returns whether two unequal numbers are equal under the options."""
    if symbols(found) or symbols(gold):
        return False
    left, right = number_value(found), number_value(gold)
    if left is None or right is None or math.isinf(left) or math.isinf(right):
        return False
    if options.relative_tolerance and abs(left - right) <= options.relative_tolerance * abs(right):
        return True
    if _stands_for(gold, found, options.reference_digits):
        return _rounds_to(found, gold)
    return _stands_for(found, gold, options.response_digits) and _rounds_to(gold, found)


def _stands_for(rounded: Node, exact: Node, least_digits: int) -> bool:
    places = decimal_places(rounded)
    if not least_digits or places is None or places[0] < 1 or has_op(exact, "dec"):
        return False
    return places[1] >= least_digits


def _rounds_to(exact: Node, rounded: Node) -> bool:
    value = precise_value(exact)
    if value is None:
        return False
    places, shown = decimal_places(rounded), rational(rounded)
    if places is None or shown is None:
        return False
    return abs(value - shown) <= Fraction(1, 2 * 10 ** places[0])


def decimal_places(node: Node) -> tuple[int, int] | None:
    """Returns digits after the point and significant digits of a decimal as written, else None.

    >>> decimal_places(Node("percent", (Node("dec", (), "6.67"),)))
    (4, 3)
    """
    if node.op in ("neg", "quantity", "degree"):
        return decimal_places(node.args[0])
    if node.op == "percent":
        inner = decimal_places(node.args[0])
        return None if inner is None else (inner[0] + 2, inner[1])
    if node.op != "dec":
        return None
    whole, _, fraction = str(node.value).partition(".")
    return len(fraction), len((whole + fraction).lstrip("0"))


def as_hundredths(node: Node) -> Node:
    """Returns a number divided by 100."""
    return Node("mul", (node, number(Fraction(1, 100))))
