"""Decides whether two expressions have the same value by exact, modular and numeric tests.

None means that no test could tell. The numeric test accepts only if 55 of 60 digits agree at two
points; where a cancellation may have lost some, it computes 1000. It prefers points at which both
sides are real (so sqrt(x^2) is not x), unless the imaginary unit occurs.
"""

import math
from fractions import Fraction
from typing import Any

from reason_env.verify.comparing.numeric import Evaluator, is_opaque
from reason_env.verify.comparing.points import ORIGIN, Point, integer_names, points
from reason_env.verify.tree import (
    DIGITS,
    DOUBLES,
    Field,
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

MAX_NODES = 4000
_DOUBLE_TOLERANCE = 1e-7
_GUARD_DIGITS = 5
"""Digits that rounding errors may spoil without cancellation."""
_MANY_DIGITS = 1000
_ZERO = 1e-12
_LARGEST_DOUBLE = 1e150
"""Beyond this bound the absolute value of a complex number overflows."""
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
        same = _by_values(left, right)
    is_open = same is None and left.op == right.op == "pow" and left.args[0] == right.args[0]
    base = rational(left.args[0]) if is_open else None
    # Powers too large to evaluate: those of one base are equal if their exponents are.
    return same_value(left.args[1], right.args[1]) if base and base > 0 and base != 1 else same


def is_undefined(node: Node) -> bool:
    """Decide whether a constant has no value: a division by zero, the logarithm of zero."""
    if symbols(node) or rational(node) is not None:
        return False
    try:
        Evaluator(DOUBLES, ORIGIN).value(node)
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
    """Compute the quotient of two expressions: 0 if it is not constant, None if unknown.

    It is not constant where only one side has values. Nor is that of two zeros, because an identity
    states nothing.
    """
    quotients: list[Any] = []
    is_decided = False
    for point in points(left, right):
        values = _values(left, right, point)
        if None in values:
            is_decided = is_decided or values.count(None) == 1
            continue
        is_decided = True
        are_zero = [abs(value) < _ZERO for value in values]
        if any(are_zero) and abs(values[0] - values[1]) > 1e-9:
            return 0
        if not any(are_zero):
            quotients.append(values[0] / values[1])
    if len(quotients) < 2:
        return 0 if is_decided else None
    first = quotients[0]
    is_constant = all(abs(q - first) <= 1e-9 * abs(first) for q in quotients)
    return first if is_constant else 0


def sign_of_factor(left: Node, right: Node) -> int | None:
    """Compute the sign of the constant quotient of two expressions; 0 if it is not constant."""
    constant = _constant_quotient(left, right)
    if constant is None:
        return None
    return (constant.real > 0) - (constant.real < 0) if is_real(constant) else 0


def number_value(node: Node) -> float | None:
    """Evaluate a constant expression as a double; None if it has no real value."""
    if infinite_sign(node):
        return float("inf") * infinite_sign(node)
    if symbols(node) or any(is_opaque(part) for part in walk(node)):
        return None
    exact = rational(node)
    try:
        value: Any = complex(exact) if exact is not None else Evaluator(DOUBLES, ORIGIN).value(node)
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
        value: Any = Evaluator(long_field(), ORIGIN).value(node)
    except UndefinedError:
        return None
    return Fraction(int(value.real * 2**_PRECISION_BITS), 2**_PRECISION_BITS)


def _values(left: Node, right: Node, point: Point) -> tuple[Any, Any]:
    """Evaluate both sides; None for a side without a value.

    Doubles that overflow, or cancel all but a few digits, are computed with `DIGITS` digits.
    """
    return _value(left, point), _value(right, point)


def _value(node: Node, point: Point) -> Any:
    evaluator = Evaluator(DOUBLES, point)
    try:
        value: Any = complex(evaluator.value(node))
    except UndefinedError as error:
        if not isinstance(error.__cause__, OverflowError | ValueError):
            return None
        return _long_value(node, point)
    # nan fails the test too.
    is_finite = all(abs(part) < _LARGEST_DOUBLE for part in (value.real, value.imag))
    is_cancelled = evaluator.largest * 1e-9 > _DOUBLE_TOLERANCE * max(1.0, abs(value))
    return value if is_finite and not is_cancelled else _long_value(node, point)


def _long_value(node: Node, point: Point) -> Any:
    try:
        return Evaluator(long_field(), point).value(node)
    except UndefinedError:
        return None


def _by_values(left: Node, right: Node) -> bool | None:
    """Decide by values at the points for the pair."""
    if sum(1 for _ in walk(left)) + sum(1 for _ in walk(right)) > MAX_NODES:
        return None
    seen = _Seen(left, right)
    unequal = None if seen.is_hashed else False
    if seen.differ or seen.num_missing > len(seen.agreeing):
        return unequal
    if not seen.agreeing:
        return unequal if seen.one_sided else None
    return all(_agrees(left, right, point) for point in seen.agreeing[:2])


class _Seen:
    """What the points show: a difference, points of agreement, or values on one side only."""

    def __init__(self, left: Node, right: Node) -> None:
        has_letters = bool(symbols(left) or symbols(right) or has_op(left, "sum", "int", "prod"))
        is_complex = any(
            n.op == "const" and n.value == "i" for tree in (left, right) for n in walk(tree)
        )
        self.differ = self.one_sided = False
        self.num_missing = 0
        is_closed = has_op(left, *_UNEVALUATED) or has_op(right, *_UNEVALUATED)
        self.is_hashed = is_closed and not (_is_summed(left) and _is_summed(right))
        self.agreeing: list[Point] = []
        elsewhere: list[Point] = []
        for point in points(left, right) if has_letters else [ORIGIN]:
            values = _values(left, right, point)
            if None in values:
                self.num_missing += values.count(None) == 1
                continue
            real = is_real(values[0]), is_real(values[1])
            if not (is_complex or real[0] == real[1]):
                self.one_sided = True
            elif _differ(*values):
                self.differ = is_complex or all(real) or not has_letters
                self.one_sided = True
                if self.differ:
                    return
            else:
                (self.agreeing if is_complex or all(real) else elsewhere).append(point)
        if not self.agreeing and not self.one_sided:
            self.agreeing = elsewhere


def _is_summed(node: Node) -> bool:
    """Decide whether every closed form of a tree is a sum or product of few terms."""
    evaluator = Evaluator(DOUBLES, Point(0, tuple(sorted(integer_names(node)))))
    return all(part.op not in _UNEVALUATED or evaluator.is_series(part) for part in walk(node))


def _differ(a: Any, b: Any) -> bool:
    return bool(abs(a - b) > _DOUBLE_TOLERANCE * max(1.0, abs(a), abs(b)))


def _agrees(left: Node, right: Node, point: Point) -> bool:
    """Compare with 60 digits; with more if both may be zero up to rounding errors."""
    size: Any = 0
    scale: Any = 0
    for digits in (DIGITS, _MANY_DIGITS):
        field = long_field(digits)
        try:
            a, b = (Evaluator(field, point, keeps_largest=False).value(n) for n in (left, right))
        except UndefinedError:
            return False
        gap, scale = abs(a - b), max(abs(a), abs(b))
        if gap <= scale * abs(field.make(10)) ** (_GUARD_DIGITS - digits):
            return True
        size = max(_largest(node, field, point) for node in (left, right))
        if gap > size * abs(field.make(10)) ** (15 - digits):
            return False
    # A rounding error has about the last digit's size; a value far below that is not one.
    return bool(scale > size * abs(long_field(_MANY_DIGITS).make(10)) ** (-15 - _MANY_DIGITS))


def _largest(node: Node, field: Field, point: Point) -> Any:
    """Compute the size of the largest term of a sum; once more, because few comparisons need it."""
    evaluator = Evaluator(field, point)
    evaluator.value(node)
    return evaluator.largest
