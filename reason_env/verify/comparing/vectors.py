"""Vectors written with unit vectors: `i + 2j` is the tuple (1, 2)."""

from reason_env.verify.comparing.identity import same_value
from reason_env.verify.tree import Node, number, rational, substitute, symbols

_UNITS = ("\\uniti", "\\unitj", "\\unitk")
_UNIT_NAMES = frozenset(_UNITS)


def is_vector(node: Node) -> bool:
    """Decide whether an expression has unit vectors."""
    return not _UNIT_NAMES.isdisjoint(symbols(node))


def components(node: Node, count: int) -> Node | None:
    """Convert a sum of multiples of unit vectors to a tuple of `count` numbers; None for others."""
    if count not in (2, 3) or symbols(node) & set(_UNITS[count:]):
        return None
    parts = tuple(_at(node, index) for index in range(count))
    whole = [
        Node("mul", (part, Node("sym", (), unit)))
        for part, unit in zip(parts, _UNITS[:count], strict=True)
    ]
    return Node("tuple", parts, "()") if same_value(Node("add", tuple(whole)), node) else None


def _at(node: Node, index: int) -> Node:
    """Compute one component, by putting 1 for its unit vector and 0 for the others."""
    for at, unit in enumerate(_UNITS):
        node = substitute(node, unit, number(int(at == index)))
    value = rational(node)
    return node if value is None else number(value)
