"""Decides whether two expressions have the same value by exact, modular and numeric tests.

None means that no test could tell. The numeric test accepts only if 40 of 60 digits agree at two
points. It prefers points at which both sides are real (so sqrt(x^2) is not x), unless the imaginary
unit occurs.
"""

import math
from fractions import Fraction
from typing import Any

from reason_env.verify.comparing.numeric import Evaluator, is_opaque
from reason_env.verify.tree import (
    DOUBLES,
    Node,
    UndefinedError,
    has_op,
    is_real,
    long_field,
    modular,
    rational,
    symbols,
    walk,
)

POINTS = 6
MAX_NODES = 4000
_DOUBLE_TOLERANCE = 1e-7
_LONG_TOLERANCE = 1e-40
_PRECISION_BITS = 190
_UNEVALUATED = ("sum", "prod", "int", "lim", "deriv")
"""Operations that are not evaluated: equal parts prove them equal, unequal parts prove nothing."""


def same_value(left: Node, right: Node) -> bool | None:  # noqa: PLR0911 - one test per line
    """Decide whether two expressions are equal for all values of their variables; None if unknown.

    >>> from reason_env.verify.parsing.grammar import parse_answer as read
    >>> same_value(read("(x+1)^2"), read("x^2+2x+1")), same_value(read("sin(2x)"), read("2 sin x"))
    (True, False)
    """
    if left == right:
        return True
    sign = infinite_sign(left), infinite_sign(right)
    if any(sign):
        return sign[0] == sign[1]
    if has_op(left, "based") or has_op(right, "based"):
        return False
    exact_left, exact_right = rational(left), rational(right)
    if exact_left is not None and exact_right is not None:
        return exact_left == exact_right
    if is_undefined(left) or is_undefined(right):
        return False
    try:
        return all(modular(left, point) == modular(right, point) for point in (0, 1))
    except UndefinedError:
        return _numeric(left, right)


def is_undefined(node: Node) -> bool:
    """Decide whether a constant has no value: a division by zero, the logarithm of zero."""
    if symbols(node) or rational(node) is not None:
        return False
    try:
        Evaluator(DOUBLES, 0).value(node)
    except UndefinedError as error:
        return isinstance(error.__cause__, ZeroDivisionError | ValueError)
    return False


def infinite_sign(node: Node) -> int:
    """Give 1 for plus infinity, -1 for minus infinity, 0 for anything else."""
    if node.op == "neg":
        return -infinite_sign(node.args[0])
    return int(node.op == "const" and node.value == "inf")


def proportional(left: Node, right: Node) -> bool | None:
    """Decide whether the quotient of two expressions is a non-zero constant; None if unknown."""
    constant = _constant_quotient(left, right)
    return None if constant is None else constant != 0


def _constant_quotient(left: Node, right: Node) -> complex | None:
    """Compute the quotient of two expressions: 0 if it is not constant, None if unknown."""
    quotients: list[complex] = []
    for point in range(POINTS):
        values = _pair(left, right, point)
        if values is None or not all(is_real(value) for value in values):
            continue
        if abs(values[0]) < 1e-12 or abs(values[1]) < 1e-12:
            return 0 if abs(values[0] - values[1]) > 1e-9 else None
        quotients.append(values[0] / values[1])
    if len(quotients) < 2:
        return None
    first = quotients[0]
    is_constant = all(abs(q - first) <= 1e-9 * abs(first) for q in quotients)
    return first if is_constant else 0


def sign_of_factor(left: Node, right: Node) -> int | None:
    """Compute the sign of the constant quotient of two expressions; 0 if it is not constant."""
    constant = _constant_quotient(left, right)
    if constant is None:
        return None
    return (constant.real > 0) - (constant.real < 0)


def number_value(node: Node) -> float | None:
    """Evaluate a constant expression as a double; None if it has no real value."""
    if infinite_sign(node):
        return float("inf") * infinite_sign(node)
    if symbols(node) or any(is_opaque(part) for part in walk(node)):
        return None
    exact = rational(node)
    try:
        value: Any = complex(exact) if exact is not None else Evaluator(DOUBLES, 0).value(node)
    except (UndefinedError, OverflowError):
        return None
    is_finite = math.isfinite(value.real) and math.isfinite(value.imag)
    return float(value.real) if is_finite and is_real(value) else None


def precise_value(node: Node) -> Fraction | None:
    """Evaluate a real constant to the digits of `long_field`; None if it has no real value.

    >>> precise_value(Node("dec", (), "0.5"))
    Fraction(1, 2)
    """
    exact = rational(node)
    if exact is not None or number_value(node) is None:
        return exact
    try:
        value: Any = Evaluator(long_field(), 0).value(node)
    except UndefinedError:
        return None
    return Fraction(int(value.real * 2**_PRECISION_BITS), 2**_PRECISION_BITS)


def _pair(left: Node, right: Node, point: int) -> tuple[complex, complex] | None:
    try:
        evaluator = Evaluator(DOUBLES, point)
        values = complex(evaluator.value(left)), complex(evaluator.value(right))
    except UndefinedError:
        return None
    # Beyond this bound the absolute value of a complex number overflows; nan fails the test too.
    is_finite = all(abs(part) < 1e150 for value in values for part in (value.real, value.imag))
    return values if is_finite else None


def _numeric(left: Node, right: Node) -> bool | None:
    if sum(1 for _ in walk(left)) + sum(1 for _ in walk(right)) > MAX_NODES:
        return None
    unequal = None if has_op(left, *_UNEVALUATED) or has_op(right, *_UNEVALUATED) else False
    is_constant = (
        not symbols(left) and not symbols(right) and not has_op(left, "sum", "int", "prod")
    )
    is_complex = any(
        n.op == "const" and n.value == "i" for tree in (left, right) for n in walk(tree)
    )
    good: list[int] = []
    complex_points: list[int] = []
    for point in range(1 if is_constant else POINTS):
        pair = _pair(left, right, point)
        if pair is None:
            continue
        real = is_real(pair[0]), is_real(pair[1])
        if is_complex or all(real):
            if _differ(*pair):
                return unequal
            good.append(point)
        elif not any(real) or is_constant:
            if is_constant and _differ(*pair):
                return unequal
            complex_points.append(point)
    points = good or complex_points
    if not points:
        return None
    return all(_agrees(left, right, point) for point in points[:2])


def _differ(a: complex, b: complex) -> bool:
    return abs(a - b) > _DOUBLE_TOLERANCE * max(1.0, abs(a), abs(b))


def _agrees(left: Node, right: Node, point: int) -> bool:
    evaluator = Evaluator(long_field(), point)
    try:
        a, b = evaluator.value(left), evaluator.value(right)
    except UndefinedError:
        return False
    scale = max(abs(a), abs(b))
    return bool(
        scale < _LONG_TOLERANCE or abs(a - b) <= _LONG_TOLERANCE * scale or abs(a - b) < 1e-45
    )
