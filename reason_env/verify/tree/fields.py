# pyright: basic, reportMissingTypeStubs=false
# mpmath has no types, and one table serves both precisions: basic mode for this file.
"""Complex numbers with one interface: doubles, and 60 or more decimal digits."""

import cmath
import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from reason_env.verify.tree.exact import UndefinedError

DIGITS = 60


class Field(NamedTuple):
    """Numbers of one precision: their constructor, constants and functions."""

    make: Callable[[Any], Any]
    constants: dict[str, Any]
    functions: dict[str, Callable[..., Any]]
    gamma: Callable[[Any], Any]
    log2: Callable[[Any], float]
    """Binary logarithm of an absolute value, to the nearest integer or better."""


def is_real(value: Any) -> bool:
    """Decide whether the imaginary part is only a rounding error."""
    return abs(value.imag) <= 1e-12 * max(1.0, abs(value.real))


def _make_double(value: Any) -> complex:
    return complex(float(value))


def _real(function: Callable[[float], float]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        if not is_real(value):
            raise UndefinedError("not real")
        return function(value.real)

    return apply


def _near_floor(value: float) -> float:
    nearest = round(value)
    return float(nearest if abs(value - nearest) < 1e-9 else math.floor(value))


def _double_gamma(value: complex) -> complex:
    if not is_real(value):
        raise UndefinedError("gamma of a complex number")
    return complex(math.gamma(value.real))


def _table(module: Any, floor: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """Collect the functions of `cmath` or `mpmath` by their names in a tree."""
    table: dict[str, Callable[..., Any]] = {
        name: getattr(module, name)
        for name in ["sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt"]
    }
    table |= {"ln": module.log, "abs": abs, "floor": _real(floor)}
    table["ceil"] = _real(lambda value: -floor(-value))
    table |= {f"arc{n}": getattr(module, f"a{n}") for n in ("sin", "cos", "tan")}
    table["cot"] = lambda z: module.cos(z) / module.sin(z)
    table["sec"] = lambda z: 1 / module.cos(z)
    table["csc"] = lambda z: 1 / module.sin(z)
    table["coth"] = lambda z: module.cosh(z) / module.sinh(z)
    table |= {name: getattr(module, name) for name in ("asinh", "acosh", "atanh")}
    table["sech"] = lambda z: 1 / module.cosh(z)
    table["csch"] = lambda z: 1 / module.sinh(z)
    table["arccot"] = lambda z: module.atan(1 / z)
    table["arcsec"] = lambda z: module.acos(1 / z)
    table["arccsc"] = lambda z: module.asin(1 / z)
    table["max"] = lambda *zs: max(zs, key=lambda z: z.real)
    table["min"] = lambda *zs: min(zs, key=lambda z: z.real)
    table["Re"] = lambda z: z.real
    table["Im"] = lambda z: z.imag
    table["sgn"] = table["sign"] = _real(lambda value: (value > 0) - (value < 0))
    table["mod"] = lambda a, b: a - b * table["floor"](a / b)
    table["gcd"] = lambda *zs: float(math.gcd(*map(_integer, zs)))
    table["lcm"] = lambda *zs: float(math.lcm(*map(_integer, zs)))
    table["acoth"] = lambda z: module.atanh(1 / z)
    table["asech"] = lambda z: module.acosh(1 / z)
    table["acsch"] = lambda z: module.asinh(1 / z)
    return table


def _integer(value: Any) -> int:
    if not is_real(value) or abs(value.real - round(value.real)) > 1e-9:
        raise UndefinedError("not an integer")
    return round(value.real)


DOUBLES = Field(
    _make_double,
    {"pi": math.pi, "e": math.e, "i": 1j},
    _table(cmath, _near_floor),
    _double_gamma,
    lambda value: math.log2(abs(value)),
)


@functools.cache
def long_field(digits: int = DIGITS) -> Field:
    """Build the field of so many decimal digits; loads mpmath at the first call."""
    import mpmath

    context = mpmath.MPContext()
    context.dps = digits

    def make(value: Any) -> Any:
        if isinstance(value, Fraction):
            top = context.mpf(value.numerator)
            return context.mpc(top if value.denominator == 1 else top / value.denominator)
        return context.mpc(value)

    def floor(value: Any) -> Any:
        nearest = context.nint(value)
        return nearest if abs(value - nearest) < 1e-20 else context.floor(value)

    constants = {"pi": context.mpc(context.pi), "e": context.mpc(context.e), "i": context.mpc(0, 1)}
    return Field(make, constants, _table(context, floor), context.gamma, context.mag)
