r"""Parses sums, products and powers: precedence climbing over tokens, without evaluating anything.

A number before a fraction is a mixed number (`2\frac13` is 7/3); a letter before a group is a
product unless it is `f`, `g` or `h` or stands left of an equals sign; `1/2x` is (1/2)x, as in
Python; a colon divides and is remembered as a ratio.
"""

from fractions import Fraction

from reason_env.verify import atoms, trailing
from reason_env.verify.cursor import Cursor
from reason_env.verify.exact import rational
from reason_env.verify.nodes import Node, add, multiply, negative, number, symbols
from reason_env.verify.normalizing import UnreadableError

_ENDS_TEXT = r"""
    , ; and or ) ] } \} \rfloor \rceil \rangle = < > <= >= \ne \in \approx \equiv \to \cup \cap
    \setminus + - \pm \mp * / : & \\ \end ^ _ ! \% % ' . ? \subset \bmod \pmod \forall \notin
    \bmod \pmod
"""
ENDS = frozenset(_ENDS_TEXT.split())
"""Tokens that end a product without a sign."""


def parse_sum(cursor: Cursor) -> Node:
    """Returns a sum of terms; a sign before the first one belongs to that term."""
    cursor.enter()
    terms = [_signed_term(cursor)]
    while cursor.peek() in ("+", "-", "\\pm", "\\mp"):
        terms.append(_signed_term(cursor))
    cursor.leave()
    return add(*terms)


def starts_factor(cursor: Cursor) -> bool:
    """Returns whether the next token begins a factor that is multiplied without a sign."""
    token = cursor.peek()
    if not token or token in ENDS or token.startswith('"'):
        return False
    if token == "|":
        return atoms.opens_bar(cursor)
    return True


def _signed_term(cursor: Cursor) -> Node:
    sign, marks = 1, ""
    while cursor.peek() in ("+", "-", "\\pm", "\\mp"):
        token = cursor.take()
        sign = -sign if token == "-" else sign
        marks = token if token in ("\\pm", "\\mp") else marks
    term = parse_term(cursor)
    if marks:
        return Node("pm" if marks == "\\pm" else "mp", (term,))
    return negative(term) if sign < 0 else term


def parse_term(cursor: Cursor) -> Node:
    """Returns a product or quotient of powers, with the unit that follows it."""
    node = parse_power(cursor)
    while True:
        token = cursor.peek()
        if token in _OPERATORS:
            cursor.take()
            node = _operated(token, node, _signed_power(cursor))
        elif token == "\\pmod":
            cursor.take()
            node = Node("fn", (node, atoms.argument(cursor)), "mod")
        elif token == ":" and cursor.peek(1) not in ("", "="):
            cursor.take()
            node = Node("ratio", (node, _signed_power(cursor)))
        elif token and starts_factor(cursor):
            node = _juxtaposed(node, cursor)
        else:
            return trailing.with_unit(node, cursor)


_OPERATORS = frozenset(("*", "/", "\\bmod"))


def _operated(sign: str, left: Node, right: Node) -> Node:
    if sign == "*":
        return multiply(left, right)
    return Node("div", (left, right)) if sign == "/" else Node("fn", (left, right), "mod")


def _signed_power(cursor: Cursor) -> Node:
    sign = 1
    while cursor.peek() in ("+", "-"):
        sign = -sign if cursor.take() == "-" else sign
    power = parse_power(cursor)
    return negative(power) if sign < 0 else power


def _juxtaposed(node: Node, cursor: Cursor) -> Node:
    is_plain = node.op in ("num", "dec") and cursor.tokens[cursor.position - 1][-1:].isdigit()
    is_whole = is_plain and isinstance(node.value, Fraction) and node.value.denominator == 1
    starts_number = cursor.peek()[0].isdigit() or cursor.peek()[0] == "."
    if is_plain and starts_number:
        if not (is_whole and cursor.peek(1) == "/" and cursor.peek(2)[:1].isdigit()):
            raise UnreadableError("two numbers side by side")
        top, _, bottom = cursor.take(), cursor.take(), cursor.take()
        return Node("mixed", (node, Node("div", (literal(top), literal(bottom)))))
    is_fraction = cursor.peek() == "\\frac"
    right = parse_power(cursor)
    is_proper = right.op == "div" and all(part.op == "num" for part in right.args)
    return (
        Node("mixed", (node, right))
        if is_whole and is_fraction and is_proper
        else multiply(node, right)
    )


def parse_power(cursor: Cursor) -> Node:
    """Returns an atom with its postfix signs and exponents."""
    node = atoms.parse_atom(cursor)
    while True:
        token = cursor.peek()
        if token == "^":
            cursor.take()
            node = _raised(node, cursor)
        elif token == "!":
            cursor.take()
            node = Node("fact", (node,))
        elif token in ("\\%", "%"):
            cursor.take()
            if symbols(node):
                raise UnreadableError("a percentage of a letter")
            node = Node("percent", (node,))
        elif token == "_" and node.op == "num":
            cursor.take()
            node = Node("based", (node, atoms.argument(cursor)))
        elif token == "\\circ":
            cursor.take()
            node = _degrees(node, cursor)
        else:
            return node


def _raised(base: Node, cursor: Cursor) -> Node:
    if cursor.accept("\\circ"):
        return _degrees(base, cursor)
    if cursor.is_done:
        return Node("degree", (base,))
    if cursor.peek() == "{" and cursor.peek(1) == "\\circ" and cursor.peek(2) == "}":
        cursor.position += 3
        return _degrees(base, cursor)
    if cursor.peek() == "\\prime" or cursor.peek() == "'":
        cursor.take()
        return Node("call", (base,), "'")
    cursor.enter()
    exponent = _signed_power(cursor)
    cursor.leave()
    return Node("pow", (base, exponent))


def _degrees(base: Node, cursor: Cursor) -> Node:
    """Returns an angle; minutes and seconds of arc may follow."""
    value = base
    for part in (60, 3600):
        following = cursor.peek(1) if cursor.peek()[:1].isdigit() else ""
        if following == "^" and "'" in cursor.peek(2) + cursor.peek(3):
            following = "'"
        if following[:1] not in ("'", '"') or not following:
            break
        value = add(value, Node("div", (literal(cursor.take()), number(part))))
        while cursor.peek() in ("'", "^", "{", "}", '"', "\\prime"):
            cursor.take()
    exact = rational(value)
    return Node("degree", (value if value == base or exact is None else number(exact),))


def literal(token: str) -> Node:
    """Returns the leaf for a number token, with its power of ten left unevaluated."""
    mantissa, _, exponent = token.lower().partition("e")
    if len(mantissa) > 4000:
        raise UnreadableError("too many digits")
    node = Node("dec", (), mantissa) if "." in mantissa else number(int(mantissa))
    return multiply(node, Node("pow", (number(10), number(int(exponent))))) if exponent else node
