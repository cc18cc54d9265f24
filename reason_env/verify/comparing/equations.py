"""Relates two answers that differ by letters, by sides or by a factor: equations, ratios, angles.

An equation equals another up to a constant factor; an expression answers an equation of several
variables that it solves for the one it leaves out. Only names that carry no meaning are exchanged:
arguments of a function, an integer parameter beside pi, a constant of integration.
"""

from collections.abc import Callable

from reason_env.verify.comparing.identity import positive_factor, same_value
from reason_env.verify.comparing.naming import Item
from reason_env.verify.options import GradeOptions
from reason_env.verify.tree import (
    PI,
    Node,
    add,
    has_op,
    negative,
    number,
    rational,
    substitute,
    symbols,
    walk,
)

_PARAMETERS_TEXT = """
    k n m t l s
"""
_PARAMETERS = frozenset(_PARAMETERS_TEXT.split())


TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "\\ne": "\\ne"}


def difference(relation: Node) -> Node:
    """Returns the left side minus the right side of an equation."""
    return add(relation.args[0], negative(relation.args[1]))


def same_inequality(found: Node, gold: Node) -> bool | None:
    """Returns whether two inequalities are one up to a constant factor, whose sign turns it."""
    factor = positive_factor(difference(found), difference(gold))
    if factor is None or factor == 0:
        return factor if factor is None else False
    sign = str(found.value)
    return (sign if factor > 0 else TURNED[sign]) == gold.value


def solves(expression: Node, difference: Node) -> bool | None:
    """Returns whether an expression is the one variable that is linear in an equation of
    several.
    """
    missing = symbols(difference) - symbols(expression)
    if (
        len(missing) != 1
        or len(symbols(difference)) < 2
        or symbols(expression) - symbols(difference)
    ):
        return False
    name = next(iter(missing))
    at = [substitute(difference, name, number(value)) for value in (0, 1, 2)]
    bend = add(at[2], at[0], Node("mul", (number(-2), at[1])))
    if not same_value(bend, number(0)):
        return False
    return same_value(substitute(difference, name, expression), number(0))


def names_agree(left: Item, right: Item) -> bool:
    """Returns whether two names can be one quantity: equal, missing, or one function's calls."""
    if left.name is None or right.name is None or left.name == right.name:
        return True
    mine, theirs = left.name, right.name
    if mine.op == "call" == theirs.op:
        return mine.value == theirs.value and _arguments_agree(mine.args, theirs.args)
    if mine.op == theirs.op == "mul":
        return sorted(str(part.value) for part in mine.args) == sorted(
            str(part.value) for part in theirs.args
        )
    return mine.op != theirs.op and (mine.op not in _LETTERS or theirs.op not in _LETTERS)


_LETTERS = frozenset(("sym", "call", "sub"))


def _arguments_agree(mine: tuple[Node, ...], theirs: tuple[Node, ...]) -> bool:
    """Returns whether arguments are equal or letters that only stand for a number, as n in f(n)."""
    return len(mine) == len(theirs) and all(
        a == b or (a.op == "sym" == b.op and str(a.value).islower() and str(b.value).islower())
        for a, b in zip(mine, theirs, strict=True)
    )


def is_linked(found: Node, gold: Node) -> bool:
    """Returns whether two equations name different variables of one and the same relation."""
    return symbols(found) == symbols(gold) and len(symbols(gold)) > 1


def renamed(left: Item, right: Item) -> Node:
    """Returns the response's value in the reference's letters: `f(m) = 2m` for `f(n) = 2n`."""
    value = left.value
    if left.name is None or right.name is None or left.name.op != "call" or right.name.op != "call":
        return value
    pairs = [
        (str(mine.value), theirs)
        for mine, theirs in zip(left.name.args, right.name.args, strict=False)
        if mine.op == "sym" == theirs.op
    ]
    mine = {name for name, _ in pairs}
    # A letter of the response that is no argument must not become one: f(y) = x is no identity.
    for name in symbols(value) & ({str(theirs.value) for _, theirs in pairs} - mine):
        value = substitute(value, name, Node("sym", (), f"free {name}"))
    for name in mine:
        value = substitute(value, name, Node("sym", (), f"argument {name}"))
    for name, theirs in pairs:
        value = substitute(value, f"argument {name}", theirs)
    return value


def same_angle(found: Node, gold: Node) -> tuple[Node, Node]:
    """Returns both sides in one measure of angles; a missing degree sign is a missing unit."""
    if (found.op == "degree") == (gold.op == "degree"):
        return found, gold
    other = gold if found.op == "degree" else found
    if PI in walk(other):
        return found, gold
    return (found.args[0], gold) if found.op == "degree" else (found, gold.args[0])


def same_ratio(found: Node, gold: Node) -> bool | None:
    """Returns whether two ratios of numbers are proportional; None if a term is not rational."""
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


def with_parameter_of(found: Node, gold: Node) -> Node | None:
    r"""Returns the response with its integer parameter renamed: `n\pi` for `k\pi`."""
    mine, theirs = symbols(found) - symbols(gold), symbols(gold) - symbols(found)
    if len(mine) != 1 or len(theirs) != 1 or not mine | theirs <= _PARAMETERS:
        return None
    if not (PI in walk(gold) or has_op(gold, "degree")):
        return None
    return substitute(found, next(iter(mine)), Node("sym", (), next(iter(theirs))))


def with_constant_of(found: Node, gold: Node, options: GradeOptions) -> Node | None:
    """Returns the response with the constant of integration that the reference has."""
    ends: Callable[[Node], list[Node]] = lambda n: [  # noqa: E731
        part
        for part in (n.args if n.op == "add" else ())
        if part.op == "sym" and part.value in _CONSTANTS
    ]
    theirs = ends(gold)
    if len(theirs) != 1:
        return None
    mine = ends(found)
    if len(mine) == 1:
        return substitute(found, str(mine[0].value), theirs[0])
    return add(found, theirs[0]) if options.constant == "optional" and not mine else None


_CONSTANTS = frozenset(("C", "c", "K", "C_1", "c_1", "C_0"))
