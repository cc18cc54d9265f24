r"""Parses what a product is made of: numbers, letters, groups, fractions, roots, functions, bars.

Arguments follow TeX: `\frac12` takes one digit each; a function without parentheses takes the product
after it up to the next function (`\sin 2x \cos y`).
"""

from collections.abc import Callable

from reason_env.verify import calculus, expression, matrices, structure
from reason_env.verify.cursor import Cursor
from reason_env.verify.lexer import UnknownCommandError, UnreadableError
from reason_env.verify.nodes import (
    EMPTY_SET,
    INFINITY,
    PI,
    Node,
    E,
    I,
    multiply,
    number,
    symbol,
)
from reason_env.verify.words import FUNCTIONS, GREEK

_CLOSING = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceil")}
_LETTERS = {f"\\{name}": symbol(name) for name in GREEK}
_CONSTANTS = {"\\pi": PI, "\\infty": INFINITY, "e": E, "i": I, "\\emptyset": EMPTY_SET}
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec",
             "csc": "arccsc", "asin": "sin", "acos": "cos", "atan": "tan"}  # fmt: skip
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "log": "ln"}
_SEVERAL = frozenset("min max gcd lcm".split())
_CALLABLE = frozenset("f g h F G H".split())


def parse_atom(cursor: Cursor) -> Node:
    """Returns the next atom, or raises `UnreadableError`."""
    token = cursor.peek()
    if token in _CONSTANTS and not (token in "ei" and cursor.peek(1) == "_"):
        cursor.take()
        return _CONSTANTS[token]
    if token in _LETTERS or (len(token) == 1 and token.isalpha()):
        cursor.take()
        return _letter(_LETTERS[token] if token in _LETTERS else symbol(token), cursor)
    if token[:1].isdigit() or (token[:1] == "." and len(token) > 1):
        return expression.literal(cursor.take())
    if token in FUNCTIONS:
        return _function(cursor)
    if token in calculus.BOUND:
        return calculus.parse_bound(cursor)
    if token in _ATOMS:
        return _ATOMS[token](cursor)
    if token[:1] == "\\" and token[1:].isalpha() and token not in expression.ENDS:
        raise UnknownCommandError(token[:20])
    raise UnreadableError(f"unexpected {token[:20]!r}")


def argument(cursor: Cursor) -> Node:
    """Returns a TeX argument: a braced group, one digit, or one atom."""
    token = cursor.peek()
    if token[:1].isdigit() and len(token) > 1:
        cursor.tokens[cursor.position : cursor.position + 1] = [token[0], token[1:].lstrip(".") or "0"]
    if token == "{" and cursor.peek(1) == "}":
        raise UnreadableError("empty argument")
    return parse_atom(cursor)


def opens_bar(cursor: Cursor) -> bool:
    """Returns whether the next bar opens an absolute value rather than closing one."""
    if cursor.bars == 0:
        return True
    ahead = cursor.peek(1)
    left = cursor.tokens[cursor.position :].count("|")
    return left >= cursor.bars + 2 and (ahead.isalnum() or ahead[:1] == "\\")


def _letter(node: Node, cursor: Cursor) -> Node:
    """Returns a variable with its index and primes, or the call of a function."""
    name, index = str(node.value), None
    primes = 0
    while cursor.peek() in ("'", "_"):
        if cursor.take() == "'":
            primes += 1
            continue
        index = _index(cursor)
        if isinstance(index, str):
            name, index = f"{name}_{index}", None
    name += "'" * primes
    leaf = symbol(name) if index is None else Node("sub", (index,), name)
    is_braced = cursor.peek() == "{" and cursor.peek(1) == "("
    if is_braced or cursor.peek() == "(":
        is_call = name[0] in _CALLABLE or primes or _has_comma(cursor, is_braced)
        if is_call or (not is_braced and _is_definition(cursor)):
            cursor.position += 2 if is_braced else 1
            inner = structure.parse_items(cursor, ")")
            cursor.expect(")")
            if is_braced:
                cursor.expect("}")
            return Node("call", tuple(inner), name)
    return leaf


def _has_comma(cursor: Cursor, is_braced: bool) -> bool:
    """Returns whether the group that follows a letter holds several items, as arguments do."""
    depth = 0
    for token in cursor.tokens[cursor.position + is_braced : cursor.position + 200]:
        depth += (token in ("(", "[", "{", "\\{")) - (token in (")", "]", "}", "\\}"))
        if depth == 0:
            return False
        if token == "," and depth == 1:
            return True
    return False


def _index(cursor: Cursor) -> str | Node:
    if not cursor.accept("{"):
        token = cursor.take()
        if not (token.isalnum() or token[:1] == "\\") or token.startswith('"'):
            raise UnreadableError("no index")
        return token.lstrip("\\")
    if cursor.peek(1) == "}":
        token = cursor.take()
        cursor.take()
        return token.lstrip('\\"')
    letters = cursor.tokens[cursor.position : cursor.position + 12]
    letters = letters[: letters.index("}")] if "}" in letters else []
    if letters and all(letter.isalpha() for letter in letters):
        cursor.position += len(letters) + 1
        return "".join(letters)
    inner = expression.parse_sum(cursor)
    cursor.expect("}")
    return inner


def _is_definition(cursor: Cursor) -> bool:
    """Returns whether `(...)` of letters and numbers comes before an equals sign."""
    for ahead in range(1, 12):
        token = cursor.peek(ahead)
        if token == ")":
            return ahead > 1 and cursor.peek(ahead + 1) == "="
        if not (token.isalnum() or token == ","):
            return False
    return False


def _function(cursor: Cursor) -> Node:
    name, base, power = cursor.take(), None, None
    while cursor.peek() in ("_", "^"):
        if cursor.take() == "_":
            base = argument(cursor)
        else:
            power = argument(cursor) if cursor.peek() != "-" else _minus(cursor)
    if name == "sqrt":
        return _root(cursor)
    inner = _function_argument(cursor)
    if power == number(-1) and name in _INVERSES:
        name, power = _INVERSES[name], None
    node = _applied(_ALIASES.get(name, name), inner, base)
    return node if power is None else Node("pow", (node, power))


def _minus(cursor: Cursor) -> Node:
    cursor.take()
    inner = argument(cursor)
    return number(-inner.value) if inner.op == "num" else Node("neg", (inner,))  # pyright: ignore


def _applied(name: str, inner: tuple[Node, ...], base: Node | None) -> Node:
    if len(inner) != 1 and name not in _SEVERAL:
        raise UnreadableError("a function of one argument")
    if name == "cbrt":
        return Node("root", (inner[0], number(3)))
    if name == "exp":
        return Node("pow", (E, inner[0]))
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
    inner = expression.literal(cursor.take()) if token[:1].isdigit() else argument(cursor)
    return Node("root", (inner, degree))


def _fraction(cursor: Cursor) -> Node:
    cursor.take()
    derivative = calculus.parse_derivative(cursor)
    if derivative is not None:
        return derivative
    top = argument(cursor)
    return Node("div", (top, argument(cursor)))


def _binomial(cursor: Cursor) -> Node:
    cursor.take()
    top = argument(cursor)
    return Node("fn", (top, argument(cursor)), "binom")


def _rounded(cursor: Cursor) -> Node:
    closing, name = _CLOSING[cursor.take()]
    inner = expression.parse_sum(cursor)
    cursor.expect(closing)
    return Node("fn", (inner,), name)


def _bar(cursor: Cursor) -> Node:
    cursor.take()
    cursor.bars += 1
    inner = expression.parse_sum(cursor)
    cursor.bars -= 1
    if cursor.accept("\\rangle"):
        return Node("call", (inner,), "ket")
    cursor.expect("|")
    return Node("fn", (inner,), "abs")


def _angle(cursor: Cursor) -> Node:
    cursor.take()
    cursor.bars += 1
    items = structure.parse_items(cursor, "\\rangle", "|")
    cursor.bars -= 1
    if cursor.accept("|"):
        return Node("call", tuple(items), "bra")
    cursor.expect("\\rangle")
    return Node("tuple", tuple(items), "()")


def _accent(cursor: Cursor) -> Node:
    name = cursor.take()
    return Node("call", (argument(cursor),), name[1:])


def _field(cursor: Cursor) -> Node:
    cursor.take()
    cursor.expect("{")
    name = cursor.take()
    cursor.expect("}")
    if name != "R":
        return symbol(f"mathbb{name}")
    return Node("interval", (Node("neg", (INFINITY,)), INFINITY), "()")


def _text(cursor: Cursor) -> Node:
    return Node("text", (), cursor.take()[1:])


_ATOMS: dict[str, Callable[[Cursor], Node]] = {
    "(": lambda cursor: structure.parse_group(cursor),
    "[": lambda cursor: structure.parse_group(cursor),
    "{": lambda cursor: structure.parse_braces(cursor),
    "\\{": lambda cursor: structure.parse_set(cursor),
    "\\frac": _fraction,
    "\\binom": _binomial,
    "\\lfloor": _rounded,
    "\\lceil": _rounded,
    "|": _bar,
    "\\langle": _angle,
    "\\overline": _accent,
    "\\bar": _accent,
    "\\hat": _accent,
    "\\mathbb": _field,
    "\\begin": lambda cursor: matrices.parse_environment(cursor),
    "\\ldots": lambda cursor: symbol(cursor.take()),
}
