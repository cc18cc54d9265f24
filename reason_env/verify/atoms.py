r"""Parses what a product is made of: numbers, letters, groups, fractions, roots, functions, bars.

Arguments follow TeX: `\frac12` takes one digit each; a function without parentheses takes the
product after it up to the next function (`\sin 2x \cos y`).
"""

from collections.abc import Callable

from reason_env.verify import calculus, expression, functions, matrices, structure
from reason_env.verify.cursor import Cursor
from reason_env.verify.nodes import (
    EMPTY_SET,
    EULER,
    IMAGINARY,
    INFINITY,
    PI,
    Node,
    symbol,
)
from reason_env.verify.normalizing import UnknownCommandError, UnreadableError
from reason_env.verify.words import FUNCTIONS, GREEK

_CLOSING = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceil")}
_LETTERS = {f"\\{name}": symbol(name) for name in GREEK}
_CONSTANTS = {"\\pi": PI, "\\infty": INFINITY, "e": EULER, "i": IMAGINARY, "\\emptyset": EMPTY_SET}
_CALLABLE_TEXT = """
    f g h F G H
"""
_INVERSE = ["^", "{", "-", "1", "}", "("]
_CALLABLE = frozenset(_CALLABLE_TEXT.split())


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
        return functions.parse_function(cursor)
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
        cursor.tokens[cursor.position : cursor.position + 1] = [
            token[0],
            token[1:].lstrip(".") or "0",
        ]
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
    if name in _CALLABLE and cursor.tokens[cursor.position : cursor.position + 6] == _INVERSE:
        cursor.position += 5
        name += "^-1"
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
    name, inner = cursor.take(), argument(cursor)
    if inner.op == "mul" and all(
        part.op == "sym" and str(part.value).isupper() for part in inner.args
    ):
        # A segment is named by its end points, with or without the bar.
        return inner
    return Node("call", (inner,), name[1:])


def _field(cursor: Cursor) -> Node:
    cursor.take()
    cursor.expect("{")
    name = cursor.take()
    cursor.expect("}")
    if name != "R":
        return symbol(f"mathbb{name}")
    return Node("interval", (Node("neg", (INFINITY,)), INFINITY), "()")


# The modules import each other, so their functions are looked up when called.
_ATOMS: dict[str, Callable[[Cursor], Node]] = {
    "(": lambda cursor: structure.parse_group(cursor),  # noqa: PLW0108
    "[": lambda cursor: structure.parse_group(cursor),  # noqa: PLW0108
    "{": lambda cursor: structure.parse_braces(cursor),  # noqa: PLW0108
    "\\{": lambda cursor: structure.parse_set(cursor),  # noqa: PLW0108
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
    "\\begin": lambda cursor: matrices.parse_environment(cursor),  # noqa: PLW0108
    "\\ldots": lambda cursor: symbol(cursor.take()),
}
