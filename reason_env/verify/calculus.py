r"""Parses sums, products, limits, integrals and derivatives: operators that bind a variable.

Nothing is evaluated. The bound variable is renamed to its nesting depth, so that `\int_0^1 x dx`
and `\int_0^1 t dt` are one tree.
"""

from reason_env.verify import atoms, expression, structure
from reason_env.verify.cursor import Cursor
from reason_env.verify.nodes import EMPTY_SET, ONE, Node, substitute, symbol
from reason_env.verify.normalizing import UnreadableError

BOUND = frozenset(("\\sum", "\\prod", "\\int", "\\lim"))
_NONE = EMPTY_SET


def parse_bound(cursor: Cursor) -> Node:
    """Returns the tree of one bound operator with its body."""
    token = cursor.take()
    if token == "\\int":
        return _integral(cursor)
    if token == "\\lim":
        return _limit(cursor)
    lower, upper = _limits(cursor)
    if lower.op != "rel" or lower.value != "=":
        raise UnreadableError("a sum needs its index")
    name, start = _variable(lower.args[0]), lower.args[1]
    body = expression.parse_term(cursor)
    return _bind(token[1:], name, body, start, upper)


def parse_derivative(cursor: Cursor) -> Node | None:
    r"""Returns `\frac{d}{dx} body` or `\frac{d body}{dx}`; None (nothing taken) if it is a
    fraction.
    """
    start = cursor.position
    if cursor.peek() != "{" or cursor.peek(1) != "d":
        return None
    end = _closing(cursor.tokens, start)
    bottom = cursor.tokens[end + 1 : end + 6]
    if len(bottom) < 4 or bottom[0] != "{" or bottom[1] != "d" or bottom[3] != "}":
        return None
    name = bottom[2].lstrip("\\")
    cursor.position = start + 2
    body = _NONE
    if cursor.peek() != "}":
        body = expression.parse_term(cursor)
    cursor.expect("}")
    cursor.position += 4
    if body is _NONE:
        body = expression.parse_term(cursor)
    return Node("deriv", (body, symbol(name)))


def _limits(cursor: Cursor) -> tuple[Node, Node]:
    lower = upper = _NONE
    while cursor.peek() in ("_", "^"):
        if cursor.take() == "_":
            lower = _limit_text(cursor)
        else:
            upper = _limit_text(cursor)
    return lower, upper


def _limit_text(cursor: Cursor) -> Node:
    if not cursor.accept("{"):
        return symbol(cursor.take()) if cursor.peek().isalpha() else _number(cursor)
    relation = structure.parse_relation(cursor)
    cursor.expect("}")
    return relation


def _number(cursor: Cursor) -> Node:
    if cursor.peek()[:1].isdigit():
        return expression.literal(cursor.take())
    return atoms.argument(cursor)


def _limit(cursor: Cursor) -> Node:
    cursor.expect("_")
    cursor.expect("{")
    name = _variable(atoms.parse_atom(cursor))
    cursor.expect("\\to")
    point = _limit_point(cursor)
    body = expression.parse_term(cursor)
    return _bind("lim", name, body, point, _NONE)


def _limit_point(cursor: Cursor) -> Node:
    """Returns the point of a limit; the side it is approached from becomes a call."""
    end = (
        cursor.tokens.index("}", cursor.position) if "}" in cursor.tokens[cursor.position :] else 0
    )
    side = ""
    if cursor.tokens[end - 2 : end] in (["^", "+"], ["^", "-"]):
        side = cursor.tokens[end - 1]
        del cursor.tokens[end - 2 : end]
    elif cursor.tokens[end - 2 : end + 1] in (["{", "+", "}"], ["{", "-", "}"]):
        side = cursor.tokens[end - 1]
        del cursor.tokens[end - 3 : end + 1]
    point = expression.parse_sum(cursor)
    cursor.expect("}")
    return Node("call", (point,), side) if side else point


def _integral(cursor: Cursor) -> Node:
    lower, upper = _limits(cursor)
    at, width, name = _differential(cursor)
    if at < 0:
        return _bind("int", name, expression.parse_sum(cursor), lower, upper)
    depth = 0
    for token in cursor.tokens[cursor.position : at]:
        depth += (token in ("{", "(")) - (token in ("}", ")"))
    if depth:
        is_product = cursor.tokens[at - 1] == "*"
        filler = ["1"] if cursor.tokens[at - 1] == "{" else []
        cursor.tokens[at - is_product : at + width] = filler
        return _bind("int", name, expression.parse_term(cursor), lower, upper)
    inner = Cursor(cursor.tokens[cursor.position : at])
    inner.depth = cursor.depth
    body = expression.parse_sum(inner) if inner.tokens else ONE
    if not inner.is_done:
        raise UnreadableError("an integrand that does not end")
    cursor.position = at + width
    return _bind("int", name, body, lower, upper)


def _differential(cursor: Cursor) -> tuple[int, int, str]:
    for at in range(cursor.position, len(cursor.tokens)):
        token = cursor.tokens[at]
        if len(token) == 2 and token[0] == "d" and token[1].isalpha():
            return at, 1, token[1]
        following = cursor.tokens[at + 1] if at + 1 < len(cursor.tokens) else ""
        if token == "d" and (following.isalpha() or following[:1] == "\\"):
            return at, 2, following.lstrip("\\")
    return -1, 0, "x"


def _variable(node: Node) -> str:
    if node.op == "const" and node.value in ("i", "e"):
        return str(node.value)
    if node.op != "sym":
        raise UnreadableError("a bound variable must be a letter")
    return str(node.value)


def _bind(op: str, name: str, body: Node, lower: Node, upper: Node) -> Node:
    bound = symbol(f"#{_depth(body)}")
    body = substitute(body, name, bound)
    if name in ("i", "e"):
        body = _replace_constant(body, name, bound)
    return Node(op, (body, lower, upper), str(bound.value))


def _replace_constant(node: Node, name: str, by: Node) -> Node:
    if node.op == "const" and node.value == name:
        return by
    return Node(node.op, tuple(_replace_constant(part, name, by) for part in node.args), node.value)


def _depth(node: Node) -> int:
    inner = max((_depth(part) for part in node.args), default=0)
    return inner + (node.op in ("sum", "prod", "int", "lim"))


def _closing(tokens: list[str], start: int) -> int:
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "{") - (tokens[at] == "}")
        if depth == 0:
            return at
    raise UnreadableError("an open brace")
