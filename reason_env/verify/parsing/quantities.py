"""Separates the number of a quantity from its unit."""

from fractions import Fraction
from typing import NamedTuple

from reason_env.verify.parsing.units import unit_factor
from reason_env.verify.tree import Node


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


_RATES = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h"}


def read_unit(words: str) -> Unit:
    """Look up the unit that words like `cm ^2` or `square meters` name.

    >>> read_unit("square cm") == read_unit("cm ^2")._replace(words="square cm")
    True
    """
    over, _, under = _RATES.get(words.lower(), words.lower()).replace(" per ", "/").partition("/")
    top = _one_unit(over)
    if not under:
        return Unit(*top, words) if top else Unit("", Fraction(1), words)
    bottom = _one_unit(under)
    if top is None or bottom is None:
        return Unit("", Fraction(1), words)
    return Unit(f"{top[0]}/{bottom[0]}", top[1] / bottom[1], words)


def _one_unit(words: str) -> tuple[str, Fraction] | None:
    names: list[str] = []
    power = 1
    for word in words.replace("^", " ^").split():
        if word in ("square", "sq", "^2"):
            power = 2
        elif word in ("cubic", "cube", "^3"):
            power = 3
        elif not word.startswith("^"):
            names.append(word)
    found = unit_factor(names[0]) if len(names) == 1 else None
    return None if found is None else (f"{found[0]}{power}", found[1] ** power)
