"""Evaluates trees numerically, in complex doubles or with 60 decimal digits.

Closed forms that are not evaluated (integrals, sums, `f(x)`) become numbers too: a hash of their
parts' values at the point, so that two integrals are equal if their integrands and limits are. Odd
roots of negative numbers are real. Evaluate in doubles first: they overflow where the long
computation would take too much memory.
"""

import functools
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from reason_env.verify.tree import DOUBLES, Field, Node, UndefinedError, is_real, rational

_OPAQUE = frozenset("call sub sum prod int lim deriv list tuple set rel text".split())
"""Operations that have no value of their own: a hash of their parts' values replaces it."""


class Evaluator:
    """Evaluates trees at one point, which gives each variable a value."""

    def __init__(self, field: Field, point: int) -> None:
        """Set the field and the index of the point."""
        self.field = field
        self.point = point

    def value(self, node: Node) -> Any:
        """Evaluate a tree.

        Raises:
            UndefinedError: It has no value at this point.
        """
        try:
            return self._value(node)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError) as error:
            raise UndefinedError(type(error).__name__) from error

    def _value(self, node: Node) -> Any:
        op = node.op
        if op in ("num", "dec"):
            return self.field.make(node.value if op == "num" else Fraction(str(node.value)))
        if op == "sym":
            return self.field.make(sample(str(node.value), self.point))
        if op == "const":
            if node.value not in self.field.constants:
                raise UndefinedError("infinity")
            return self.field.constants[str(node.value)]
        if is_opaque(node):
            return self.field.make(self._opaque(node))
        if op == "pow":
            return self._power(node)
        values = [self._value(part) for part in node.args]
        return self._applied(op, values, str(node.value))

    def _applied(self, op: str, values: list[Any], name: str) -> Any:
        if op == "fn":
            if name == "binom":
                return self._binomial(*values)
            return self.field.functions[name](*values)
        if op == "root":
            return self._root(values[0], values[1])
        if op == "fact":
            return self.field.gamma(values[0] + 1)
        if op == "degree":
            return values[0] * self.field.constants["pi"] / 180
        if op not in _ARITHMETIC:
            raise UndefinedError(op)
        return _ARITHMETIC[op](values)

    def _binomial(self, top: Any, low: Any) -> Any:
        gamma = self.field.gamma
        return gamma(top + 1) / (gamma(low + 1) * gamma(top - low + 1))

    def _power(self, node: Node) -> Any:
        base, exponent = self._value(node.args[0]), rational(node.args[1])
        if exponent is None:
            return base ** self._value(node.args[1])
        if exponent.denominator == 1 and abs(exponent) < 10**6:
            return base ** int(exponent)
        if exponent.denominator % 2 and is_real(base) and base.real < 0:
            root = (-base.real) ** self.field.make(exponent)
            return -root if exponent.numerator % 2 else root
        return base ** self.field.make(exponent)

    def _root(self, base: Any, degree: Any) -> Any:
        if degree == 0:
            raise UndefinedError("a root of degree 0")
        odd = is_real(degree) and degree.real == int(degree.real) and int(degree.real) % 2
        if odd and is_real(base) and base.real < 0:
            return -((-base.real) ** (1 / degree))
        return self.field.functions["sqrt"](base) if degree == 2 else base ** (1 / degree)

    def _opaque(self, node: Node) -> float:
        return 0.5 + zlib.crc32(self._digest(node).encode()) / 2**32

    def _digest(self, node: Node) -> str:
        """Write a closed form as text; equal values of the parts at this point give equal text."""
        if not is_opaque(node):
            value = (
                complex(Evaluator(DOUBLES, self.point).value(node)) if node.op != "const" else None
            )
            if value is not None:
                return f"{value.real + 0.0:.11g},{value.imag + 0.0:.9f}".replace("-0,", "0,")
        return f"{node.op}:{node.value}({';'.join(self._digest(part) for part in node.args)})"


def _total(values: list[Any]) -> Any:
    return functools.reduce(lambda a, b: a + b, values)


_ARITHMETIC: dict[str, Callable[[list[Any]], Any]] = {
    "add": _total,
    "mixed": _total,
    "mul": lambda values: functools.reduce(lambda a, b: a * b, values),
    "div": lambda values: values[0] / values[1],
    "ratio": lambda values: values[0] / values[1],
    "neg": lambda values: -values[0],
    "percent": lambda values: values[0] / 100,
    "quantity": lambda values: values[0],
}


def is_opaque(node: Node) -> bool:
    """Decide whether a node's value is a hash of the values of its parts."""
    if node.op == "fn":
        return node.value not in DOUBLES.functions and node.value != "binom"
    return node.op in _OPAQUE


def sample(name: str, point: int) -> float:
    """Compute a variable's value: points 0 and 1 in (0, 1), 2 and 3 in (1, 3), others negative."""
    unit = (zlib.crc32(f"{name}/{point}".encode()) % 60000 + 2000) / 65536
    return unit if point < 2 else 1 + 2 * unit if point < 4 else -0.2 - 2 * unit
