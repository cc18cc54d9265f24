r"""Separates the name of an answer from its value: `x = 3`, `f(x) = x + 1`, `(p, q) = (3, 2)`.

The value of a chain `x = 5 + 2 = 7` is its last side. A chain of different plain numbers has no
value (`1 = 2 = 3 = 7` guesses), unless an expression between them equals the last one. In
`x = \pi \approx 3.14` the value comes before the "approximately equal" sign.
"""

from collections.abc import Iterator
from typing import NamedTuple

from reason_env.verify.comparing.forms import is_numeral
from reason_env.verify.comparing.identity import number_value, same_value
from reason_env.verify.comparing.regions import MINUS_INFINITY
from reason_env.verify.comparing.sets import is_name
from reason_env.verify.tree import EMPTY_SET, INFINITY, Node, has_op, symbols

MAX_ITEMS = 1500
MAX_SIGNS = 6


class WorkBudgetError(Exception):
    """One comparison exceeds its budget of work."""


class Item(NamedTuple):
    """The value of an answer, and its name if it has one."""

    value: Node
    name: Node | None = None


def named(node: Node) -> Item | None:
    """Split an answer into name and value; None for an equation and for a chain without a value."""
    if node.op != "rel":
        return Item(node)
    signs = str(node.value).split(",")
    if any(sign not in ("=", "\\approx") for sign in signs):
        return Item(node)
    sides = node.args
    if "\\approx" in signs:
        at = signs.index("\\approx")
        if at > 0 or not is_label(sides[0]):
            comment = sides[at + 1]
            sides = sides[: at + 1]
            return _last(sides) if _is_near(sides[-1], comment) or at > 0 else None
    return _last(sides)


def _last(sides: tuple[Node, ...]) -> Item | None:
    if len(sides) == 1:
        return Item(sides[0])
    if all(side == sides[0] for side in sides):
        # An identity such as 1 = 1 states nothing.
        return None
    name = sides[0] if is_label(sides[0]) else None
    if name is None and len(sides) == 2 and is_label(sides[1]) and sides[1].op == "sym":
        return Item(sides[0], sides[1])
    rest = [side for side in sides if not is_label(side)] or [sides[-1]]
    if name is None and not all(number_value(side) is not None for side in sides):
        return None
    return Item(rest[-1], name) if _supports(rest) else None


def _supports(sides: list[Node]) -> bool:
    """Decide whether the last side of a chain agrees with the sides before it.

    The value of a chain is its last side, so wrong steps before it do not matter; a chain of
    different plain numbers guesses.
    """
    last = sides[-1]
    others = [side for side in sides[:-1] if is_numeral(side)]
    if all(same_value(side, last) for side in others):
        return True
    worked = [side for side in sides[:-1] if not is_numeral(side)]
    return any(same_value(side, last) is True for side in worked)


def _is_near(value: Node, comment: Node) -> bool:
    left, right = number_value(value), number_value(comment)
    return left is None or right is None or abs(left - right) <= 0.02 * max(abs(left), abs(right))


def labelled_number(node: Node) -> Node | None:
    r"""Take the number of `m + n = 293` or `a + b = 12 + 25 = 37`; None for other equations.

    The first side must be an expression of letters without numbers, except exponents: `2x = 10` and
    `-x = 3` are equations to solve.
    """
    if node.op != "rel" or set(str(node.value).split(",")) != {"="}:
        return None
    label, *rest = node.args if symbols(node.args[0]) else node.args[::-1]
    if not symbols(label) or label.op == "neg" or _has_number(label):
        return None
    if any(symbols(side) for side in rest):
        return None
    return rest[-1] if all(same_value(side, rest[-1]) for side in rest) else None


def _has_number(node: Node) -> bool:
    if node.op in ("num", "dec"):
        return True
    exponents = 1 if node.op in ("pow", "root") else 0
    return any(_has_number(part) for part in node.args[: len(node.args) - exponents])


def is_label(node: Node) -> bool:
    r"""Decide whether a side is a name: `x`, `f(n)`, `AB`, `\frac{NO}{BO}`, `V_1 : V_2`, a word."""
    if is_name(node) or node.op == "text":
        return True
    if node.op == "fn" and node.value == "abs":
        return is_label(node.args[0])
    if node.op == "deriv" or (node.op == "div" and all(map(_is_partial, node.args))):
        return node.op == "div" or is_name(node.args[0])
    if node.op in ("tuple", "ratio"):
        return all(is_label(part) for part in node.args)
    if node.op in ("mul", "div"):
        return all(is_label(part) and _is_upper(part) for part in node.args)
    return False


def _is_partial(node: Node) -> bool:
    return node.op == "call" and node.value == "partial"


def _is_upper(node: Node) -> bool:
    return (
        all(_is_upper(part) for part in node.args) if node.args else str(node.value)[:1].isupper()
    )


def items(node: Node) -> list[Node]:
    """Flatten a list or set into its answers, and expand every plus-or-minus sign.

    Raises:
        WorkBudgetError: There are more than `MAX_ITEMS`.
    """
    parts = _with_left_side(node.args) if node.op in ("list", "set") else (node,)
    flat: list[Node] = []
    for part in parts:
        nested = items(part) if part.op in ("list", "set") else list(_expanded(part))
        flat.extend(nested)
        if len(flat) > MAX_ITEMS:
            raise WorkBudgetError
    return flat


def _with_left_side(parts: tuple[Node, ...]) -> tuple[Node, ...]:
    """Complete the equations of a list: `-x = 0, 1` states `-x = 0` and `-x = 1`.

    A left side that is a name stays with its item: `x = 0, 1` are two values.
    """
    first, *others = parts or (EMPTY_SET,)
    if first.op != "rel" or first.value != "=" or any(part.op == "rel" for part in others):
        return parts
    left = first.args[0]
    if not symbols(left) or not (left.op == "neg" or _has_number(left)):
        return parts
    return (first, *(Node("rel", (left, part), "=") for part in others))


def in_order_of_names(found: list[Node], gold: list[Node]) -> list[Node] | None:
    """Order a response's items as the reference's, whose items all have different names.

    Items without names stay in order: `x = 1, y = 2` is answered by `1, 2`, and `9 boys and 12
    girls` by `9, 12`. An empty list means that the names do not fit; None that the reference does
    not name its items.
    """
    theirs = [_name(node) for node in gold]
    if None in theirs or len(set(theirs)) < len(theirs):
        units = [node.value for node in gold if node.op == "quantity"]
        has_units = len(set(units)) == len(gold) and all(is_numeral(node) for node in gold)
        is_bare = all(is_numeral(node) and node.op != "quantity" for node in found)
        return found if has_units and is_bare and len(found) == len(gold) else None
    if len(found) == 1 and found[0].op == "tuple":
        found = list(found[0].args)
    mine = [_name(node) for node in found]
    if set(mine) == {None} and all(node.op != "rel" for node in found):
        return (
            [_tagged_value(node, other) for node, other in zip(found, gold, strict=False)]
            if (len(found) == len(gold))
            else []
        )
    if len(mine) != len(theirs) or set(mine) != set(theirs):
        return []
    return [found[mine.index(name)] for name in theirs]


def _tagged_value(node: Node, gold: Node) -> Node:
    """Give a value without a tag the tag of the reference's item at its place."""
    return Node("tagged", (node,), gold.value) if gold.op == "tagged" else node


def _name(node: Node) -> Node | str | None:
    if node.op == "tagged":
        return str(node.value)
    item = named(node) if node.op == "rel" else None
    return None if item is None else item.name


def without_domains(node: Node) -> Node:
    r"""Drop the items of a list that only give the domain of a letter: `k \in \mathbb{Z}`."""
    if node.op != "list":
        return node
    kept = tuple(part for part in node.args if not _is_domain(part))
    return kept[0] if len(kept) == 1 else Node("list", kept or node.args, node.value)


def _is_domain(node: Node) -> bool:
    if node.op != "rel" or node.value != "\\in":
        return False
    place = node.args[1]
    is_letter = place.op == "sym" and str(place.value).startswith("mathbb")
    return is_letter or (place.op == "interval" and place.args == (MINUS_INFINITY, INFINITY))


def _expanded(node: Node) -> Iterator[Node]:
    count = _signs(node) if has_op(node, "pm", "mp") else 0
    if not 0 < count <= MAX_SIGNS:
        yield node
        return
    is_tied = any(True for _ in _marks(node, "mp"))
    choices = [(1 << count) - 1, 0] if is_tied else range((1 << count) - 1, -1, -1)
    for choice in choices:
        yield _chosen(node, [bool(choice >> at & 1) for at in range(count)])


def _marks(node: Node, *ops: str) -> Iterator[Node]:
    if node.op in ops:
        yield node
    for part in node.args:
        yield from _marks(part, *ops)


def _signs(node: Node) -> int:
    return sum(1 for _ in _marks(node, "pm", "mp"))


def _chosen(node: Node, picks: list[bool]) -> Node:
    if node.op in ("pm", "mp"):
        is_plus = picks.pop(0) == (node.op == "pm")
        inner = _chosen(node.args[0], picks)
        return inner if is_plus else Node("neg", (inner,))
    return Node(node.op, tuple(_chosen(part, picks) for part in node.args), node.value)


def spread(node: Node) -> list[Node]:
    """Split `(f(n), g(n)) = (n, 1)` into `f(n) = n` and `g(n) = 1`; other nodes stay whole."""
    if node.op == "rel" and node.value == "=" and all(side.op == "tuple" for side in node.args):
        names, values = node.args[0].args, node.args[1].args
        if len(names) == len(values) and all(is_label(name) for name in names):
            return [Node("rel", pair, "=") for pair in zip(names, values, strict=True)]
    return [node]
