"""Evaluates trees numerically, in complex doubles or with many decimal digits.

Sums and products of few terms are added up. Closed forms that are not evaluated (integrals, longer
sums, `f(x)`) become numbers too: a hash of their parts' values at the point, so that two integrals
are equal if their integrands and limits are. Odd roots of negative numbers are real. Powers and
arguments of functions are bounded, because the long computation could take too much memory.
"""

import functools
import math
import operator
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from reason_env.verify.comparing.points import Point
from reason_env.verify.tree import DOUBLES, Field, Node, UndefinedError, is_real, rational

_OPAQUE = frozenset("call sub sum prod int lim deriv list tuple set rel text cases".split())
"""Operations that have no value of their own: a hash of their parts' values replaces it."""
MAX_TERMS = 300
"""Longest sum or product that is added up."""
_MAX_LOG = 1e12
"""Largest |exponent * log2(base)| of a power."""
_MAX_ARGUMENT = 10**9
"""Largest argument of a function that oscillates or grows."""
_ROUNDED = frozenset(("floor", "ceil", "mod"))
_MAX_ROUNDED = 10**15
_TAME = frozenset(("ln", "abs", "sqrt", "max", "min", "Re", "Im"))
"""Functions whose argument may be of any size."""


class Evaluator:
    """Evaluates trees at one point, which gives each variable a value."""

    def __init__(self, field: Field, point: Point, *, keeps_largest: bool = True) -> None:
        """Set the field and the point; without `keeps_largest`, `largest` stays 0."""
        self.field = field
        self.point = point
        self.largest: Any = 0.0
        """The largest term of a sum so far: the size against which rounding errors count."""
        self._keeps_largest = keeps_largest
        self._values: dict[str, Any] = {}
        self._bound: dict[str, Any] = {}

    def value(self, node: Node) -> Any:
        """Evaluate a tree.

        Raises:
            UndefinedError: It has no value at this point.
        """
        try:
            return self._value(node)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError) as error:
            raise UndefinedError(type(error).__name__) from error

    def _value(self, node: Node) -> Any:  # noqa: PLR0911 - one kind of node per line
        op = node.op
        if op in ("num", "dec"):
            return self.field.make(node.value if op == "num" else Fraction(str(node.value)))
        if op == "sym":
            return self._variable(str(node.value))
        if op == "const":
            if node.value not in self.field.constants:
                raise UndefinedError("infinity")
            return self.field.constants[str(node.value)]
        if op in _ARITHMETIC:
            values = [self._value(part) for part in node.args]
            if op == "add":
                self._keep(values)
            return _ARITHMETIC[op](values)
        if op in ("sum", "prod") and (value := self._series(node)) is not None:
            return value
        if is_opaque(node):
            return self.field.make(self._opaque(node))
        if op == "pow":
            return self._power(node)
        return self._applied(op, [self._value(part) for part in node.args], str(node.value))

    def _keep(self, values: list[Any]) -> None:
        if self._keeps_largest:
            self.largest = max(self.largest, *map(abs, values))

    def _variable(self, name: str) -> Any:
        if name in self._bound:
            return self._bound[name]
        if name not in self._values:
            self._values[name] = self.field.make(self.point.value(name))
        return self._values[name]

    def _series(self, node: Node) -> Any:
        """Add up a sum, or multiply a product, of at most `MAX_TERMS` terms; None for others."""
        limits = self._limits(node)
        if limits is None:
            return None
        first, last = limits
        name = str(node.value)
        terms: list[Any] = []
        for index in range(first, last + 1):
            self._bound[name] = self.field.make(float(index))
            terms.append(self._value(node.args[0]))
        self._bound.pop(name, None)
        if node.op == "sum":
            self._keep([0.0, *terms])
            return _total([self.field.make(0.0), *terms])
        return functools.reduce(operator.mul, terms, self.field.make(1.0))

    def _limits(self, node: Node) -> tuple[int, int] | None:
        if any(part.op in ("set", "rel") or part.value == "inf" for part in node.args[1:]):
            return None
        first, last = (_whole(self._value(part)) for part in node.args[1:])
        if first is None or last is None or last - first >= MAX_TERMS:
            return None
        return first, last

    def is_series(self, node: Node) -> bool:
        """Decide whether a sum or product is added up, rather than hashed, at this point."""
        if node.op not in ("sum", "prod"):
            return False
        try:
            return self._limits(node) is not None
        except (UndefinedError, ArithmeticError, ValueError, TypeError):
            return False

    def _applied(self, op: str, values: list[Any], name: str) -> Any:
        if op == "fn":
            if name == "binom":
                return self._binomial(*values)
            most = _MAX_ROUNDED if name in _ROUNDED else _MAX_ARGUMENT
            if name not in _TAME and any(abs(value) > most for value in values):
                raise UndefinedError("an argument too large")
            self._keep([1.0, *values])
            return self.field.functions[name](*values)
        if op == "root":
            return self._root(values[0], values[1])
        if op == "fact":
            if abs(values[0]) > _MAX_ARGUMENT:
                raise UndefinedError("a factorial too large")
            return self.field.gamma(values[0] + 1)
        if op == "degree":
            return values[0] * self.field.constants["pi"] / 180
        raise UndefinedError(op)

    def _binomial(self, top: Any, low: Any) -> Any:
        gamma = self.field.gamma
        whole = _whole(top), _whole(low)
        if None not in whole and max(whole[0] or 0, whole[1] or 0) <= MAX_TERMS:
            return self.field.make(Fraction(_integer_binomial(whole[0] or 0, whole[1] or 0)))
        return gamma(top + 1) / (gamma(low + 1) * gamma(top - low + 1))

    def _power(self, node: Node) -> Any:
        base, exponent = self._value(node.args[0]), rational(node.args[1])
        if exponent is None:
            power = self._value(node.args[1])
        else:
            power = exponent.numerator if exponent.denominator == 1 else exponent
        if base and abs(power) * max(1.0, abs(self.field.log2(base))) > _MAX_LOG:
            raise UndefinedError("a power too large")
        if exponent is None:
            whole = _whole(power)
            return base**power if whole is None else base**whole
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
            value = complex(self._in_doubles().value(node)) if node.op != "const" else None
            if value is not None:
                return f"{value.real + 0.0:.11g},{value.imag + 0.0:.9f}".replace("-0,", "0,")
        return f"{node.op}:{node.value}({';'.join(self._digest(part) for part in node.args)})"

    def _in_doubles(self) -> "Evaluator":
        inner = Evaluator(DOUBLES, self.point)
        inner._bound = {name: complex(value) for name, value in self._bound.items()}
        return inner


def _whole(value: Any) -> int | None:
    """Convert a value that is an integer within rounding; None for others."""
    if not is_real(value) or not abs(value) < 1e9:
        return None
    nearest = round(float(value.real))
    return nearest if abs(float(value.real) - nearest) < 1e-9 else None


def _integer_binomial(top: int, low: int) -> int:
    """Compute a binomial coefficient of integers; a negative top continues the polynomial."""
    if low < 0:
        return 0
    return math.comb(top, low) if top >= 0 else (-1) ** low * math.comb(low - top - 1, low)


def _total(values: list[Any]) -> Any:
    return functools.reduce(operator.add, values)


_ARITHMETIC: dict[str, Callable[[list[Any]], Any]] = {
    "add": _total,
    "mixed": _total,
    "mul": lambda values: functools.reduce(operator.mul, values),
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
