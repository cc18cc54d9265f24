r"""The grammar of answers: a recursive-descent parser from tokens to a tree. It evaluates nothing.

In order: lists and relations, sums and products, units, atoms, functions, operators that bind a
variable, matrices. Decisions:

* Commas, semicolons, "and" and "or" separate the items of a list. A pair in brackets is a tuple and
  an interval at once (`(0,1)`); the comparison decides by the other side.
* A number before a fraction is a mixed number (`2\frac13` is 7/3); a letter before a group is a
  product unless it is `f`, `g` or `h` or stands left of an equals sign; `1/2x` is (1/2)x, as in
  Python; a colon divides and is remembered as a ratio.
* Arguments follow TeX: `\frac12` takes one digit each; a function without parentheses takes the
  product after it up to the next function (`\sin 2x \cos y`). `\sin^{-1}` is the inverse; `\log`
  is the natural logarithm unless it has a base.
* A bound variable is renamed to its nesting depth, so that `\int_0^1 x dx` and `\int_0^1 t dt` are
  one tree.
"""

from collections.abc import Callable
from fractions import Fraction

from reason_env.verify.parsing.cursor import Cursor
from reason_env.verify.parsing.lexer import tokenize
from reason_env.verify.parsing.normalizing import UnknownCommandError, UnreadableError, normalized
from reason_env.verify.parsing.quantities import read_unit
from reason_env.verify.parsing.words import CHANGES, CONDITION, FUNCTIONS, GREEK
from reason_env.verify.tree import (
    EMPTY_SET,
    EULER,
    IMAGINARY,
    INFINITY,
    ONE,
    PI,
    Node,
    add,
    multiply,
    negative,
    number,
    rational,
    substitute,
    symbol,
    symbols,
)

_SEPARATORS = frozenset([",", ";", "and", "or"])
_RELATIONS_TEXT = r"""
    = < > <= >= \ne \in \approx \equiv \to \subset
"""
_RELATIONS = frozenset(_RELATIONS_TEXT.split())
_SET_SIGNS = {"\\cup": "union", "\\cap": "inter", "\\setminus": "minus"}
_ENDS_TEXT = r"""
    , ; and or ) ] } \} \rfloor \rceil \rangle = < > <= >= \ne \in \approx \equiv \to \cup \cap
    \setminus + - \pm \mp * / : & \\ \end ^ _ ! \% % ' . ? \subset \bmod \pmod \forall \notin
    \bmod \pmod
"""
ENDS = frozenset(_ENDS_TEXT.split())
"""Tokens that end a product without a sign."""
_OPERATORS = frozenset(("*", "/", "\\bmod"))
_NOT_UNITS = CHANGES - {"square", "or", "one", "about", "times"}
"""What may not follow a number: "7 halves" is not 7; "7 times" and "7 square feet" are."""
_ALTERNATIVES = frozenset(("else", "otherwise", "not", "unless"))
_CONDITION_RELATIONS_TEXT = r"""
    = < > <= >= \ne \in \to \equiv
"""
_CONDITION_RELATIONS = frozenset(_CONDITION_RELATIONS_TEXT.split())
_CLOSING = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceil")}
_LETTERS = {f"\\{name}": symbol(name) for name in GREEK}
_CONSTANTS = {"\\pi": PI, "\\infty": INFINITY, "e": EULER, "i": IMAGINARY, "\\emptyset": EMPTY_SET}
_CALLABLE_TEXT = """
    f g h F G H
"""
_INVERSE = ["^", "{", "-", "1", "}", "("]
_CALLABLE = frozenset(_CALLABLE_TEXT.split())
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
BOUND = frozenset(("\\sum", "\\prod", "\\int", "\\lim"))
_NONE = EMPTY_SET
MAX_ENTRIES = 400
_NAMES_TEXT = """
    matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array
"""
_NAMES = frozenset(_NAMES_TEXT.split())


def parse_answer(text: str) -> Node:
    r"""Returns the tree of an answer, or raises `UnreadableError`.

    >>> parse_answer("x = 3").op, parse_answer("(0, 1]").op, parse_answer("1, 2").op
    ('rel', 'interval', 'list')
    """
    cursor = Cursor(tokenize(normalized(text)))
    while cursor.tokens and cursor.tokens[-1] in (".", ",", ";", "\\", "\\\\", ":"):
        cursor.tokens.pop()
    if cursor.tokens[:1] == ["="]:
        del cursor.tokens[0]
    if not cursor.tokens:
        raise UnreadableError("empty")
    signs: list[str] = []
    items = parse_items(cursor, "", signs=signs)
    if not cursor.is_done:
        raise UnreadableError(f"unexpected {cursor.peek()[:20]!r}")
    if ";" in signs and "," in signs:
        return _grouped(items, signs)
    if len(items) == 1:
        return items[0]
    return Node(
        "list", tuple(items), "and" if set(signs) == {"and"} else "or" if "or" in signs else ","
    )


def parse_items(cursor: Cursor, *closing: str, signs: list[str] | None = None) -> list[Node]:
    """Returns the items up to a closing token, which is left in place; separators go to `signs`."""
    cursor.enter()
    bars, cursor.bars = cursor.bars, cursor.bars if "|" in closing else 0
    items = [parse_relation(cursor)]
    while cursor.peek() in _SEPARATORS:
        sign = cursor.take()
        while cursor.peek() in _SEPARATORS:
            sign = cursor.take()
        if cursor.is_done or cursor.peek() in closing:
            break
        if signs is not None:
            signs.append(sign)
        items.append(parse_relation(cursor))
    cursor.bars = bars
    cursor.leave()
    return items


def _grouped(items: list[Node], signs: list[str]) -> Node:
    """Returns `p=5,q=2;p=7,q=2` as a list of tuples."""
    groups = [[items[0]]]
    for sign, item in zip(signs, items[1:], strict=True):
        if sign == ";":
            groups.append([])
        groups[-1].append(item)
    parts = [group[0] if len(group) == 1 else Node("tuple", tuple(group), "()") for group in groups]
    return Node("list", tuple(parts), ",")


def parse_relation(cursor: Cursor) -> Node:
    """Returns one side, or a chain of sides with the signs between them."""
    while cursor.peek() in (
        '"only',
        '"exactly',
        '"the',
        '"is',
        '"equals',
        '"answer',
        "\\forall",
        '"either',
        '"both',
    ):
        cursor.take()
    sides, signs = [_parse_sets(cursor)], list[str]()
    while cursor.peek() in _RELATIONS or (cursor.peek() == ":" and cursor.peek(1) == "="):
        sign = cursor.take()
        if sign == ":":
            sign = cursor.take()
        if sign in ("<", ">") and cursor.accept("="):
            sign += "="
        signs.append(sign)
        sides.append(_parse_sets(cursor))
    return Node("rel", tuple(sides), ",".join(signs)) if signs else sides[0]


def _parse_sets(cursor: Cursor) -> Node:
    node = _parse_side(cursor)
    while cursor.peek() in _SET_SIGNS:
        name = _SET_SIGNS[cursor.take()]
        node = Node(name, (node, _parse_side(cursor)))
    return node


def _parse_side(cursor: Cursor) -> Node:
    if not cursor.peek().startswith('"'):
        return parse_sum(cursor)
    words: list[str] = []
    while cursor.peek().startswith('"'):
        words.append(cursor.take()[1:])
    if cursor.peek() == ":" and cursor.peek(1):
        cursor.tokens[cursor.position] = "="
    return Node("text", (), " ".join(words))


def parse_group(cursor: Cursor) -> Node:
    """Returns what stands in parentheses or brackets: one expression, a tuple or an interval."""
    opening = cursor.take()
    items = parse_items(cursor, ")", "]")
    closing = cursor.take()
    if closing not in (")", "]"):
        raise UnreadableError("a group without an end")
    if len(items) == 1:
        if opening + closing not in ("()", "[]"):
            raise UnreadableError("a bracket of another kind")
        return items[0]
    brackets = opening + closing
    if len(items) == 2 and brackets != "()":
        return Node("interval", tuple(items), brackets)
    if brackets not in ("()", "[]"):
        raise UnreadableError("a bracket of another kind")
    return Node("tuple", tuple(items), "()")


def parse_braces(cursor: Cursor) -> Node:
    """Returns a TeX group; one that holds a list is a set."""
    cursor.take()
    if cursor.accept("}"):
        return EMPTY_SET if cursor.is_done else parse_power(cursor)
    items = parse_items(cursor, "}")
    cursor.expect("}")
    return items[0] if len(items) == 1 else Node("set", tuple(items))


def parse_set(cursor: Cursor) -> Node:
    r"""Returns `\{1, 2\}`, `\{x | x < 3\}` as its condition, or the grouped expression
    `\{x+y\}x`.
    """
    cursor.take()
    if cursor.accept("\\}"):
        return EMPTY_SET
    bar = _condition_bar(cursor)
    if bar is not None:
        cursor.position = bar + 1
        items = parse_items(cursor, "\\}")
        cursor.expect("\\}")
        return Node("such", tuple(items))
    cursor.bars += 1
    items = parse_items(cursor, "\\}", "|")
    cursor.bars -= 1
    conditions = parse_items(cursor, "\\}") if cursor.accept("|") else []
    cursor.expect("\\}")
    if any(part.op != "rel" or part.value != "\\in" for part in conditions):
        return Node("call", (*items, *conditions), "such that")
    return Node("set", tuple(items))


def _condition_bar(cursor: Cursor) -> int | None:
    """Returns where the bar or colon of a set with a condition stands, or None."""
    at = cursor.position + 1
    if cursor.peek(1) == "\\in":
        at += 2
        if cursor.peek(2) == "\\mathbb":
            at += 3
    following = cursor.tokens[at] if at < len(cursor.tokens) else ""
    return at if following in ("|", ":") else None


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
        return opens_bar(cursor)
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
            node = Node("fn", (node, argument(cursor)), "mod")
        elif token == ":" and cursor.peek(1) not in ("", "="):
            cursor.take()
            node = Node("ratio", (node, _signed_power(cursor)))
        elif token and starts_factor(cursor):
            node = _juxtaposed(node, cursor)
        else:
            return with_unit(node, cursor)


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
    node = parse_atom(cursor)
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
            node = Node("based", (node, argument(cursor)))
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


def with_unit(node: Node, cursor: Cursor) -> Node:
    """Returns the node with the words and their power after it; a condition after it is skipped."""
    words: list[str] = []
    while cursor.peek().startswith('"'):
        word = cursor.take()[1:]
        if word.split(" ", 1)[0].lower() in CONDITION:
            _skip_condition(cursor, word)
            break
        if _NOT_UNITS & set(word.lower().split()):
            raise UnreadableError("words that change the number before them")
        if any(c.isdigit() for c in word.rstrip("23")):
            raise UnreadableError("a number in the words after a number")
        words.append(word)
        if cursor.accept("^"):
            words.append("^" + _unit_power(cursor))
        elif cursor.accept("/"):
            words.append("/")
    if not words:
        return node
    quantity = Node("quantity", (node,), " ".join(words))
    return _compound(quantity, cursor) if cursor.peek()[:1].isdigit() else quantity


def _compound(quantity: Node, cursor: Cursor) -> Node:
    """Returns `2 hours 30 minutes` as one quantity in its first unit."""
    rest = parse_term(cursor)
    first, second = read_unit(str(quantity.value)), read_unit(str(rest.value))
    values = rational(quantity.args[0]), rational(rest.args[0] if rest.op == "quantity" else rest)
    is_one = rest.op == "quantity" and first.dimension and first.dimension == second.dimension
    if not is_one or values[0] is None or values[1] is None:
        raise UnreadableError("two quantities side by side")
    total = values[0] + values[1] * second.factor / first.factor
    return Node("quantity", (number(total),), quantity.value)


def _unit_power(cursor: Cursor) -> str:
    if cursor.accept("{"):
        power = cursor.take()
        cursor.expect("}")
        return power
    return cursor.take()


def _skip_condition(cursor: Cursor, word: str) -> None:
    """Skips a condition; one that holds a number without a relation, or an alternative, is none."""
    start, depth = cursor.position, 0
    while not cursor.is_done:
        token = cursor.peek()
        depth += (token in ("{", "(", "[", "\\{")) - (token in ("}", ")", "]", "\\}"))
        if depth < 0 or (depth == 0 and token in (",", ";", "and", "or")):
            break
        cursor.take()
    skipped = cursor.tokens[start : cursor.position]
    words = {w for t in (f'"{word}', *skipped) if t.startswith('"') for w in t[1:].lower().split()}
    has_number = any(c.isdigit() for t in (word, *skipped) for c in t)
    if (
        words & _ALTERNATIVES
        or (word == "over" and words & CHANGES - {"over"})
        or (has_number and not _CONDITION_RELATIONS & set(skipped))
    ):
        raise UnreadableError("an alternative after the answer")


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
        return literal(cursor.take())
    if token in FUNCTIONS:
        return parse_function(cursor)
    if token in BOUND:
        return parse_bound(cursor)
    if token in _ATOMS:
        return _ATOMS[token](cursor)
    if token[:1] == "\\" and token[1:].isalpha() and token not in ENDS:
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
            inner = parse_items(cursor, ")")
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
    inner = parse_sum(cursor)
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
    derivative = parse_derivative(cursor)
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
    inner = parse_sum(cursor)
    cursor.expect(closing)
    return Node("fn", (inner,), name)


def _bar(cursor: Cursor) -> Node:
    cursor.take()
    cursor.bars += 1
    inner = parse_sum(cursor)
    cursor.bars -= 1
    if cursor.accept("\\rangle"):
        return Node("call", (inner,), "ket")
    cursor.expect("|")
    return Node("fn", (inner,), "abs")


def _angle(cursor: Cursor) -> Node:
    cursor.take()
    cursor.bars += 1
    items = parse_items(cursor, "\\rangle", "|")
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


def parse_function(cursor: Cursor) -> Node:
    """Returns the function whose name comes next, applied to its argument."""
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
        inner = parse_items(cursor, closing)
        cursor.expect(closing)
        return tuple(inner)
    cursor.enter()
    factors = [parse_power(cursor)]
    while starts_factor(cursor) and cursor.peek() not in FUNCTIONS:
        if factors[-1].op in ("fn", "pow") and cursor.peek() == "(":
            break
        factors.append(parse_power(cursor))
    cursor.leave()
    return (multiply(*factors),)


def _wrapped(cursor: Cursor) -> tuple[Node, ...]:
    inner = parse_items(cursor, "}")
    cursor.expect("}")
    return tuple(inner[0].args) if len(inner) == 1 and inner[0].op == "tuple" else tuple(inner)


def _root(cursor: Cursor) -> Node:
    degree = number(2)
    if cursor.accept("["):
        degree = parse_sum(cursor)
        cursor.expect("]")
    token = cursor.peek()
    inner = literal(cursor.take()) if token[:1].isdigit() else argument(cursor)
    return Node("root", (inner, degree))


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
    body = parse_term(cursor)
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
        body = parse_term(cursor)
    cursor.expect("}")
    cursor.position += 4
    if body is _NONE:
        body = parse_term(cursor)
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
    relation = parse_relation(cursor)
    cursor.expect("}")
    return relation


def _number(cursor: Cursor) -> Node:
    if cursor.peek()[:1].isdigit():
        return literal(cursor.take())
    return argument(cursor)


def _limit(cursor: Cursor) -> Node:
    cursor.expect("_")
    cursor.expect("{")
    name = _variable(parse_atom(cursor))
    cursor.expect("\\to")
    point = _limit_point(cursor)
    body = parse_term(cursor)
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
    point = parse_sum(cursor)
    cursor.expect("}")
    return Node("call", (point,), side) if side else point


def _integral(cursor: Cursor) -> Node:
    lower, upper = _limits(cursor)
    at, width, name = _differential(cursor)
    if at < 0:
        return _bind("int", name, parse_sum(cursor), lower, upper)
    depth = 0
    for token in cursor.tokens[cursor.position : at]:
        depth += (token in ("{", "(")) - (token in ("}", ")"))
    if depth:
        is_product = cursor.tokens[at - 1] == "*"
        filler = ["1"] if cursor.tokens[at - 1] == "{" else []
        cursor.tokens[at - is_product : at + width] = filler
        return _bind("int", name, parse_term(cursor), lower, upper)
    inner = Cursor(cursor.tokens[cursor.position : at])
    inner.depth = cursor.depth
    body = parse_sum(inner) if inner.tokens else ONE
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


def parse_environment(cursor: Cursor) -> Node:
    r"""Returns the matrix between `\begin` and `\end`; other environments are unreadable."""
    cursor.take()
    name = _name(cursor)
    if name not in _NAMES:
        raise UnknownCommandError(name[:20])
    if name == "array" and cursor.peek() == "{":
        while cursor.take() != "}":
            if cursor.is_done:
                raise UnreadableError("array columns")
    rows: list[list[Node]] = [[]]
    while cursor.peek() != "\\end":
        if cursor.accept("\\\\"):
            rows.append([])
        elif not cursor.accept("&"):
            rows[-1].append(parse_relation(cursor))
        if cursor.is_done:
            raise UnreadableError("an open matrix")
    cursor.take()
    if _name(cursor) != name:
        raise UnreadableError("another environment ends")
    matrix = _matrix([row for row in rows if row])
    return Node("fn", (matrix,), "det") if name == "vmatrix" else matrix


def _name(cursor: Cursor) -> str:
    cursor.expect("{")
    name = ""
    while cursor.peek() != "}":
        name += cursor.take().lstrip('"')
        if cursor.is_done:
            raise UnreadableError("an open name")
    cursor.take()
    return name


def _matrix(rows: list[list[Node]]) -> Node:
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise UnreadableError("rows of unequal length")
    entries = tuple(entry for row in rows for entry in row)
    if len(entries) > MAX_ENTRIES:
        raise UnreadableError("too many entries")
    return Node("matrix", entries, len(rows[0]))


# The modules import each other, so their functions are looked up when called.
_ATOMS: dict[str, Callable[[Cursor], Node]] = {
    "(": lambda cursor: parse_group(cursor),  # noqa: PLW0108
    "[": lambda cursor: parse_group(cursor),  # noqa: PLW0108
    "{": lambda cursor: parse_braces(cursor),  # noqa: PLW0108
    "\\{": lambda cursor: parse_set(cursor),  # noqa: PLW0108
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
    "\\begin": lambda cursor: parse_environment(cursor),  # noqa: PLW0108
    "\\ldots": lambda cursor: symbol(cursor.take()),
}
