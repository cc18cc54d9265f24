r"""Reads intervals, inequalities, unions and sets of points as one kind of thing: a region of a line.

`x < 5`, `(-\infty, 5)`, `\{x \mid x < 5\}` and `x \in (-\infty, 5)` are one region. With numbers as
ends the pieces are put in order and merged; with letters they stay as written.
"""

from typing import NamedTuple

from reason_env.verify.exact import rational
from reason_env.verify.identity import infinite_sign, number_value
from reason_env.verify.nodes import INFINITY, Node, number, substitute, symbols

MAX_PIECES = 64
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "\\ne": "\\ne"}


class Piece(NamedTuple):
    """One interval: its ends and whether they belong to it."""

    low: Node
    high: Node
    has_low: bool
    has_high: bool


class Region(NamedTuple):
    """A set of numbers and, if one was named, the variable that ranges over it."""

    pieces: tuple[Piece, ...]
    variable: Node | None = None


MINUS_INFINITY = Node("neg", (INFINITY,))
LINE = Piece(MINUS_INFINITY, INFINITY, False, False)


def is_region(node: Node) -> bool:
    """Returns whether the node can only be read as a region (not: a tuple, a list, a number)."""
    if node.op == "list":
        return bool(node.args) and any(is_region(part) for part in node.args)
    if node.op == "add":
        return is_region(node.args[0])
    signs = str(node.value).split(",") if node.op == "rel" else []
    return node.op in ("interval", "union", "inter", "minus", "such") or any(
        sign in _FLIPPED and sign != "=" or sign == "\\in" for sign in signs
    )


def as_region(node: Node) -> Region | None:
    """Returns the region that a node describes, or None if it describes none that is known."""
    if node.op in ("interval", "tuple"):
        return _interval(node)
    if node.op in ("union", "minus", "inter"):
        return _combined(node)
    if node.op == "add" and len(node.args) == 2 and node.args[1].op == "neg":
        return _combined(Node("minus", (node.args[0], node.args[1].args[0])))
    if node.op == "such":
        return _all_of([part for part in node.args if not _is_domain(part)])
    if node.op == "list" and all(part.op in ("rel", "interval", "such", "union") for part in node.args):
        return _all_of(list(node.args)) if node.value == "and" else _any_of(list(node.args))
    if node.op == "list":
        return _any_of(list(node.args)) if node.value == "or" else None
    if node.op == "rel":
        return _relation(node)
    if node.op == "set":
        return Region(tuple(Piece(part, part, True, True) for part in node.args[:MAX_PIECES]))
    return None


def ordered(region: Region) -> tuple[Piece, ...]:
    """Returns the pieces in order with neighbours merged; as written if an end is not a number."""
    values = [(number_value(p.low), number_value(p.high)) for p in region.pieces]
    if any(low is None or high is None for low, high in values):
        return region.pieces
    keyed = [
        (float(low or 0), not p.has_low, float(high or 0), p)
        for (low, high), p in zip(values, region.pieces, strict=True)
        if float(low or 0) < float(high or 0) or (low == high and p.has_low and p.has_high)
    ]
    merged: list[tuple[float, Piece]] = []
    for low, _, high, piece in sorted(keyed, key=lambda item: item[:3]):
        if merged and (low < merged[-1][0] or (low == merged[-1][0] and _touch(merged[-1][1], piece))):
            before, last = merged.pop()
            piece = _merged(last, piece, before, high)
            high = max(before, high)
        merged.append((high, piece))
    return tuple(piece for _, piece in merged)


def _merged(last: Piece, piece: Piece, before: float, high: float) -> Piece:
    if high > before:
        return Piece(last.low, piece.high, last.has_low, piece.has_high)
    has_high = last.has_high or (high == before and piece.has_high)
    return Piece(last.low, last.high, last.has_low, has_high)


def _touch(left: Piece, right: Piece) -> bool:
    return left.has_high or right.has_low


def _interval(node: Node) -> Region | None:
    if len(node.args) != 2:
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
        return _intersection(left, right)
    return _without_points(left, right)


def _without_points(left: Region, right: Region) -> Region | None:
    """Returns the left region without the points of the right one."""
    if any(piece.low != piece.high for piece in right.pieces):
        return None
    result = left
    for point in right.pieces:
        holes = Region((Piece(MINUS_INFINITY, point.low, False, False), Piece(point.low, INFINITY, False, False)))
        cut = _intersection(result, holes)
        if cut is None:
            return None
        result = cut
    return result


def _intersection(left: Region, right: Region) -> Region | None:
    pieces: list[Piece] = []
    for a in left.pieces:
        for b in right.pieces:
            ends = [number_value(end) for end in (a.low, b.low, a.high, b.high)]
            if any(end is None for end in ends) or len(pieces) > MAX_PIECES:
                return None
            a_low, b_low, a_high, b_high = (float(end or 0) for end in ends)
            low, has_low = (a.low, a.has_low) if a_low > b_low else (b.low, b.has_low)
            high, has_high = (a.high, a.has_high) if a_high < b_high else (b.high, b.has_high)
            has_low = has_low and (a_low != b_low or a.has_low)
            has_high = has_high and (a_high != b_high or a.has_high)
            pieces.append(Piece(low, high, has_low, has_high))
    kept = [p for p in pieces if float(number_value(p.low) or 0) <= float(number_value(p.high) or 0)]
    return Region(tuple(kept), left.variable or right.variable)


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
        result = _intersection(result, region)
    return result


def _is_domain(node: Node) -> bool:
    return node.op == "rel" and node.value == "\\in" and node.args[1].op == "sym"


def _relation(node: Node) -> Region | None:
    signs = str(node.value).split(",")
    if signs == ["\\in"]:
        inner = as_region(node.args[1])
        return None if inner is None else Region(inner.pieces, node.args[0])
    if any(sign not in _FLIPPED for sign in signs):
        return None
    if len(signs) == 2:
        return _between(node.args, signs)
    if len(signs) != 1:
        return None
    left, right = node.args
    sign = signs[0]
    if is_name(right) and not is_name(left):
        left, right, sign = right, left, _FLIPPED[sign]
    if is_name(left) and not symbols(left) & symbols(right):
        return _absolute(_ray(left, sign, right))
    return _linear(node, sign)


def is_name(node: Node) -> bool:
    """Returns whether a node can name a quantity: a letter, an indexed letter, `f(x)`, `|z|`."""
    if node.op == "fn" and node.value == "abs":
        return is_name(node.args[0])
    return node.op in ("sym", "sub", "call")


def _ray(name: Node, sign: str, end: Node) -> Region:
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
        low, high, signs = high, low, [_FLIPPED[signs[1]], _FLIPPED[signs[0]]]
    if not is_name(name) or any(sign[0] != "<" for sign in signs):
        return None
    return _absolute(Region((Piece(low, high, signs[0] == "<=", signs[1] == "<="),), name))


def _absolute(region: Region) -> Region | None:
    """Returns the region of z for one of |z|."""
    name = region.variable
    if name is None or name.op != "fn":
        return region
    mirrored: list[Piece] = []
    for low, high, has_low, has_high in region.pieces:
        bottom = number_value(low)
        if bottom is None or infinite_sign(high) == -1:
            return None
        if bottom < 0:
            low, has_low = number(0), True
        mirrored.append(Piece(low, high, has_low, has_high))
        mirrored.append(Piece(_opposite(high), _opposite(low), has_high, has_low))
    return Region(tuple(mirrored), name.args[0])


def _opposite(node: Node) -> Node:
    value = rational(node)
    if value is not None:
        return number(-value)
    return node.args[0] if node.op == "neg" else Node("neg", (node,))


def _linear(node: Node, sign: str) -> Region | None:
    """Returns the region of an inequality that is linear in its one variable."""
    names = set().union(*(symbols(part) for part in node.args))
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
        sign = _FLIPPED[sign]
    return _ray(Node("sym", (), name), sign, number(-at0 / slope))
