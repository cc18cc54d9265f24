r"""Compares two answers by the type of the reference: numbers, lists, tuples, regions, equations, matrices.

True and False are decisions, None is "not known here". The reference decides the reading: (0,1) is an
interval against an interval and a point against a point. A list is compared without regard to order, and
a list is never equal to one of its items: neither a part of the solutions nor more than the solutions.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from reason_env.verify.exact import rational
from reason_env.verify.forms import is_numeral, restates
from reason_env.verify.identity import positive_factor, proportional, same_value
from reason_env.verify.matrices import computed
from reason_env.verify.naming import Item, items, named, spread
from reason_env.verify.nodes import PI, Node, add, has_op, negative, number, substitute, symbols, walk
from reason_env.verify.options import GradeOptions
from reason_env.verify.quantities import without_unit
from reason_env.verify.rounding import as_hundredths, is_close
from reason_env.verify.sets import Region, as_region, is_region, ordered

MAX_COMPARISONS = 3000
_PARAMETERS = frozenset("k n m t l s".split())


class WorkBudgetError(Exception):
    """The comparison needs more work than one verdict may cost."""


class Comparison:
    """One comparison of a response's answer with a reference: the options and the work left."""

    def __init__(self, options: GradeOptions) -> None:
        """Starts with a full budget."""
        self.options = options
        self.left = MAX_COMPARISONS

    def same(self, found: Node, gold: Node) -> bool | None:
        """Returns whether `found` gives the answer `gold`."""
        self.left -= 1
        if self.left < 0:
            raise WorkBudgetError
        if found == gold:
            return True
        if is_region(gold) or is_region(found):
            return self._same_region(found, gold)
        left, right = items(found), items(gold)
        if len(left) == len(right) == 1:
            return self._same_item(left[0], right[0])
        same = self._same_items(left, right, "set" in (gold.op, found.op))
        spread_out = _spread(left), _spread(right)
        if same is not True and spread_out != (left, right):
            return self._same_items(*spread_out, is_set=False)
        return same

    def _same_items(self, left: list[Node], right: list[Node], is_set: bool) -> bool | None:
        if len(right) == 1 and right[0].op == "tuple":
            return self._in_order(left, list(right[0].args))
        if len(left) == 1 and left[0].op in ("tuple", "rel"):
            value = named(left[0])
            if value is not None and value.value.op == "tuple":
                return self._in_order(list(value.value.args), right)
        if is_set:
            left, right = list(dict.fromkeys(left)), list(dict.fromkeys(right))
        if len(left) > len(right) > 1:
            left = list(dict.fromkeys(left))
        if len(left) != len(right):
            return False
        return self._in_order(left, right) if self.options.ordered else self._in_any_order(left, right)

    def _same_item(self, found: Node, gold: Node) -> bool | None:
        left, right = named(found), named(gold)
        if left is None or right is None:
            return self._same_equation(found, gold, left, right)
        if (found.op == "rel") and (gold.op == "rel") and not _names_agree(left, right):
            return self._same_equation(found, gold, left, right) if _is_linked(found, gold) else False
        return self._same_value(_renamed(left, right), right.value)

    def _same_value(self, found: Node, gold: Node) -> bool | None:
        if is_region(gold) or is_region(found):
            return self._same_region(found, gold)
        if found.op in ("list", "set") or gold.op in ("list", "set"):
            return self.same(found, gold)
        if "matrix" in (found.op, gold.op) or has_op(found, "matrix") or has_op(gold, "matrix"):
            return self._same_matrix(found, gold)
        if found.op == "tuple" and gold.op == "tuple":
            return self._in_order(list(found.args), list(gold.args))
        if "tuple" in (found.op, gold.op):
            return False
        if found.op == "rel" or gold.op == "rel":
            return self._same_chain(found, gold)
        return self._same_quantity(found, gold)

    def _same_quantity(self, found: Node, gold: Node) -> bool | None:
        if self.options.forms == "given" and restates(found, gold):
            return False
        (left, unit), (right, expected) = without_unit(found), without_unit(gold)
        if unit.dimension and expected.dimension:
            if unit.dimension != expected.dimension:
                return False
            if unit.factor != expected.factor:
                left = Node("mul", (left, number(unit.factor / expected.factor)))
        if expected.words and not unit.words and self.options.units == "required":
            return False
        return self._same_number(left, right)

    def _same_number(self, found: Node, gold: Node) -> bool | None:
        found, gold = _same_angle(found, gold)
        if "text" in (found.op, gold.op):
            return found == gold
        if self.options.percent == "sign_optional" and gold.op == "percent" and found.op != "percent":
            if self._leaf(as_hundredths(found), gold):
                return True
        if self.options.percent == "sign_optional" and found.op == "percent" and gold.op != "percent":
            if self._leaf(found.args[0], gold):
                return True
        return self._leaf(found, gold)

    def _leaf(self, found: Node, gold: Node) -> bool | None:
        if found.op == "ratio" and gold.op == "ratio":
            same = _same_ratio(found, gold)
            if same is not None:
                return same
        same = same_value(found, gold)
        if same:
            return True
        if same is None and is_numeral(gold):
            # The response is a number too large to be written out, so it is not given as one.
            return False
        if is_close(found, gold, self.options):
            return True
        again = _with_parameter_of(found, gold) or _with_constant_of(found, gold, self.options)
        return same if again is None else same_value(again, gold)

    def _in_order(self, found: Sequence[Node], gold: Sequence[Node]) -> bool | None:
        if len(found) != len(gold):
            return False
        unknown = False
        for left, right in zip(found, gold, strict=True):
            same = self.same(left, right)
            if same is False:
                return False
            unknown = unknown or same is None
        return None if unknown else True

    def _in_any_order(self, found: list[Node], gold: list[Node]) -> bool | None:
        exact = [rational(part) for part in found], [rational(part) for part in gold]
        if None not in exact[0] and None not in exact[1]:
            return Counter(exact[0]) == Counter(exact[1])
        unused = list(found)
        unknown = False
        for right in gold:
            matches = [(self.same(left, right), at) for at, left in enumerate(unused)]
            best = next((at for same, at in matches if same), None)
            if best is None:
                if all(same is False for same, _ in matches):
                    return False
                unknown = True
                continue
            del unused[best]
        return None if unknown else True

    def _same_region(self, found: Node, gold: Node) -> bool | None:
        left, right = as_region(_bare(found)), as_region(_bare(gold))
        if left is None or right is None:
            return self._same_chain(found, gold)
        if left.variable is not None and right.variable is not None:
            if left.variable.op == "sym" == right.variable.op and left.variable != right.variable:
                return False
        return self._same_pieces(left, right)

    def _same_pieces(self, found: Region, gold: Region) -> bool | None:
        left, right = ordered(found), ordered(gold)
        if len(left) != len(right):
            return False
        for a, b in zip(left, right, strict=True):
            if (a.has_low, a.has_high) != (b.has_low, b.has_high):
                return False
            for end, expected in ((a.low, b.low), (a.high, b.high)):
                same = self._same_quantity(end, expected)
                if same is not True:
                    return same
        return True

    def _same_chain(self, found: Node, gold: Node) -> bool | None:
        """Compares relations side by side, from either end, then as one inequality."""
        if found.op != "rel" or gold.op != "rel":
            return False
        left, right = str(found.value).split(","), str(gold.value).split(",")
        if left == right and self._in_order(found.args, gold.args):
            return True
        turned = [_TURNED.get(sign, sign) for sign in reversed(left)]
        if turned == right and self._in_order(found.args[::-1], gold.args):
            return True
        if len(left) == 1 and len(right) == 1 and left[0] in _TURNED and right[0] in _TURNED:
            return _same_inequality(found, gold)
        return False

    def _same_equation(
        self, found: Node, gold: Node, left: Item | None, right: Item | None
    ) -> bool | None:
        if found.op == "rel" and gold.op == "rel":
            if found.value != "=" or gold.value != "=":
                return self._same_chain(found, gold)
            return proportional(_difference(found), _difference(gold))
        if gold.op == "rel" and right is None and gold.value == "=" and left is not None:
            return _solves(left.value, _difference(gold))
        return False

    def _same_matrix(self, found: Node, gold: Node) -> bool | None:
        left, right = computed(found), computed(gold)
        if found.op == "tuple" and right is not None and right.value == 1:
            return self._in_order(found.args, right.args)
        if gold.op == "tuple" and left is not None and left.value == 1:
            return self._in_order(left.args, gold.args)
        if left is None or right is None:
            return None if left is right else False
        return left.value == right.value and self._in_order(left.args, right.args)


_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "\\ne": "\\ne"}


def _spread(nodes: list[Node]) -> list[Node]:
    return [part for node in nodes for part in spread(node)]


def _bare(node: Node) -> Node:
    """Returns what a name in front of a region stands for: `D = (0, 1)` is the interval."""
    if node.op == "rel" and node.value == "=":
        item = named(node)
        if item is not None and item.value.op in ("interval", "tuple", "union", "minus", "set", "inter"):
            return item.value
    return node


def _difference(relation: Node) -> Node:
    return add(relation.args[0], negative(relation.args[1]))


def _same_inequality(found: Node, gold: Node) -> bool | None:
    factor = positive_factor(_difference(found), _difference(gold))
    if factor is None or factor == 0:
        return factor if factor is None else False
    sign = str(found.value)
    return (sign if factor > 0 else _TURNED[sign]) == gold.value


def _solves(expression: Node, difference: Node) -> bool | None:
    """Returns whether an expression is the one variable that is linear in an equation of several."""
    missing = symbols(difference) - symbols(expression)
    if len(missing) != 1 or len(symbols(difference)) < 2 or symbols(expression) - symbols(difference):
        return False
    name = next(iter(missing))
    at = [substitute(difference, name, number(value)) for value in (0, 1, 2)]
    bend = add(at[2], at[0], Node("mul", (number(-2), at[1])))
    if not same_value(bend, number(0)):
        return False
    return same_value(substitute(difference, name, expression), number(0))


def _names_agree(left: Item, right: Item) -> bool:
    if left.name is None or right.name is None or left.name == right.name:
        return True
    if left.name.op == "call" and right.name.op == "call":
        return left.name.value == right.name.value and len(left.name.args) == len(right.name.args)
    return left.name.op not in ("sym", "call") or right.name.op not in ("sym", "call")


def _is_linked(found: Node, gold: Node) -> bool:
    """Returns whether two equations name different variables of one and the same relation."""
    return symbols(found) == symbols(gold) and len(symbols(gold)) > 1


def _renamed(left: Item, right: Item) -> Node:
    """Returns the response's value in the reference's letters: `f(m) = 2m` for `f(n) = 2n`."""
    value = left.value
    if left.name is None or right.name is None or left.name.op != "call" or right.name.op != "call":
        return value
    for mine, theirs in zip(left.name.args, right.name.args, strict=False):
        if mine.op == "sym" == theirs.op and mine != theirs:
            value = substitute(value, str(mine.value), theirs)
    return value


def _same_angle(found: Node, gold: Node) -> tuple[Node, Node]:
    """Returns both sides in one measure of angles; a missing degree sign is a missing unit."""
    if (found.op == "degree") == (gold.op == "degree"):
        return found, gold
    other = gold if found.op == "degree" else found
    if PI in walk(other):
        return found, gold
    return (found.args[0], gold) if found.op == "degree" else (found, gold.args[0])


def _same_ratio(found: Node, gold: Node) -> bool | None:
    left, right = _terms(found), _terms(gold)
    if len(left) != len(right):
        return False
    values = [rational(term) for term in left], [rational(term) for term in right]
    if None in values[0] or None in values[1]:
        return None
    if 0 in values[0] or 0 in values[1]:
        return values[0] == values[1]
    quotients = {(a or 0) / b for a, b in zip(*values, strict=True) if b}
    return len(quotients) == 1


def _terms(node: Node) -> list[Node]:
    return [*_terms(node.args[0]), node.args[1]] if node.op == "ratio" else [node]


def _with_parameter_of(found: Node, gold: Node) -> Node | None:
    r"""Returns the response with its integer parameter renamed: `n\pi` for `k\pi`."""
    mine, theirs = symbols(found) - symbols(gold), symbols(gold) - symbols(found)
    if len(mine) != 1 or len(theirs) != 1 or not mine | theirs <= _PARAMETERS:
        return None
    if not (PI in walk(gold) or has_op(gold, "degree")):
        return None
    return substitute(found, next(iter(mine)), Node("sym", (), next(iter(theirs))))


def _with_constant_of(found: Node, gold: Node, options: GradeOptions) -> Node | None:
    """Returns the response with the constant of integration that the reference has."""
    ends: Callable[[Node], list[Node]] = lambda n: [  # noqa: E731
        part for part in (n.args if n.op == "add" else ()) if part.op == "sym" and part.value in _CONSTANTS
    ]
    theirs = ends(gold)
    if len(theirs) != 1:
        return None
    mine = ends(found)
    if len(mine) == 1:
        return substitute(found, str(mine[0].value), theirs[0])
    return add(found, theirs[0]) if options.constant == "optional" and not mine else None


_CONSTANTS = frozenset(("C", "c", "K", "C_1", "c_1", "C_0"))
