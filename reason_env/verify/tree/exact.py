"""Evaluates trees exactly, as a rational number or modulo a prime, within bounds on every size.

The value modulo 2^61 - 1 serves as an identity test: two different rational expressions agree at a
pseudo-random point with probability of about degree / 2^61. The points depend only on the names of
the variables, so that every process gives the same verdict.
"""

import math
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from reason_env.verify.tree.nodes import Node

PRIME = 2**61 - 1
MAX_BITS = 40_000
"""Largest numerator or denominator that is evaluated."""
MAX_FACTORIAL = 3500


class UndefinedError(ArithmeticError):
    """The tree has no value: division by zero, an unknown operation, or a number too large."""


def rational(node: Node) -> Fraction | None:
    """Evaluate a rational constant exactly; None if it is not one, or too large."""
    try:
        return _rational(node)
    except UndefinedError:
        return None


def _rational(node: Node) -> Fraction:
    if node.op == "num":
        assert isinstance(node.value, Fraction), "a num node holds a Fraction"
        return node.value
    if node.op == "dec":
        return Fraction(str(node.value))
    if node.op == "fn" and node.value in _FUNCTIONS:
        values = [_rational(part) for part in node.args]
        return _bounded(_FUNCTIONS[str(node.value)](values))
    if node.op not in _ARITHMETIC:
        raise UndefinedError(node.op)
    values = [_rational(part) for part in node.args]
    return _bounded(_apply(node.op, values))


_ARITHMETIC = frozenset("add mul div ratio neg pow percent mixed fact".split())


def _apply(op: str, values: list[Fraction]) -> Fraction:
    if op in ("add", "mixed"):
        total = values[0]
        for value in values[1:]:
            total = _bounded(total + value)
        return total
    if op == "mul":
        total = values[0]
        for value in values[1:]:
            total = _bounded(total * value)
        return total
    if op in ("div", "ratio"):
        if values[1] == 0:
            raise UndefinedError("division by zero")
        return values[0] / values[1]
    if op == "pow":
        return _power(values[0], values[1])
    if op == "fact":
        return _factorial(values[0])
    return -values[0] if op == "neg" else values[0] / 100


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise UndefinedError("too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _rational_root(base, exponent)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent.numerator) > MAX_BITS and abs(base) != 1:
        raise UndefinedError("too large")
    if abs(base) == 1:
        return base if exponent.numerator % 2 else Fraction(1)
    if base == 0 and exponent <= 0:
        raise UndefinedError("a power of zero")
    return base ** int(exponent)


def _rational_root(base: Fraction, exponent: Fraction) -> Fraction:
    degree = exponent.denominator
    if base < 0 or degree != 2:
        raise UndefinedError("not rational")
    top, bottom = math.isqrt(base.numerator), math.isqrt(base.denominator)
    if top * top != base.numerator or bottom * bottom != base.denominator:
        raise UndefinedError("not rational")
    return _power(Fraction(top, bottom), Fraction(exponent.numerator))


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL:
        raise UndefinedError("no factorial")
    return Fraction(math.factorial(int(value)))


def _binomial(top: Fraction, low: Fraction) -> Fraction:
    if not 0 <= _integer(low) <= MAX_FACTORIAL or abs(_integer(top)) > MAX_BITS:
        raise UndefinedError("no binomial coefficient")
    n, k = int(top), int(low)
    return Fraction(math.comb(n, k) if n >= 0 else (-1) ** k * math.comb(k - n - 1, k))


def _remainder(value: Fraction, modulus: Fraction) -> Fraction:
    if modulus == 0:
        raise UndefinedError("a remainder modulo zero")
    return value % modulus


def _integer(value: Fraction) -> int:
    if value.denominator != 1:
        raise UndefinedError("not an integer")
    return value.numerator


_FUNCTIONS: dict[str, Callable[[list[Fraction]], Fraction]] = {
    "abs": lambda values: abs(values[0]),
    "max": max,
    "min": min,
    "floor": lambda values: Fraction(math.floor(values[0])),
    "ceil": lambda values: Fraction(math.ceil(values[0])),
    "gcd": lambda values: Fraction(math.gcd(*map(_integer, values))),
    "lcm": lambda values: Fraction(math.lcm(*map(_integer, values))),
    "mod": lambda values: _remainder(*values),
    "binom": lambda values: _binomial(*values),
}
"""Functions of rational numbers whose values are rational."""


def modular(node: Node, point: int) -> int:
    """Evaluate modulo `PRIME` at a pseudo-random point.

    Raises:
        UndefinedError: The tree has no value there.
    """
    op = node.op
    if op == "num":
        assert isinstance(node.value, Fraction), "a num node holds a Fraction"
        return _residue(node.value)
    if op == "sym":
        return _letter_value(str(node.value), point)
    if op == "add":
        return sum(modular(part, point) for part in node.args) % PRIME
    if op in ("mul", "div", "ratio", "neg", "mixed", "percent"):
        return _modular_product(op, [modular(part, point) for part in node.args])
    if op == "pow":
        exponent = rational(node.args[1])
        if exponent is None or exponent.denominator != 1 or abs(exponent) > 10**6:
            raise UndefinedError("no modular power")
        base = modular(node.args[0], point)
        if base == 0:
            raise UndefinedError("a power of zero")
        return pow(base, int(exponent), PRIME)
    if op == "dec":
        return _residue(Fraction(str(node.value)))
    raise UndefinedError(op)


@lru_cache(maxsize=1024)
def _letter_value(name: str, point: int) -> int:
    """A pseudo-random value of a letter, the same wherever the letter stands."""
    return (zlib.crc32(f"{name}{point}a".encode()) << 29) ^ zlib.crc32(f"{point}{name}".encode())


def _modular_product(op: str, values: list[int]) -> int:
    if op == "neg":
        return -values[0] % PRIME
    if op == "mixed":
        return sum(values) % PRIME
    if op == "percent":
        return values[0] * pow(100, -1, PRIME) % PRIME
    if op == "mul":
        total = 1
        for value in values:
            total = total * value % PRIME
        return total
    if values[1] == 0:
        raise UndefinedError("division by zero")
    return values[0] * pow(values[1], -1, PRIME) % PRIME


def _residue(value: Fraction) -> int:
    if value.denominator == 1:
        return value.numerator % PRIME
    if value.denominator % PRIME == 0:
        raise UndefinedError("the prime divides")
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME
