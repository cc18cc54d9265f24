r"""Converts intervals, inequalities, unions and sets of points to regions of the real line.

`x < 5`, `(-\infty, 5)`, `\{x \mid x < 5\}` and `x \in (-\infty, 5)` give the same region.
"""

import itertools

from reason_env.verify.comparing.identity import infinite_sign, number_value
from reason_env.verify.comparing.regions import (
    LINE,
    MAX_PIECES,
    MINUS_INFINITY,
    Piece,
    Region,
    intersection,
    without_points,
)
from reason_env.verify.tree import INFINITY, Node, number, rational, substitute, symbols

MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "\\ne": "\\ne"}
"""Relation sign -> the sign of the same relation read from right to left."""


def is_region(node: Node) -> bool:
    """Decide whether a node can only be a region, and not a tuple, a list of numbers, a number."""
    if node.op == "list":
        return bool(node.args) and any(is_region(part) for part in node.args)
    if node.op == "add":
        return is_region(node.args[0])
    signs = str(node.value).split(",") if node.op == "rel" else []
    return node.op in ("interval", "union", "inter", "minus", "such") or any(
        (sign in MIRRORED and sign != "=") or sign == "\\in" for sign in signs
    )


def as_region(node: Node) -> Region | None:  # noqa: PLR0911 - one shape per line
    """Convert a node to a region; None if it has a shape that this module does not know."""
    if node.op in ("interval", "tuple"):
        return _interval(node)
    if node.op in ("union", "minus", "inter"):
        return _combined(node)
    if node.op == "add" and len(node.args) == 2 and node.args[1].op == "neg":
        return _combined(Node("minus", (node.args[0], node.args[1].args[0])))
    if node.op == "such":
        return _all_of([part for part in node.args if not _is_domain(part)])
    if node.op == "list":
        return _listed(node)
    if node.op == "rel":
        return _relation(node)
    if node.op == "set":
        return Region(tuple(Piece(part, part, True, True) for part in node.args[:MAX_PIECES]))
    return None


def _listed(node: Node) -> Region | None:
    """Convert a list: "and" intersects, "or" unites, a comma unites what does not overlap."""
    parts = list(node.args)
    first = parts[0]
    if first.op == "rel" and first.value == "\\ne" and all(p.op != "rel" for p in parts[1:]):
        # x is neither of the numbers: `x \ne -3, 3`.
        parts[1:] = [Node("rel", (first.args[0], part), "\\ne") for part in parts[1:]]
    if all(part.op == "rel" and part.value == "\\ne" for part in parts):
        return _all_of(parts)
    if node.value == "or":
        return _any_of(parts)
    if not all(part.op in ("rel", "interval", "tuple", "such", "union") for part in parts):
        return None
    if node.value == "and":
        return _all_of(parts)
    region = _any_of(parts)
    return None if region is None or _overlaps(region) else region


def _overlaps(region: Region) -> bool:
    """Decide whether two pieces share points, or an end is not a number."""
    ends = [(number_value(p.low), number_value(p.high), p) for p in region.pieces]
    if any(low is None or high is None for low, high, _ in ends):
        return len(region.pieces) > 1
    ends.sort(key=lambda end: (end[0] or 0.0, end[1] or 0.0))
    return any(
        (b[0] or 0.0) < (a[1] or 0.0) or (b[0] == a[1] and a[2].has_high and b[2].has_low)
        for a, b in itertools.pairwise(ends)
    )


def _is_reversed(low: Node, high: Node) -> bool:
    """Decide whether an interval runs from a number to a smaller one, and so is not one."""
    ends = number_value(low), number_value(high)
    return ends[0] is not None and ends[1] is not None and ends[0] > ends[1]


def _interval(node: Node) -> Region | None:
    if len(node.args) != 2 or _is_reversed(*node.args):
        return None
    low, high = node.args
    brackets = str(node.value)
    return Region((Piece(low, high, brackets[0] == "[", brackets[1] == "]"),))


def _combined(node: Node) -> Region | None:
    left, right = (as_region(part) for part in node.args)
    if left is None or right is None:
        return None
    if node.op == "union":
        return Region(left.pieces + right.pieces, left.variable or right.variable)
    if node.op == "inter":
        return intersection(left, right)
    return without_points(left, right)


def _any_of(parts: list[Node]) -> Region | None:
    regions = [as_region(part) for part in parts]
    found = [region for region in regions if region is not None]
    names = {region.variable for region in found if region.variable is not None}
    if len(found) != len(parts) or len(names) > 1 or len(parts) > MAX_PIECES:
        return None
    return Region(tuple(p for region in found for p in region.pieces), next(iter(names), None))


def _all_of(parts: list[Node]) -> Region | None:
    regions = [as_region(part) for part in parts]
    result: Region | None = Region((LINE,))
    if not regions:
        return None
    if len(regions) == 1:
        return regions[0]
    for region in regions:
        if region is None or result is None:
            return None
        result = intersection(result, region)
    return result


def _is_domain(node: Node) -> bool:
    return node.op == "rel" and node.value == "\\in" and node.args[1].op == "sym"


def _relation(node: Node) -> Region | None:
    signs = str(node.value).split(",")
    if signs == ["\\in"]:
        inner = as_region(node.args[1]) if is_name(node.args[0]) else None
        return None if inner is None else Region(inner.pieces, node.args[0])
    if any(sign not in MIRRORED for sign in signs):
        return None
    if len(signs) == 2:
        return _between(node.args, signs)
    if len(signs) != 1:
        return None
    left, right = node.args
    sign = signs[0]
    if is_name(right) and not is_name(left):
        left, right, sign = right, left, MIRRORED[sign]
    if is_name(left) and not symbols(left) & symbols(right):
        return _absolute(_ray(left, sign, right))
    return _linear(node, sign)


def is_name(node: Node) -> bool:
    """Decide whether a node can name a quantity: a letter, an indexed letter, `f(x)`, `|z|`."""
    if node.op == "fn" and node.value == "abs":
        return is_name(node.args[0])
    return node.op in ("sym", "sub", "call")


def _ray(name: Node, sign: str, end: Node) -> Region | None:
    if end.op == "pm" and sign in ("=", "\\ne"):
        points = tuple(Piece(p, p, True, True) for p in (_opposite(end.args[0]), end.args[0]))
        chosen = Region(points, name)
        return chosen if sign == "=" else without_points(Region((LINE,), name), chosen)
    if sign == "=":
        return Region((Piece(end, end, True, True),), name)
    if sign == "\\ne":
        below = Piece(MINUS_INFINITY, end, False, False)
        return Region((below, Piece(end, INFINITY, False, False)), name)
    is_closed = sign.endswith("=")
    if sign[0] == "<":
        return Region((Piece(MINUS_INFINITY, end, False, is_closed),), name)
    return Region((Piece(end, INFINITY, is_closed, False),), name)


def _between(args: tuple[Node, ...], signs: list[str]) -> Region | None:
    low, name, high = args
    if all(sign[0] == ">" for sign in signs):
        low, high, signs = high, low, [MIRRORED[signs[1]], MIRRORED[signs[0]]]
    if not is_name(name) or any(sign[0] != "<" for sign in signs) or _is_reversed(low, high):
        return None
    return _absolute(Region((Piece(low, high, signs[0] == "<=", signs[1] == "<="),), name))


def _absolute(region: Region | None) -> Region | None:
    """Convert a region of |z| to the region of z; leave other regions as they are."""
    if region is None:
        return None
    name = region.variable
    if name is None or name.op != "fn":
        return region
    mirrored: list[Piece] = []
    for piece in region.pieces:
        bottom = number_value(piece.low)
        if bottom is None or infinite_sign(piece.high) == -1:
            return None
        low, has_low = (number(0), True) if bottom < 0 else (piece.low, piece.has_low)
        mirrored.append(Piece(low, piece.high, has_low, piece.has_high))
        mirrored.append(Piece(_opposite(piece.high), _opposite(low), piece.has_high, has_low))
    return Region(tuple(mirrored), name.args[0])


def _opposite(node: Node) -> Node:
    value = rational(node)
    if value is not None:
        return number(-value)
    return node.args[0] if node.op == "neg" else Node("neg", (node,))


def _linear(node: Node, sign: str) -> Region | None:
    """Solve an inequality that is linear in its one variable."""
    names = {name for part in node.args for name in symbols(part)}
    if len(names) != 1:
        return None
    name = next(iter(names))
    difference = Node("add", (node.args[0], Node("neg", (node.args[1],))))
    values = [rational(substitute(difference, name, number(at))) for at in (0, 1, 2, 5)]
    at0, at1, at2, at5 = values
    if at0 is None or at1 is None or at2 is None or at5 is None:
        return None
    slope = at1 - at0
    if slope == 0 or at2 - at1 != slope or at5 - at0 != 5 * slope:
        return None
    if slope < 0:
        sign = MIRRORED[sign]
    return _ray(Node("sym", (), name), sign, number(-at0 / slope))
