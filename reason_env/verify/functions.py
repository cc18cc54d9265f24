r"""Parses functions by name: their powers, bases and arguments, with or without parentheses.

A function without parentheses takes the product after it up to the next function
(`\sin 2x \cos y`); `\sin^{-1}` is the inverse, `\log` the natural logarithm unless it has a base.
"""

from reason_env.verify import atoms, expression, structure
from reason_env.verify.cursor import Cursor
from reason_env.verify.nodes import EULER, Node, multiply, number
from reason_env.verify.normalizing import UnreadableError
from reason_env.verify.words import FUNCTIONS

_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec",
             "csc": "arccsc", "asin": "sin", "acos": "cos", "atan": "tan"}  # fmt: skip


_ALIASES = {
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "acot": "arccot",
    "asec": "arcsec",
    "acsc": "arccsc",
    "arsinh": "asinh",
    "arcosh": "acosh",
    "artanh": "atanh",
    "log": "ln",
}


_SEVERAL = frozenset(["min", "max", "gcd", "lcm"])


def parse_function(cursor: Cursor) -> Node:
    """Returns the function whose name comes next, applied to its argument."""
    name, base, power = cursor.take(), None, None
    while cursor.peek() in ("_", "^"):
        if cursor.take() == "_":
            base = atoms.argument(cursor)
        else:
            power = atoms.argument(cursor) if cursor.peek() != "-" else _minus(cursor)
    if name == "sqrt":
        return _root(cursor)
    inner = _function_argument(cursor)
    if power == number(-1) and name in _INVERSES:
        name, power = _INVERSES[name], None
    node = _applied(_ALIASES.get(name, name), inner, base)
    return node if power is None else Node("pow", (node, power))


def _minus(cursor: Cursor) -> Node:
    cursor.take()
    inner = atoms.argument(cursor)
    return number(-inner.value) if inner.op == "num" else Node("neg", (inner,))  # pyright: ignore


def _applied(name: str, inner: tuple[Node, ...], base: Node | None) -> Node:
    if len(inner) != 1 and name not in _SEVERAL:
        raise UnreadableError("a function of one argument")
    if name == "cbrt":
        return Node("root", (inner[0], number(3)))
    if name == "exp":
        return Node("pow", (EULER, inner[0]))
    if name in ("ln", "lg") and base is not None:
        return Node("div", (Node("fn", inner, "ln"), Node("fn", (base,), "ln")))
    if name == "lg":
        return Node("fn", inner, "ln")
    return Node("fn", inner, name)


def _function_argument(cursor: Cursor) -> tuple[Node, ...]:
    if cursor.peek() in ("(", "{", "["):
        closing = {"(": ")", "{": "}", "[": "]"}[cursor.take()]
        if closing == "}" and cursor.peek() == "(":
            return _wrapped(cursor)
        inner = structure.parse_items(cursor, closing)
        cursor.expect(closing)
        return tuple(inner)
    cursor.enter()
    factors = [expression.parse_power(cursor)]
    while expression.starts_factor(cursor) and cursor.peek() not in FUNCTIONS:
        if factors[-1].op in ("fn", "pow") and cursor.peek() == "(":
            break
        factors.append(expression.parse_power(cursor))
    cursor.leave()
    return (multiply(*factors),)


def _wrapped(cursor: Cursor) -> tuple[Node, ...]:
    inner = structure.parse_items(cursor, "}")
    cursor.expect("}")
    return tuple(inner[0].args) if len(inner) == 1 and inner[0].op == "tuple" else tuple(inner)


def _root(cursor: Cursor) -> Node:
    degree = number(2)
    if cursor.accept("["):
        degree = expression.parse_sum(cursor)
        cursor.expect("]")
    token = cursor.peek()
    inner = expression.literal(cursor.take()) if token[:1].isdigit() else atoms.argument(cursor)
    return Node("root", (inner, degree))
