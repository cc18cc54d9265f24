"""Decides whether a decimal may be the rounding of an exact number, and applies the tolerance.

A decimal reference with enough significant digits accepts an exact response that rounds to it
(27/59 for 0.458). A decimal response must equal the reference, unless it has so many digits that
only the exact value can have produced them. A percent sign moves the point by two places.
"""

import math
from fractions import Fraction

from reason_env.verify.comparing.identity import number_value, precise_value
from reason_env.verify.options import GradeOptions
from reason_env.verify.tree import Node, has_op, number, rational, symbols


def is_close(found: Node, gold: Node, options: GradeOptions) -> bool:
    """Decide whether the options accept two unequal numbers as equal."""
    if symbols(found) or symbols(gold):
        return False
    left, right = number_value(found), number_value(gold)
    if left is None or right is None or math.isinf(left) or math.isinf(right):
        return False
    if options.relative_tolerance and abs(left - right) <= options.relative_tolerance * abs(right):
        return True
    if _may_round(gold, found, options.reference_digits):
        return _rounds_to(found, gold)
    return _may_round(found, gold, options.response_digits) and _rounds_to(gold, found)


def _may_round(rounded: Node, exact: Node, least_digits: int) -> bool:
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
    """Count digits after the point and significant digits as written; None if not a decimal.

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
    """Divide a number by 100."""
    return Node("mul", (node, number(Fraction(1, 100))))
