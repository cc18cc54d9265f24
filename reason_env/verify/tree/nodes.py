"""The tree of an answer: immutable values, and no text to execute.

There is one node type with an operation name, because every evaluation (exact, modular, numeric,
form) is a table over operations. Operations:

- expressions: num (Fraction), dec (a decimal as written), sym, const (pi, e, i, inf), add, mul,
  div, neg, pow, root (radicand, degree), fn (a known function), call (`f(x)`), sub (an index that
  is an expression), fact, pm, mp, percent, degree, and the bound ones sum, prod, int, lim, deriv
  (value: the bound variable);
- structures: list, tuple, set, interval (value: its two brackets), union, inter, minus, rel
  (value: the relation signs, comma-separated), ratio, matrix (value: columns), quantity (value:
  the unit), mixed (whole, fraction), based (value: the base), text.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple


class Node(NamedTuple):
    """An operation, its operands, and a value if the operation has one."""

    op: str
    args: tuple["Node", ...] = ()
    value: Fraction | str | int | None = None


def number(value: int | Fraction) -> Node:
    """Build the leaf of an exact number."""
    return Node("num", (), Fraction(value))


def symbol(name: str) -> Node:
    """Build the leaf of a variable."""
    return Node("sym", (), name)


def add(*terms: Node) -> Node:
    """Build the sum of the terms, flattened one level."""
    flat = [part for term in terms for part in (term.args if term.op == "add" else (term,))]
    return flat[0] if len(flat) == 1 else Node("add", tuple(flat))


def multiply(*factors: Node) -> Node:
    """Build the product of the factors, flattened one level; braces around a factor only group."""
    if len(factors) > 1:
        factors = tuple(f.args[0] if f.op == "set" and len(f.args) == 1 else f for f in factors)
    flat = [
        part for factor in factors for part in (factor.args if factor.op == "mul" else (factor,))
    ]
    return flat[0] if len(flat) == 1 else Node("mul", tuple(flat))


def negative(node: Node) -> Node:
    """Negate a node; a number changes its own sign."""
    if node.op == "num":
        assert isinstance(node.value, Fraction), "a num node holds a Fraction"
        return Node("num", (), -node.value)
    return node.args[0] if node.op == "neg" else Node("neg", (node,))


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and all nodes below it, without recursion."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(current.args)


def has_op(node: Node, *ops: str) -> bool:
    """Decide whether one of the operations occurs in the tree."""
    # Written out, as in `symbols`: both run several times a comparison, and a generator costs more.
    stack = [node]
    while stack:
        current = stack.pop()
        if current.op in ops:
            return True
        stack.extend(current.args)
    return False


def symbols(node: Node) -> set[str]:
    """Collect the names of the free variables (names of bound ones begin with #)."""
    names: set[str] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.op == "sym" and (name := str(current.value))[:1] != "#":
            names.add(name)
        stack.extend(current.args)
    return names


def substitute(node: Node, name: str, by: Node) -> Node:
    """Replace a variable in a tree."""
    if node.op == "sym":
        return by if node.value == name else node
    if not node.args:
        return node
    return Node(node.op, tuple(substitute(part, name, by) for part in node.args), node.value)


PI, EULER, IMAGINARY, INFINITY = (Node("const", (), name) for name in ("pi", "e", "i", "inf"))
ONE, TEN = number(1), number(10)
EMPTY_SET = Node("set")
