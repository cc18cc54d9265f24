"""Chooses the points at which two expressions are compared numerically.

Letters that can only be integers (an argument of a factorial, the exponent of a negative base, a
limit of a sum, `n` inside a rounding) take integers of every parity. Other letters take real values
in (0, 1), (1, 3) and (-2.2, -0.2). A function that changes its form (an absolute value, a root, a
maximum) needs more points: on both sides of every number that occurs, and far beyond it. One that
jumps (a rounding, a sign) also needs its jumps: integers, halves, thirds and multiples of every
number that occurs. The points depend only on the two trees, so that every process gives the same
verdict.
"""

import functools
import zlib
from typing import NamedTuple

from reason_env.verify.tree import Node, rational, symbols, walk

REAL_POINTS = 6
INTEGER_POINTS = 10
_INTEGER_LETTERS = frozenset("ijklmnpqrstNMKLR")
"""Letters that are integers where they are rounded."""
_INTEGER_FUNCTIONS = frozenset(("binom", "mod", "gcd", "lcm"))
_PIECEWISE = frozenset(
    """
    abs floor ceil max min mod sgn sign arcsin arccos arctan arccot arcsec arccsc Re Im arg
    """.split()
)
_MULTIPLES = (0.3, 0.93, 1.07, 1.7, 6.1, 23.0)
"""Points near a number of the expression, as multiples of it."""
_JUMPING = frozenset(("floor", "ceil", "mod", "sgn", "sign"))
_JUMPS = (0.0, 1.0, -1.0, 3.0, 4.0, 0.5, -1.5, 2.5, 1 / 3, -4 / 3)
"""Values at which a function that jumps may do so; in doubles a rounding forgives their errors."""
_MAX_BREAKS = 5
_SCALES = (4.0, 11.0, 130.0, 2.3e4)


class Point(NamedTuple):
    """One assignment of values to letters; the same name has the same value in both trees."""

    at: int
    integers: tuple[str, ...] = ()
    scale: float = 0.0
    """Size of the real values; 0 for the usual intervals."""
    exact: float | None = None
    """The value of every letter that is no integer."""

    def value(self, name: str) -> float:
        """Compute a letter's value."""
        spread = zlib.crc32(f"{name}/{self.at}".encode())
        unit = (spread % 60000 + 2000) / 65536
        if name in self.integers:
            if self.scale:
                return float(round(self.scale * (0.9 + 0.2 * unit)))
            return _integer(self.integers.index(name), self.at, spread)
        if self.exact is not None:
            return self.exact
        if self.scale:
            sign = -1 if (spread >> 20) & 1 else 1
            return sign * self.scale * (0.9 + 0.2 * unit)
        return unit if self.at < 2 else 1 + 2 * unit if self.at < 4 else -0.2 - 2 * unit


ORIGIN = Point(0)
"""The point for expressions without letters."""


def _integer(rank: int, index: int, spread: int) -> float:
    """Compute an integer; the parities of the first three letters take all combinations."""
    parity = (index >> (rank % 3)) & 1
    half = 1 + spread % 6 if index < 8 else 9 + spread % 12
    return float(2 * half + parity)


def points(left: Node, right: Node) -> list[Point]:
    """Choose the points for a pair of expressions."""
    integers = tuple(sorted(integer_names(left) | integer_names(right)))
    count = INTEGER_POINTS if integers else REAL_POINTS
    usual = [Point(index, integers) for index in range(count)]
    if not (_is_piecewise(left) or _is_piecewise(right)):
        return usual
    scales = [*_SCALES, *(size * m for size in _breaks(left, right) for m in _MULTIPLES)]
    twice = [scale for scale in scales for _ in range(2)]
    scaled = [Point(20 + at, integers, scale) for at, scale in enumerate(twice)]
    return usual + scaled + _jumps(left, right, integers)


def _jumps(left: Node, right: Node, integers: tuple[str, ...]) -> list[Point]:
    """Choose the points at which a rounding or a sign may jump; none without such a function."""
    parts = [part for tree in (left, right) for part in walk(tree)]
    if not any(part.op == "fn" and part.value in _JUMPING and symbols(part) for part in parts):
        return []
    multiples = [size * times for size in _breaks(left, right) for times in (1, 2, -1, 0.5)]
    return [Point(9, integers, exact=value) for value in (*_JUMPS, *multiples)]


@functools.lru_cache(maxsize=256)
def integer_names(node: Node) -> frozenset[str]:
    r"""Collect the letters that can only be integers.

    >>> from reason_env.verify.parsing.grammar import parse_answer as read
    >>> sorted(integer_names(read(r"(-1)^n x + \lfloor k/2 \rfloor + \lfloor y \rfloor")))
    ['k', 'n']
    """
    return frozenset(name for part in walk(node) for name in _integers_of(part))


def _integers_of(node: Node) -> set[str]:
    if node.op == "fact":
        return symbols(node)
    if node.op == "fn" and node.value in _INTEGER_FUNCTIONS:
        return symbols(node)
    if node.op == "fn" and node.value in ("floor", "ceil"):
        return symbols(node) & _INTEGER_LETTERS
    if node.op in ("sum", "prod"):
        return symbols(node.args[1]) | symbols(node.args[2])
    if node.op == "pow" and symbols(node.args[1]):
        base = rational(node.args[0])
        return symbols(node.args[1]) if base is not None and base < 0 else set()
    return set()


def _is_piecewise(node: Node) -> bool:
    return any(
        (part.op == "fn" and part.value in _PIECEWISE and symbols(part))
        or (part.op == "root" and symbols(part.args[0]))
        or (part.op == "pow" and _is_root(part) and symbols(part.args[0]))
        for part in walk(node)
    )


def _is_root(power: Node) -> bool:
    exponent = rational(power.args[1])
    return exponent is not None and exponent.denominator % 2 == 0


def _breaks(left: Node, right: Node) -> list[float]:
    """Collect the sizes of the numbers of both trees, the values of constant parts included."""
    sizes: dict[float, None] = {}
    stack = [left, right]
    while stack and len(sizes) < _MAX_BREAKS:
        node = stack.pop()
        value = rational(node) if not symbols(node) else None
        if value is None:
            stack.extend(node.args)
        elif value not in (0, 1, -1, 2) and abs(value) < 10**15:
            sizes[abs(float(value))] = None
    return list(sizes)
