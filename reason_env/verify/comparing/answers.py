r"""Compares two answers by the type of the reference: numbers, lists, regions, matrices, equations.

True and False are decisions; None means that no rule here can tell. The type of the reference
decides how the response is read: `(0,1)` is an interval if the reference is an interval, and a
point if it is a point. Lists compare in any order, unless the options say otherwise. A list never
equals one of its items, so that neither some of the solutions nor additional ones are accepted.
"""

from collections import Counter
from collections.abc import Sequence

from reason_env.verify.comparing.equations import (
    difference,
    is_linked,
    is_reduced_ratio,
    names_agree,
    renamed,
    same_angle,
    same_inequality,
    same_ratio,
    solves,
    with_constant_of,
    with_parameter_of,
)
from reason_env.verify.comparing.forms import is_numeral, leaves_more_work, restates
from reason_env.verify.comparing.identity import number_value, proportional, same_value
from reason_env.verify.comparing.matrices import computed
from reason_env.verify.comparing.naming import (
    Item,
    WorkBudgetError,
    in_order_of_names,
    items,
    labelled_number,
    named,
    spread,
    without_domains,
)
from reason_env.verify.comparing.regions import Region, ordered
from reason_env.verify.comparing.rounding import as_hundredths, is_close
from reason_env.verify.comparing.sets import MIRRORED, as_region, is_region
from reason_env.verify.comparing.vectors import components, is_vector
from reason_env.verify.options import GradeOptions
from reason_env.verify.parsing import (
    read_unit,
    same_tag,
    turns,
    units_agree,
    with_letters_as_unit,
    without_unit,
)
from reason_env.verify.tree import Node, has_op, number, rational, walk

MAX_COMPARISONS = 3000
_RADIAN = read_unit("radian").dimension
_REGIONS = frozenset(("interval", "tuple", "union", "minus", "set", "inter"))


class Comparison:
    """Compares the answer of one response with one reference, within a budget of work."""

    def __init__(self, options: GradeOptions) -> None:
        """Start with a full budget of `MAX_COMPARISONS`."""
        self.options = options
        self.left = MAX_COMPARISONS

    def same(self, found: Node, gold: Node) -> bool | None:  # noqa: PLR0911 - one type per line
        """Decide whether the response's answer `found` equals the reference `gold`.

        Raises:
            WorkBudgetError: The comparison needs more than `MAX_COMPARISONS` steps.
        """
        self.left -= 1
        if self.left < 0:
            raise WorkBudgetError
        found, gold = without_domains(found), without_domains(gold)
        if found == gold:
            return True
        if "tagged" in (found.op, gold.op):
            return self._same_tagged(found, gold)
        if is_region(gold) or is_region(found):
            return self._same_region(found, gold)
        left, right = items(found), items(gold)
        spread_out = _spread(left), _spread(right)
        if len(spread_out[1]) > 1 and (placed := in_order_of_names(*spread_out)) is not None:
            return bool(placed) and self._in_order(placed, spread_out[1])
        if len(left) == len(right) == 1:
            return self._same_item(left[0], right[0])
        same = self._same_items(left, right, "set" in (gold.op, found.op))
        if same is not True and spread_out != (left, right):
            return self._same_items(*spread_out, is_set=False)
        return same

    def _same_items(self, left: list[Node], right: list[Node], is_set: bool) -> bool | None:
        if is_set and (len(left) == 1 or len(right) == 1) and len(left) != len(right):
            return False
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
        return (
            self._in_order(left, right) if self.options.ordered else self._in_any_order(left, right)
        )

    def _same_item(self, found: Node, gold: Node) -> bool | None:
        left, right = named(found), named(gold)
        if left is None and gold.op != "rel" and number_value(gold) is not None:
            number_found = labelled_number(found)
            return number_found is not None and self._same_value(number_found, gold)
        if left is None or right is None:
            return self._same_equation(found, gold, left, right)
        if (found.op == "rel") and (gold.op == "rel") and not names_agree(left, right):
            return (
                self._same_equation(found, gold, left, right) if is_linked(found, gold) else False
            )
        return self._same_value(renamed(left, right), right.value)

    def _same_value(  # noqa: PLR0911 - one type per line
        self, found: Node, gold: Node
    ) -> bool | None:
        found, gold = with_letters_as_unit(found, gold), with_letters_as_unit(gold, found)
        if is_vector(found) != is_vector(gold):
            return self._same_vector(found, gold)
        if is_region(gold) or is_region(found):
            return self._same_region(found, gold)
        if found.op in ("list", "set") or gold.op in ("list", "set"):
            return self.same(found, gold)
        if self.options.forms == "given" and restates(found, gold):
            return False
        if "matrix" in (found.op, gold.op) or has_op(found, "matrix") or has_op(gold, "matrix"):
            return self._same_matrix(found, gold)
        if "cases" in (found.op, gold.op):
            return self._same_cases(found, gold)
        if found.op == "tuple" and gold.op == "tuple":
            return self._in_order(list(found.args), list(gold.args))
        if "tuple" in (found.op, gold.op):
            return False
        if found.op == "rel" or gold.op == "rel":
            return self._same_chain(found, gold)
        return self._same_quantity(found, gold)

    def _same_quantity(self, found: Node, gold: Node) -> bool | None:
        (left, unit), (right, expected) = without_unit(found), without_unit(gold)
        if not units_agree(unit, expected) or _inner_units(left) != _inner_units(right):
            return False
        if _RADIAN in (unit.dimension, expected.dimension) and "degree" in (left.op, right.op):
            return same_value(left, right)
        has_units = bool(unit.dimension and expected.dimension)
        if has_units and unit.factor != expected.factor:
            left = Node("mul", (left, number(unit.factor / expected.factor)))
        if expected.words and not unit.words and self.options.units == "required":
            return False
        return self._same_number(left, right)

    def _same_number(self, found: Node, gold: Node) -> bool | None:
        found, gold = same_angle(found, gold)
        if "text" in (found.op, gold.op):
            return found == gold
        is_one_sign = (found.op == "percent") != (gold.op == "percent")
        if self.options.percent == "sign_optional" and is_one_sign:
            bare = found.args[0] if found.op == "percent" else as_hundredths(found)
            if self._leaf(bare, gold):
                return True
        return self._leaf(found, gold)

    def _leaf(self, found: Node, gold: Node) -> bool | None:
        is_unreduced = found.op == "ratio" != gold.op and not is_reduced_ratio(found)
        if is_unreduced or _has_other_modulus(found, gold):
            return False
        if found.op == "ratio" == gold.op and (same := same_ratio(found, gold)) is not None:
            return same
        same = same_value(found, gold)
        if same:
            return True
        if same is None and is_numeral(gold):
            # `found` is too large to evaluate, so it is not written as a plain number.
            return False
        if is_close(found, gold, self.options):
            return True
        again = with_parameter_of(found, gold) or with_constant_of(found, gold, self.options)
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
        values = [item.value for node in found if (item := named(node)) is not None]
        if self.options.forms == "given" and leaves_more_work(values, gold):
            return False
        exact = [rational(part) for part in found], [rational(part) for part in gold]
        if None not in exact[0] and None not in exact[1]:
            return Counter(exact[0]) == Counter(exact[1])
        sizes = [number_value(part) for part in found], [number_value(part) for part in gold]
        has_units = any(part.op == "quantity" for part in (*found, *gold))
        if None not in sizes[0] and None not in sizes[1] and not has_units:
            return self._in_order(_sorted(found), _sorted(gold))
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
            if "list" == found.op == gold.op and len(found.args) == len(gold.args):
                return self._in_any_order(list(found.args), list(gold.args))
            return self._same_chain(found, gold)
        mine, theirs = left.variable, right.variable
        if not names_agree(Item(gold, mine), Item(gold, theirs)):
            return False
        if not ordered(left) and not ordered(right):
            return "set" in (found.op, gold.op)
        return self._same_pieces(left, right)

    def _same_vector(self, found: Node, gold: Node) -> bool | None:
        """Compare a tuple or column with a sum of unit vectors."""
        mine, theirs = (_as_tuple(found, gold), _as_tuple(gold, found))
        return mine is not None and theirs is not None and self._in_order(mine.args, theirs.args)

    def _same_tagged(self, found: Node, gold: Node) -> bool | None:
        """Compare answers with words before them: the words must be equal.

        Words that turn a value may be on either side of it: "decrease of 30%", "30% decrease".
        """
        if {found.op, gold.op} == {"tagged", "quantity"} and turns(str(gold.value)):
            is_one = same_tag(str(found.value), str(gold.value))
            return is_one and self.same(found.args[0], gold.args[0])
        if found.op != gold.op or not same_tag(str(found.value), str(gold.value)):
            return False
        return self.same(found.args[0], gold.args[0])

    def _same_cases(self, found: Node, gold: Node) -> bool | None:
        """Compare values and conditions in any order of the cases."""
        if found.op != gold.op:
            return False
        left, right = (
            [
                Node("tuple", pair, "()")
                for pair in zip(node.args[::2], node.args[1::2], strict=True)
            ]
            for node in (found, gold)
        )
        return len(left) == len(right) and self._in_any_order(left, right)

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
        """Compare relations side by side, then right to left, then as one inequality."""
        if found.op != "rel" or gold.op != "rel":
            return False
        left, right = str(found.value).split(","), str(gold.value).split(",")
        if left == right and self._in_order(found.args, gold.args):
            return True
        mirrored = [MIRRORED.get(sign, "") for sign in reversed(left)]
        if mirrored == right and self._in_order(found.args[::-1], gold.args):
            return True
        if len(left) == 1 and len(right) == 1 and left[0] in MIRRORED and right[0] in MIRRORED:
            return same_inequality(found, gold)
        return False

    def _same_equation(
        self, found: Node, gold: Node, left: Item | None, right: Item | None
    ) -> bool | None:
        if found.op == "rel" and gold.op == "rel":
            if found.value != "=" or gold.value != "=":
                return self._same_chain(found, gold)
            return proportional(difference(found), difference(gold))
        if gold.op == "rel" and right is None and gold.value == "=" and left is not None:
            return solves(left.value, difference(gold))
        return False

    def _same_matrix(self, found: Node, gold: Node) -> bool | None:
        left, right = computed(found), computed(gold)
        if found.op == "tuple" and right is not None and right.value == 1:
            return self._in_order(found.args, right.args)
        if gold.op == "tuple" and left is not None and left.value == 1:
            return self._in_order(left.args, gold.args)
        if left is None or right is None:
            return None if has_op(found, "pow", "fn") or has_op(gold, "pow", "fn") else False
        return left.value == right.value and self._in_order(left.args, right.args)


def _sorted(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: number_value(node) or 0.0)


def _spread(nodes: list[Node]) -> list[Node]:
    return [part for node in nodes for part in spread(node)]


def _inner_units(node: Node) -> list[str]:
    """Collect the units inside an expression, which do not convert."""
    return [str(part.value) for part in walk(node) if part.op == "quantity"]


def _has_other_modulus(found: Node, gold: Node) -> bool:
    """Decide whether two remainders have different moduli: 5 modulo 7 is not 5 modulo 8."""
    are_remainders = all(node.op == "fn" and node.value == "mod" for node in (found, gold))
    return are_remainders and same_value(found.args[1], gold.args[1]) is not True


def _as_tuple(node: Node, other: Node) -> Node | None:
    if node.op in ("tuple", "matrix"):
        return node
    return components(node, len(other.args)) if is_vector(node) else None


def _bare(node: Node) -> Node:
    """Drop the name in front of a region: `D = (0, 1)` becomes the interval."""
    if node.op == "rel" and node.value == "=":
        item = named(node)
        if item is not None and item.value.op in _REGIONS:
            return item.value
    return node
