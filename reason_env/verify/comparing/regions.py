"""Regions of the real line: unions of intervals whose ends are trees, and their set operations.

If every end is a number, the intervals are sorted and merged, so that each set has one form. If an
end contains a letter, they stay as written.
"""

from typing import NamedTuple

from reason_env.verify.comparing.identity import number_value
from reason_env.verify.tree import INFINITY, Node

MAX_PIECES = 64


class Piece(NamedTuple):
    """One interval: its ends, and whether it contains them."""

    low: Node
    high: Node
    has_low: bool
    has_high: bool


class Region(NamedTuple):
    """A union of intervals, and the variable that ranges over it if the text names one."""

    pieces: tuple[Piece, ...]
    variable: Node | None = None


MINUS_INFINITY = Node("neg", (INFINITY,))
LINE = Piece(MINUS_INFINITY, INFINITY, False, False)


def ordered(region: Region) -> tuple[Piece, ...]:
    """Sort and merge the pieces; return them as written if an end is not a number."""
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
        if merged and (
            low < merged[-1][0] or (low == merged[-1][0] and _touch(merged[-1][1], piece))
        ):
            before, last = merged.pop()
            merged.append((max(before, high), _merged(last, piece, before, high)))
        else:
            merged.append((high, piece))
    return tuple(piece for _, piece in merged)


def _merged(last: Piece, piece: Piece, before: float, high: float) -> Piece:
    if high > before:
        return Piece(last.low, piece.high, last.has_low, piece.has_high)
    has_high = last.has_high or (high == before and piece.has_high)
    return Piece(last.low, last.high, last.has_low, has_high)


def _touch(left: Piece, right: Piece) -> bool:
    return left.has_high or right.has_low


def without_points(left: Region, right: Region) -> Region | None:
    """Remove the points of the right region; None if it has more than points."""
    if any(piece.low != piece.high for piece in right.pieces):
        return None
    result = left
    for point in right.pieces:
        holes = Region(
            (
                Piece(MINUS_INFINITY, point.low, False, False),
                Piece(point.low, INFINITY, False, False),
            )
        )
        cut = intersection(result, holes)
        if cut is None:
            return None
        result = cut
    return result


def intersection(left: Region, right: Region) -> Region | None:
    """Intersect two regions; None if an end is not a number."""
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
    kept = [
        p for p in pieces if float(number_value(p.low) or 0) <= float(number_value(p.high) or 0)
    ]
    return Region(tuple(kept), left.variable or right.variable)
