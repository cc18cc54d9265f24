"""Compares answers that may differ by letters, sides or a factor: equations, ratios, angles.

Two equations are equal up to a constant factor. An expression answers an equation of several
variables if it solves the equation for the one variable that it does not contain. Letters are
renamed only where their name has no meaning: arguments of a function, an integer parameter next to
pi, a constant of integration.
"""

from reason_env.verify.comparing.identity import same_value, sign_of_factor
from reason_env.verify.comparing.naming import Item
from reason_env.verify.comparing.sets import MIRRORED
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

_PARAMETERS = frozenset("knmtls")


def difference(relation: Node) -> Node:
    """Subtract the right side of an equation from its left side."""
    return add(relation.args[0], negative(relation.args[1]))


def same_inequality(found: Node, gold: Node) -> bool | None:
    """Decide whether two inequalities are equal up to a factor; a negative one mirrors the sign."""
    if (found.value == "=") != (gold.value == "="):
        return False
    factor = sign_of_factor(difference(found), difference(gold))
    if factor is None or factor == 0:
        return factor if factor is None else False
    sign = str(found.value)
    return (sign if factor > 0 else MIRRORED[sign]) == gold.value


def solves(expression: Node, difference: Node) -> bool | None:
    """Decide whether an expression solves `difference = 0` for the variable that it lacks.

    The equation must have several variables and be linear in that one.
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


_LETTERS = frozenset(("sym", "call", "sub"))


def names_agree(left: Item, right: Item) -> bool:
    """Decide whether two names can mean one quantity: equal, missing, or calls of one function."""
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


def _arguments_agree(mine: tuple[Node, ...], theirs: tuple[Node, ...]) -> bool:
    """Decide whether arguments are equal, or lower-case letters such as n in f(n)."""
    return len(mine) == len(theirs) and all(
        a == b or (a.op == "sym" == b.op and str(a.value).islower() and str(b.value).islower())
        for a, b in zip(mine, theirs, strict=True)
    )


def is_linked(found: Node, gold: Node) -> bool:
    """Decide whether two equations solve one relation for different variables."""
    return symbols(found) == symbols(gold) and len(symbols(gold)) > 1


def renamed(left: Item, right: Item) -> Node:
    """Rename the response's arguments to the reference's: `f(m) = 2m` becomes `f(n) = 2n`."""
    value = left.value
    if left.name is None or right.name is None or left.name.op != "call" or right.name.op != "call":
        return value
    pairs = [
        (str(mine.value), theirs)
        for mine, theirs in zip(left.name.args, right.name.args, strict=False)
        if mine.op == "sym" == theirs.op
    ]
    mine = {name for name, _ in pairs}
    # A letter that is not an argument must not become one: f(y) = x does not answer f(x) = x.
    for name in symbols(value) & ({str(theirs.value) for _, theirs in pairs} - mine):
        value = substitute(value, name, Node("sym", (), f"free {name}"))
    for name in mine:
        value = substitute(value, name, Node("sym", (), f"argument {name}"))
    for name, theirs in pairs:
        value = substitute(value, f"argument {name}", theirs)
    return value


def same_angle(found: Node, gold: Node) -> tuple[Node, Node]:
    """Drop the degree sign that only one side has, unless the other is in radians (has pi)."""
    if (found.op == "degree") == (gold.op == "degree"):
        return found, gold
    other = gold if found.op == "degree" else found
    if PI in walk(other):
        return found, gold
    return (found.args[0], gold) if found.op == "degree" else (found, gold.args[0])


def same_ratio(found: Node, gold: Node) -> bool | None:
    """Decide whether two ratios of numbers are proportional; None if a term is not rational."""
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


def is_reduced_ratio(node: Node) -> bool:
    """Decide whether a ratio can answer for a number: 5:8 can, 5:5 and 10:2 cannot."""
    terms = [rational(term) for term in _terms(node)]
    if len(terms) != 2 or terms[0] is None or terms[1] is None or 0 in terms:
        return True
    return terms[1] == 1 or (terms[0] / terms[1]).denominator != 1


def _terms(node: Node) -> list[Node]:
    return [*_terms(node.args[0]), node.args[1]] if node.op == "ratio" else [node]


def with_parameter_of(found: Node, gold: Node) -> Node | None:
    r"""Rename the integer parameter of the response: `n\pi` becomes `k\pi`; None if it has none."""
    mine, theirs = symbols(found) - symbols(gold), symbols(gold) - symbols(found)
    if len(mine) != 1 or len(theirs) != 1 or not mine | theirs <= _PARAMETERS:
        return None
    if not (PI in walk(gold) or has_op(gold, "degree")):
        return None
    return substitute(found, next(iter(mine)), Node("sym", (), next(iter(theirs))))


def with_constant_of(found: Node, gold: Node, options: GradeOptions) -> Node | None:
    """Give the response the reference's constant of integration; None if there is none to give.

    If both have one, values that differ by a constant are equal, because the constant absorbs it.
    """
    theirs = _constant_terms(gold)
    if len(theirs) != 1:
        return None
    mine = _constant_terms(found)
    if len(mine) == 1:
        rest = add(found, negative(mine[0])), add(gold, negative(theirs[0]))
        return gold if _is_constant(*rest) else substitute(found, str(mine[0].value), theirs[0])
    return add(found, theirs[0]) if options.constant == "optional" and not mine else None


def _is_constant(left: Node, right: Node) -> bool:
    """Decide whether a difference has the same value for all values of its letters."""
    gap = add(left, negative(right))
    elsewhere = gap
    for name in symbols(gap):
        elsewhere = substitute(elsewhere, name, Node("sym", (), f"other {name}"))
    return bool(same_value(gap, elsewhere))


_CONSTANTS = frozenset(("C", "c", "K", "C_1", "c_1", "C_0"))


def _constant_terms(node: Node) -> list[Node]:
    terms = node.args if node.op == "add" else ()
    return [term for term in terms if term.op == "sym" and term.value in _CONSTANTS]
