"""Separates the number of a quantity from its unit, and compares units.

A unit is a product of powers of known units (`km / h`, `kg m ^2 / s ^2`, `miles per hour`), or
words. Two units agree if their dimensions are equal; then the numbers convert. Words agree if one
side has all words of the other, and the additional ones do not turn or change the number.
"""

import functools
import re
from collections import Counter
from fractions import Fraction
from typing import NamedTuple

from reason_env.verify.parsing.units import singular, unit_factor
from reason_env.verify.parsing.words import CHANGES, QUALIFIERS
from reason_env.verify.tree import Node, multiply, rational


class Unit(NamedTuple):
    """Dimension and factor of a unit; the dimension is empty if the words do not convert."""

    dimension: str
    factor: Fraction
    words: str


NO_UNIT = Unit("", Fraction(1), "")


def without_unit(node: Node) -> tuple[Node, Unit]:
    """Split a quantity into its number and unit; other nodes have `NO_UNIT`."""
    if node.op == "neg" and node.args[0].op == "quantity":
        inner, unit = without_unit(node.args[0])
        return Node("neg", (inner,)), unit
    if node.op != "quantity":
        return node, NO_UNIT
    return node.args[0], read_unit(str(node.value))


MAX_LETTERS = 4
"""Letters of a unit that a response may write as a product: `5 A s m^{-2}`."""


def with_letters_as_unit(node: Node, other: Node) -> Node:
    """Read the last letters of `20 N` or `5 m s^{-1}` as a unit, if the other's converts to it."""
    if node.op == "neg":
        return Node("neg", (with_letters_as_unit(node.args[0], other),))
    expected = without_unit(other)[1].dimension
    if node.op != "mul" or not expected:
        return node
    for at in range(max(1, len(node.args) - MAX_LETTERS), len(node.args)):
        letters = " ".join(map(_letter, node.args[at:]))
        if read_unit(letters).dimension == expected:
            return Node("quantity", (multiply(*node.args[:at]),), letters)
    return node


def _letter(node: Node) -> str:
    """Write a letter, or an integer power of one, as in a unit; "?", which is in none, for others.

    >>> _letter(Node("pow", (Node("sym", (), "s"), Node("num", (), Fraction(-1)))))
    's ^-1'
    """
    if node.op == "sym":
        return str(node.value)
    if node.op == "pow" and node.args[0].op == "sym":
        power = rational(node.args[1])
        if power is not None and power.denominator == 1:
            return f"{node.args[0].value} ^{power}"
    return "?"


_ALIASES = {"mph": "mi / h", "kph": "km / h", "kmh": "km / h", "kmph": "km / h", "sqft": "ft ^2",
            "per": "/", "degrees": "degree"}  # fmt: skip
_PIECE = re.compile(r"\^-?\d+|[/*]|[^\s/*^]+")
_AREAS = {"square": 2, "sq": 2, "cubic": 3, "cube": 3}
_SMALL = frozenset("of the a an in to is are".split())
"""Words that a unit may have or omit."""


@functools.lru_cache(maxsize=1024)
def read_unit(words: str) -> Unit:
    """Read the unit that words like `cm ^2`, `square meters` or `miles per hour` name.

    >>> read_unit("square cm") == read_unit("cm ^2")._replace(words="square cm")
    True
    >>> read_unit("m * s ^-1").dimension == read_unit("km/h").dimension
    True
    """
    powers: Counter[str] = Counter()
    factor, sign, ahead = Fraction(1), 1, 1
    last: tuple[str, Fraction, int] | None = None
    for piece in _pieces(words):
        if piece in ("/", "*"):
            sign = -1 if piece == "/" else sign
        elif piece in _AREAS:
            ahead = _AREAS[piece]
        elif piece[0] == "^":
            if last is None:
                return Unit("", Fraction(1), words)
            more = last[2] * (int(piece[1:]) - 1)
            powers[last[0]] += more
            factor *= last[1] ** more
        else:
            found = unit_factor(piece)
            if found is None:
                return Unit("", Fraction(1), words)
            power = sign * ahead
            last, ahead = (*found, power), 1
            powers[found[0]] += power
            factor *= found[1] ** power
    dimension = " ".join(f"{name}{power}" for name, power in sorted(powers.items()) if power)
    return Unit(dimension, factor, words) if dimension else Unit("", Fraction(1), words)


def _pieces(words: str) -> list[str]:
    pieces: list[str] = []
    for piece in _PIECE.findall(words):
        pieces += _ALIASES.get(str(piece).lower(), str(piece)).split()
    return pieces


def units_agree(found: Unit, expected: Unit) -> bool:
    """Decide whether the unit of a response can be that of the reference; a missing one can.

    >>> units_agree(read_unit("km"), read_unit("m")), units_agree(read_unit("kg"), read_unit("m"))
    (True, False)
    >>> units_agree(read_unit("units up"), read_unit("units down"))
    False
    """
    if found.words == expected.words:
        return True
    if found.dimension and expected.dimension:
        return found.dimension == expected.dimension
    mine, theirs = _meaning(found.words), _meaning(expected.words)
    if mine and theirs and not (mine <= theirs or theirs <= mine):
        return False
    return not (mine ^ theirs) & (CHANGES | QUALIFIERS) - {"square", "times", "time"}


def _meaning(words: str) -> set[str]:
    return {singular(word) for word in words.lower().replace("/", " / ").split()} - _SMALL


_MONTHS = frozenset(
    """
    january february march april may june july august september october november december
    """.split()
)


def turns(words: str) -> bool:
    """Decide whether words turn the value beside them, or name its month."""
    return not (QUALIFIERS | _MONTHS).isdisjoint(words.lower().split())


def same_tag(found: str, expected: str) -> bool:
    """Decide whether the words before two values are equal, but for small words and plurals.

    >>> same_tag("the profit of", "profit"), same_tag("profit of", "loss of")
    (True, False)
    """
    return _meaning(found) == _meaning(expected)
