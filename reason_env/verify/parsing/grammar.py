r"""Parses the tokens of an answer into a tree by recursive descent; evaluates nothing.

From the outside in: lists, relations, set operations, sums, products, units, powers, atoms; then
groups, functions, operators that bind a variable, and matrices. Decisions:

* Commas, semicolons, "and" and "or" separate the items of a list. A pair in brackets can be a point
  or an interval (`(0,1)`); the comparison decides by the other side.
* A number before a fraction is a mixed number (`2\frac13` is 7/3). A letter before a group is a
  product, unless it is `f`, `g` or `h`, the group is one number, or an equals sign follows. `1/2x`
  is (1/2)x, as in Python. A colon divides; the tree keeps it as a ratio.
* Arguments follow TeX: `\frac12` takes one digit each. A function without parentheses takes the
  product after it, up to the next function (`\sin 2x \cos y`). `\sin^{-1}` is the inverse; `\log`
  is the natural logarithm unless it has a base.
* A bound variable is renamed to its nesting depth, so that `\int_0^1 x dx` and `\int_0^1 t dt`
  give the same tree.
* Words before a value are fillers ("the answer is"), its name ("the area is"), or a tag that
  belongs to the answer ("Player 2").
"""

import re
from collections.abc import Callable
from fractions import Fraction

from reason_env.verify.parsing.cursor import Cursor
from reason_env.verify.parsing.lexer import tokenize
from reason_env.verify.parsing.normalizing import normalized
from reason_env.verify.parsing.quantities import read_unit
from reason_env.verify.parsing.unreadable import UnknownCommandError, UnreadableError
from reason_env.verify.parsing.words import (
    CHANGES,
    CONDITION,
    COPULAS,
    DENIALS,
    FILLERS,
    FUNCTIONS,
    GREEK,
)
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

MAX_MATRIX_ENTRIES = 400
_MAX_NUMBER_DIGITS = 4000


def parse_answer(text: str) -> Node:
    r"""Parse the text of an answer into a tree.

    Raises:
        UnreadableError: The text is not in the grammar.

    >>> parse_answer("x = 3").op, parse_answer("(0, 1]").op, parse_answer("1, 2").op
    ('rel', 'interval', 'list')
    """
    cursor = Cursor(tokenize(normalized(text)))
    while cursor.tokens and cursor.tokens[-1] in (".", ",", ";", "\\", "\\\\", ":"):
        cursor.tokens.pop()
    if cursor.tokens[:1] in (["="], ["\\approx"]):
        del cursor.tokens[0]
    if not cursor.tokens:
        raise UnreadableError("empty")
    signs: list[str] = []
    items = _parse_items(cursor, "", signs=signs)
    if not cursor.is_done:
        raise UnreadableError(f"unexpected {cursor.peek()[:20]!r}")
    if ";" in signs and "," in signs:
        return _list_of_tuples(items, signs)
    if len(items) == 1:
        return items[0]
    if signs == ["and"] and (whole := _compound(*items)) is not None:
        return whole
    return Node(
        "list", tuple(items), "and" if set(signs) == {"and"} else "or" if "or" in signs else ","
    )


_SEPARATORS = frozenset((",", ";", "and", "or"))


def _parse_items(cursor: Cursor, *closing: str, signs: list[str] | None = None) -> list[Node]:
    """Parse a list up to a closing token, which is not consumed; append separators to `signs`.

    A condition ("any integer n", "for x > 0") is not an item.
    """
    cursor.enter()
    bars, cursor.bars = cursor.bars, cursor.bars if "|" in closing else 0
    items = [_parse_relation(cursor)]
    while cursor.peek() in _SEPARATORS:
        sign = cursor.take()
        while cursor.peek() in _SEPARATORS:
            sign = cursor.take()
        if cursor.is_done or cursor.peek() in closing:
            break
        if _starts_condition(cursor):
            _skip_condition(cursor, cursor.take()[1:])
            continue
        if signs is not None:
            signs.append(sign)
        items.append(_parse_relation(cursor))
    cursor.bars = bars
    cursor.leave()
    return items


def _list_of_tuples(items: list[Node], signs: list[str]) -> Node:
    """Group the items of `p=5,q=2;p=7,q=2` into a list of tuples."""
    groups = [[items[0]]]
    for sign, item in zip(signs, items[1:], strict=True):
        if sign == ";":
            groups.append([])
        groups[-1].append(item)
    parts = [group[0] if len(group) == 1 else Node("tuple", tuple(group), "()") for group in groups]
    return Node("list", tuple(parts), ",")


_RELATIONS = frozenset(r"= < > <= >= \ne \in \approx \equiv \to \subset".split())


def _starts_condition(cursor: Cursor) -> bool:
    token = cursor.peek()
    return token.startswith('"') and token[1:].split(" ", 1)[0].lower() in CONDITION


def _parse_relation(cursor: Cursor) -> Node:
    """Parse one side, or a chain of sides with the relation signs between them.

    Words before it are the subject of a sentence, a tag, or fillers (`_with_subject`).
    """
    subject = _take_subject(cursor) if cursor.peek()[:1] == '"' else []
    while cursor.accept("\\forall"):
        pass
    sides, signs = [_parse_set_operations(cursor)], list[str]()
    if cursor.peek() in _IS and cursor.peek(1) and sides[0].op == "sym":
        return _parse_predicate(subject, sides[0], cursor)
    while cursor.peek() in _RELATIONS or (cursor.peek() == ":" and cursor.peek(1) == "="):
        sign = cursor.take()
        if sign == ":":
            sign = cursor.take()
        if sign in ("<", ">") and cursor.accept("="):
            sign += "="
        signs.append(sign)
        sides.append(_parse_set_operations(cursor))
    relation = Node("rel", tuple(sides), ",".join(signs)) if signs else sides[0]
    return _with_subject(subject, relation) if subject else relation


def _parse_predicate(subject: list[str], letter: Node, cursor: Cursor) -> Node:
    """Parse the rest of "the value of x is 12", which names the value by its letter or words."""
    cursor.take()
    value = _parse_relation(cursor)
    if value.op == "rel":
        return value
    if _KINDS.issuperset(word.lower() for word in subject):
        return Node("rel", (letter, value), "=")
    return _with_subject([*subject, str(letter.value), "is"], value)


_IS = frozenset(('"is', '"equals', '"is equal to'))
_ENDS = frozenset(r""", ; and or ) ] } \} | \rangle \end & \\ :""".split()) | _RELATIONS
"""Tokens after which words are an answer of their own, or a name, and not the words before one."""


def _take_subject(cursor: Cursor) -> list[str]:
    """Consume the words before a value; nothing if no value follows them."""
    ahead = 0
    while cursor.peek(ahead).startswith('"') or (
        ahead and cursor.peek(ahead) == ":" and cursor.peek(ahead + 1).startswith('"')
    ):
        ahead += 1
    if not ahead or not cursor.peek(ahead) or cursor.peek(ahead) in _ENDS:
        return []
    taken = [cursor.take().removeprefix('"') for _ in range(ahead)]
    return [word for words in taken for word in words.split()]


def _with_subject(words: list[str], value: Node) -> Node:
    """Combine a value with the words before it.

    Fillers ("the answer is") have no meaning; "the area is" names the value; other words ("Player
    2") are a tag, which belongs to the answer.
    """
    plain = [word.lower().strip(":.,") for word in words]
    is_filler = all(word in FILLERS or word in COPULAS or not word for word in plain)
    if value.op == "rel" and _KINDS.issuperset(plain):
        return value
    if plain in (["at"], ["on"]):
        return value
    if is_filler and plain[-1:] not in (["the"], ["a"]):
        return value
    if plain[-1] in COPULAS and not DENIALS & set(plain):
        name = Node("text", (), " ".join(words[:-1]))
        return value if value.op == "rel" else Node("rel", (name, value), "=")
    if any(word == "not" or word.endswith("n't") for word in plain):
        raise UnreadableError("a value that is denied")
    return Node("tagged", (value,), " ".join(word for word in plain if word))


_KINDS = FILLERS | frozenset(
    """
    all circle curve equation for function inequality interval line number numbers of parabola point
    points real set
    """.split()
)
"""Words that say what kind of object a relation is: "the line y = 2x"."""
_SET_OPERATIONS = {"\\cup": "union", "\\cap": "inter", "\\setminus": "minus"}


def _parse_set_operations(cursor: Cursor) -> Node:
    node = _parse_side(cursor)
    while cursor.peek() in _SET_OPERATIONS:
        name = _SET_OPERATIONS[cursor.take()]
        node = Node(name, (node, _parse_side(cursor)))
    return node


def _parse_side(cursor: Cursor) -> Node:
    """Parse words as a text node, anything else as a sum.

    A colon after words is an equals sign.
    """
    if not cursor.peek().startswith('"'):
        return _parse_sum(cursor)
    words: list[str] = []
    while cursor.peek().startswith('"'):
        words.append(cursor.take()[1:])
    if cursor.peek() == ":" and cursor.peek(1):
        cursor.tokens[cursor.position] = "="
    return Node("text", (), " ".join(words))


def _parse_sum(cursor: Cursor) -> Node:
    cursor.enter()
    terms = [_parse_signed_term(cursor)]
    while cursor.peek() in ("+", "-", "\\pm", "\\mp"):
        terms.append(_parse_signed_term(cursor))
    cursor.leave()
    return _sum(terms)


def _sum(terms: list[Node]) -> Node:
    """Add terms; the unit that all quantities among them have belongs to the sum."""
    if len(terms) == 1:
        return terms[0]
    units = [read_unit(str(part.value)) for term in terms for part in _quantities(term)]
    if not units:
        return add(*terms)
    if any((unit.dimension, unit.factor) != units[0][:2] for unit in units) or (
        not units[0].dimension and len({unit.words for unit in units}) > 1
    ):
        raise UnreadableError("a sum of different units")
    return Node("quantity", (add(*map(_without_unit, terms)),), units[0].words)


def _quantities(term: Node) -> list[Node]:
    inner = term.args[0] if term.op in ("neg", "pm", "mp") else term
    return [inner] if inner.op == "quantity" else []


def _without_unit(term: Node) -> Node:
    if term.op == "quantity":
        return term.args[0]
    is_signed = term.op in ("neg", "pm", "mp")
    return Node(term.op, (_without_unit(term.args[0]),)) if is_signed else term


def _parse_signed_term(cursor: Cursor) -> Node:
    sign, mark = 1, ""
    while cursor.peek() in ("+", "-", "\\pm", "\\mp"):
        token = cursor.take()
        sign = -sign if token == "-" else sign
        mark = token if token in ("\\pm", "\\mp") else mark
    term = _parse_term(cursor)
    if mark:
        return Node("pm" if mark == "\\pm" else "mp", (term,))
    return negative(term) if sign < 0 else term


_OPERATORS = frozenset(("*", "/", "\\bmod"))
_CURRENCIES = {"\\$": "dollar", "\\euro": "euro", "\\pounds": "pounds sterling", "\\yen": "yen",
               "\\rupee": "rupee"}  # fmt: skip
"""Currency sign -> the unit of the number after it."""


def _parse_term(cursor: Cursor) -> Node:
    """Parse a product or quotient of powers, with the unit that follows it or the currency sign."""
    currency = _CURRENCIES.get(cursor.peek())
    if currency:
        cursor.take()
        value = _parse_signed_term(cursor)
        if value.op == "quantity" and str(value.value).startswith(("per ", "/ ")):
            return Node("quantity", value.args, f"{currency} {value.value}")
        return Node("quantity", (value,), currency)
    node = _parse_power(cursor)
    while True:
        token = cursor.peek()
        if token == "/" and cursor.peek(1)[:1] == '"':
            # A rate without a unit before it: 15 / "hour".
            cursor.take()
            cursor.tokens[cursor.position] = f'"/ {cursor.peek()[1:]}'
            return _parse_unit(node, cursor)
        if token in _OPERATORS:
            cursor.take()
            node = _operation(token, node, _parse_signed_power(cursor))
        elif token == "\\pmod":
            cursor.take()
            node = Node("fn", (node, _parse_argument(cursor)), "mod")
        elif token == ":" and cursor.peek(1) not in ("", "="):
            cursor.take()
            node = Node("ratio", (node, _parse_signed_power(cursor)))
        elif token and _starts_factor(cursor):
            node = _parse_next_factor(node, cursor)
        else:
            has_unit = token[:1] == '"' or token in _CURRENCIES
            return _parse_unit(node, cursor) if has_unit else node


def _operation(sign: str, left: Node, right: Node) -> Node:
    if sign == "*":
        return multiply(left, right)
    return Node("div", (left, right)) if sign == "/" else Node("fn", (left, right), "mod")


def _parse_signed_power(cursor: Cursor) -> Node:
    sign = 1
    while cursor.peek() in ("+", "-"):
        sign = -sign if cursor.take() == "-" else sign
    power = _parse_power(cursor)
    return negative(power) if sign < 0 else power


_NO_FACTOR = frozenset(
    r""", ; and or ) ] } \} \rfloor \rceil \rangle = < > <= >= \ne \in \approx \equiv \to \cup \cap
    \setminus + - \pm \mp * / : & \\ \end ^ _ ! \% % ' . ? \subset \bmod \pmod \forall \notin
    \$ \euro \pounds \yen \rupee
    """.split()
)
"""Tokens that cannot begin a factor, and therefore end a product without a sign."""


def _starts_factor(cursor: Cursor) -> bool:
    """Decide whether the next token begins a factor that is multiplied without a sign."""
    token = cursor.peek()
    if not token or token in _NO_FACTOR or token.startswith('"'):
        return False
    if token == "|":
        return _opens_bar(cursor)
    return True


def _parse_next_factor(node: Node, cursor: Cursor) -> Node:
    """Parse a factor without a sign before it: a product, or the fraction of a mixed number."""
    is_plain = node.op in ("num", "dec") and cursor.tokens[cursor.position - 1][-1:].isdigit()
    is_whole = is_plain and isinstance(node.value, Fraction) and node.value.denominator == 1
    starts_number = cursor.peek()[0].isdigit() or cursor.peek()[0] == "."
    if is_plain and starts_number:
        if not (is_whole and cursor.peek(1) == "/" and cursor.peek(2)[:1].isdigit()):
            raise UnreadableError("two numbers in a row")
        top, _, bottom = cursor.take(), cursor.take(), cursor.take()
        return Node("mixed", (node, Node("div", (_literal(top), _literal(bottom)))))
    is_fraction = cursor.peek() == "\\frac"
    right = _parse_power(cursor)
    is_proper = right.op == "div" and all(part.op == "num" for part in right.args)
    if is_whole and is_fraction and is_proper:
        return Node("mixed", (node, right))
    return multiply(node, right)


_UNIT_POWER = re.compile(r"\^-?[0-9]|[23]$")
_NOT_UNITS = CHANGES - {"square", "or", "one", "about", "times"}
"""Words that make a number unreadable: "7 halves" is not 7; "7 times" and "7 square feet" are."""


def _parse_unit(node: Node, cursor: Cursor) -> Node:
    """Parse the words after a number as its unit; skip a condition ("for x > 0") among them."""
    words: list[str] = []
    while cursor.peek().startswith('"') or cursor.peek() in _CURRENCIES:
        token = cursor.take()
        word = _CURRENCIES.get(token, token[1:])
        if word.split(" ", 1)[0].lower() in CONDITION:
            _skip_condition(cursor, word)
            break
        if word.split(" ", 1)[0].lower() in COPULAS:
            _leave_predicate(cursor, word, is_subject=node.op == "sym")
            break
        if _NOT_UNITS & set(word.lower().split()):
            raise UnreadableError("words that change the number before them")
        if any(c.isdigit() for c in _UNIT_POWER.sub("", word)):
            raise UnreadableError("a number in the words after a number")
        words.append(word)
        if cursor.accept("^"):
            words.append("^" + _parse_unit_power(cursor))
        if cursor.peek() in ("/", "*") and cursor.peek(1).startswith('"'):
            words.append(cursor.take())
    if not words:
        return node
    quantity = Node("quantity", (node,), " ".join(words))
    return _parse_compound(quantity, cursor) if cursor.peek()[:1].isdigit() else quantity


def _leave_predicate(cursor: Cursor, words: str, is_subject: bool) -> None:
    r"""Leave the "is" after a letter, and drop "is the answer" after a value.

    Raises:
        UnreadableError: The words say something else: `\sqrt{2}` "is irrational".
    """
    if is_subject and f'"{words}' in _IS and cursor.peek():
        cursor.position -= 1
    elif not FILLERS.issuperset(words.lower().split()[1:]):
        raise UnreadableError("a sentence about the value")


def _parse_unit_power(cursor: Cursor) -> str:
    is_braced = cursor.accept("{")
    sign = "-" if cursor.accept("-") else ""
    power = cursor.take()
    if is_braced:
        cursor.expect("}")
    if not power.isdigit() or len(power) > 1:
        raise UnreadableError("a unit to a power that is no digit")
    return sign + power


def _parse_compound(quantity: Node, cursor: Cursor) -> Node:
    whole = _compound(quantity, _parse_term(cursor))
    if whole is None:
        raise UnreadableError("two quantities in a row")
    return whole


def _compound(large: Node, small: Node) -> Node | None:
    """Combine `2 hours 30 minutes` into one quantity in its first unit; None for other nodes."""
    if large.op != "quantity" or small.op != "quantity":
        return None
    first, second = read_unit(str(large.value)), read_unit(str(small.value))
    values = rational(large.args[0]), rational(small.args[0])
    is_one = first.dimension and first.dimension == second.dimension
    if not is_one or first.factor <= second.factor or values[0] is None or values[1] is None:
        return None
    total = values[0] + values[1] * second.factor / first.factor
    return Node("quantity", (number(total),), large.value)


_ALTERNATIVES = frozenset(("else", "otherwise", "not", "unless"))
_CONDITION_RELATIONS = frozenset(r"= < > <= >= \ne \in \to \equiv".split())


def _skip_condition(cursor: Cursor, word: str) -> None:
    """Skip a condition that begins with `word`.

    Raises:
        UnreadableError: The words state another answer, or a number without a relation.
    """
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
        or {"\\%", "%", "!"} & set(skipped)
    ):
        raise UnreadableError("an alternative after the answer")


def _parse_power(cursor: Cursor) -> Node:
    """Parse an atom with its postfix signs and exponents."""
    node = _parse_atom(cursor)
    while True:
        token = cursor.peek()
        if token == "^":
            cursor.take()
            node = _parse_exponent(node, cursor)
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
            node = Node("based", (node, _parse_argument(cursor)))
        elif token == "\\circ":
            cursor.take()
            node = _parse_degrees(node, cursor)
        else:
            return node


def _parse_exponent(base: Node, cursor: Cursor) -> Node:
    """Parse what follows `^`: a power, a degree sign or a prime."""
    if cursor.accept("\\circ"):
        return _parse_degrees(base, cursor)
    if cursor.is_done:
        return Node("degree", (base,))
    if cursor.peek() == "{" and cursor.peek(1) == "\\circ" and cursor.peek(2) == "}":
        cursor.position += 3
        return _parse_degrees(base, cursor)
    if cursor.peek() == "\\prime" or cursor.peek() == "'":
        cursor.take()
        return Node("call", (base,), "'")
    cursor.enter()
    exponent = _parse_signed_power(cursor)
    cursor.leave()
    if exponent.op == "percent" and cursor.tokens[cursor.position - 1] in ("\\%", "%"):
        # The sign after `10^{2}` is a percentage of the power.
        cursor.position -= 1
        exponent = exponent.args[0]
    return Node("pow", (base, exponent))


def _parse_degrees(base: Node, cursor: Cursor) -> Node:
    """Parse an angle; minutes and seconds of arc may follow the degrees."""
    value = base
    for part in (60, 3600):
        following = cursor.peek(1) if cursor.peek()[:1].isdigit() else ""
        if following == "^" and "'" in cursor.peek(2) + cursor.peek(3):
            following = "'"
        if following[:1] not in ("'", '"') or not following:
            break
        value = add(value, Node("div", (_literal(cursor.take()), number(part))))
        while cursor.peek() in ("'", "^", "{", "}", '"', "\\prime"):
            cursor.take()
    exact = rational(value)
    return Node("degree", (value if value == base or exact is None else number(exact),))


_CONSTANTS = {"\\pi": PI, "\\infty": INFINITY, "e": EULER, "i": IMAGINARY, "\\emptyset": EMPTY_SET}
_GREEK_LETTERS = {f"\\{name}": symbol(name) for name in GREEK}


def _parse_atom(cursor: Cursor) -> Node:
    token = cursor.peek()
    if token in _CONSTANTS and not (token in "ei" and cursor.peek(1) == "_"):
        cursor.take()
        return _CONSTANTS[token]
    if token in _GREEK_LETTERS or (len(token) == 1 and token.isalpha()):
        cursor.take()
        return _parse_letter(_GREEK_LETTERS.get(token) or symbol(token), cursor)
    if token[:1].isdigit() or (token[:1] == "." and len(token) > 1):
        return _literal(cursor.take())
    if token in FUNCTIONS:
        return _parse_function(cursor)
    if token in _ATOMS:
        return _ATOMS[token](cursor)
    if token[:1] == "\\" and token[1:].isalpha() and token not in _NO_FACTOR:
        raise UnknownCommandError(token[:20])
    raise UnreadableError(f"unexpected {token[:20]!r}")


def _literal(token: str) -> Node:
    """Convert a number token; a power of ten stays unevaluated."""
    mantissa, _, exponent = token.lower().partition("e")
    if len(mantissa) > _MAX_NUMBER_DIGITS:
        raise UnreadableError("too many digits")
    node = Node("dec", (), mantissa) if "." in mantissa else number(int(mantissa))
    return multiply(node, Node("pow", (number(10), number(int(exponent))))) if exponent else node


def _parse_argument(cursor: Cursor) -> Node:
    """Parse a TeX argument: a braced group, one digit, or one atom."""
    token = cursor.peek()
    if token[:1].isdigit() and len(token) > 1:
        cursor.tokens[cursor.position : cursor.position + 1] = [
            token[0],
            token[1:].lstrip(".") or "0",
        ]
    if token == "{" and cursor.peek(1) == "}":
        raise UnreadableError("empty argument")
    return _parse_atom(cursor)


_CALLABLE = frozenset("fghFGH")
_INVERSE = ["^", "{", "-", "1", "}", "("]


def _parse_letter(node: Node, cursor: Cursor) -> Node:
    """Parse the index, primes and arguments of a letter: a variable, or the call of a function."""
    name, index = str(node.value), None
    primes = 0
    while cursor.peek() in ("'", "_"):
        if cursor.take() == "'":
            primes += 1
            continue
        index = _parse_index(cursor)
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
        is_call = is_call or (not is_braced and _is_value_at_number(cursor))
        if is_call or (not is_braced and _is_definition(cursor)):
            cursor.position += 2 if is_braced else 1
            inner = _parse_items(cursor, ")")
            cursor.expect(")")
            if is_braced:
                cursor.expect("}")
            return Node("call", tuple(inner), name)
    return leaf


def _parse_index(cursor: Cursor) -> str | Node:
    """Parse what follows `_`: a name as text, an expression as a tree."""
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
    inner = _parse_sum(cursor)
    cursor.expect("}")
    return inner


def _has_comma(cursor: Cursor, is_braced: bool) -> bool:
    """Decide whether the group that follows a letter holds several items, as arguments do."""
    depth = 0
    for token in cursor.tokens[cursor.position + is_braced : cursor.position + 200]:
        depth += (token in ("(", "[", "{", "\\{")) - (token in (")", "]", "}", "\\}"))
        if depth == 0:
            return False
        if token == "," and depth == 1:
            return True
    return False


def _is_value_at_number(cursor: Cursor) -> bool:
    """Decide whether a letter is applied to a number, `P(0)`, or to an event, `P(X = 0)`."""
    if cursor.peek(1)[:1].isdigit() and cursor.peek(2) == ")":
        return True
    return cursor.peek(1).isalpha() and cursor.peek(2) in _RELATIONS


def _is_definition(cursor: Cursor) -> bool:
    """Decide whether `(...)` of letters and numbers comes before an equals sign."""
    for ahead in range(1, 12):
        token = cursor.peek(ahead)
        if token == ")":
            return ahead > 1 and cursor.peek(ahead + 1) == "="
        if not (token.isalnum() or token == ","):
            return False
    return False


def _parse_group(cursor: Cursor) -> Node:
    """Parse parentheses or brackets: one expression, a tuple or an interval."""
    opening = cursor.take()
    items = _parse_items(cursor, ")", "]")
    closing = cursor.take()
    if closing not in (")", "]"):
        raise UnreadableError("a group without an end")
    brackets = opening + closing
    if len(items) == 1:
        if brackets not in ("()", "[]"):
            raise UnreadableError("a bracket of another kind")
        return items[0]
    if len(items) == 2 and brackets != "()":
        return Node("interval", tuple(items), brackets)
    if brackets not in ("()", "[]"):
        raise UnreadableError("a bracket of another kind")
    return Node("tuple", tuple(items), "()")


def _parse_braces(cursor: Cursor) -> Node:
    """Parse a TeX group; one that holds a list is a set."""
    cursor.take()
    if cursor.accept("}"):
        return EMPTY_SET if cursor.is_done else _parse_power(cursor)
    items = _parse_items(cursor, "}")
    cursor.expect("}")
    return items[0] if len(items) == 1 else Node("set", tuple(items))


def _parse_set(cursor: Cursor) -> Node:
    r"""Parse `\{1, 2\}`, `\{x | x < 3\}` (as its condition), or the expression in `\{x+y\}x`."""
    cursor.take()
    if cursor.accept("\\}"):
        return EMPTY_SET
    bar = _condition_bar(cursor)
    if bar is not None:
        letter = cursor.peek()
        cursor.position = bar + 1
        items = _parse_items(cursor, "\\}")
        cursor.expect("\\}")
        if letter.isalpha() and not any(letter in symbols(item) for item in items):
            raise UnreadableError("a condition on another letter")
        return Node("such", tuple(items))
    cursor.bars += 1
    items = _parse_items(cursor, "\\}", "|")
    cursor.bars -= 1
    conditions = _parse_items(cursor, "\\}") if cursor.accept("|") else []
    cursor.expect("\\}")
    if any(part.op != "rel" or part.value != "\\in" for part in conditions):
        return Node("call", (*items, *conditions), "such that")
    return Node("set", tuple(items))


def _condition_bar(cursor: Cursor) -> int | None:
    r"""Find the bar or colon of `\{x | ...` or `\{x \in \mathbb{R} | ...`; None without one."""
    at = cursor.position + 1
    if cursor.peek(1) == "\\in":
        at += 2
        if cursor.peek(2) == "\\mathbb":
            at += 3
    following = cursor.tokens[at] if at < len(cursor.tokens) else ""
    return at if following in ("|", ":") else None


def _opens_bar(cursor: Cursor) -> bool:
    """Decide whether the next bar opens an absolute value rather than closing one."""
    if cursor.bars == 0:
        return True
    ahead = cursor.peek(1)
    left = cursor.tokens[cursor.position :].count("|")
    return left >= cursor.bars + 2 and (ahead.isalnum() or ahead[:1] == "\\")


def _parse_bars(cursor: Cursor) -> Node:
    r"""Parse an absolute value `|x|`, or a ket `|x\rangle`."""
    cursor.take()
    cursor.bars += 1
    inner = _parse_sum(cursor)
    cursor.bars -= 1
    if cursor.accept("\\rangle"):
        return Node("call", (inner,), "ket")
    cursor.expect("|")
    return Node("fn", (inner,), "abs")


def _parse_angle_brackets(cursor: Cursor) -> Node:
    r"""Parse a vector `\langle 1, 2\rangle`, or a bra `\langle x|`."""
    cursor.take()
    cursor.bars += 1
    items = _parse_items(cursor, "\\rangle", "|")
    cursor.bars -= 1
    if cursor.accept("|"):
        return Node("call", tuple(items), "bra")
    cursor.expect("\\rangle")
    return Node("tuple", tuple(items), "()")


_ROUNDINGS = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceil")}


def _parse_rounding(cursor: Cursor) -> Node:
    closing, name = _ROUNDINGS[cursor.take()]
    inner = _parse_sum(cursor)
    cursor.expect(closing)
    return Node("fn", (inner,), name)


def _parse_accent(cursor: Cursor) -> Node:
    name, inner = cursor.take(), _parse_argument(cursor)
    if inner.op == "mul" and all(
        part.op == "sym" and str(part.value).isupper() for part in inner.args
    ):
        # Two end points name a segment, with or without the bar.
        return inner
    return Node("call", (inner,), name[1:])


def _parse_partial(cursor: Cursor) -> Node:
    r"""Parse `\partial f` or `\partial^2 f`, which have no value of their own."""
    cursor.take()
    order = _parse_argument(cursor) if cursor.accept("^") else ONE
    inner = [_parse_power(cursor)] if _starts_factor(cursor) else []
    return Node("call", (order, *inner), "partial")


def _parse_number_set(cursor: Cursor) -> Node:
    r"""Parse `\mathbb{R}` as an interval, and other letters as symbols."""
    cursor.take()
    cursor.expect("{")
    name = cursor.take()
    cursor.expect("}")
    for signs in (["^", "+"], ["^", "{", "+", "}"], ["_", "+"], ["^", "*"]):
        if cursor.tokens[cursor.position : cursor.position + len(signs)] == signs:
            cursor.position += len(signs)
            return symbol(f"mathbb{name}{''.join(signs).strip('{}')}")
    if name != "R":
        return symbol(f"mathbb{name}")
    return Node("interval", (Node("neg", (INFINITY,)), INFINITY), "()")


def _parse_fraction(cursor: Cursor) -> Node:
    cursor.take()
    derivative = _parse_derivative(cursor)
    if derivative is not None:
        return derivative
    top = _parse_argument(cursor)
    return Node("div", (top, _parse_argument(cursor)))


def _parse_binomial(cursor: Cursor) -> Node:
    cursor.take()
    top = _parse_argument(cursor)
    return Node("fn", (top, _parse_argument(cursor)), "binom")


def _parse_choose(cursor: Cursor) -> Node:
    r"""Parse `_{10}C_3` or `^{10}P_3`: combinations and permutations."""
    cursor.take()
    top, letter = _parse_argument(cursor), cursor.take()
    cursor.expect("_")
    low = _parse_argument(cursor)
    if letter not in ("C", "P"):
        raise UnreadableError("an index without a letter")
    choices = Node("fn", (top, low), "binom")
    return choices if letter == "C" else multiply(choices, Node("fact", (low,)))


_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec",
             "csc": "arccsc", "asin": "sin", "acos": "cos", "atan": "tan", "sinh": "asinh",
             "cosh": "acosh", "tanh": "atanh", "coth": "acoth", "sech": "asech",
             "csch": "acsch"}  # fmt: skip
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "acot": "arccot",
            "asec": "arcsec", "acsc": "arccsc", "arsinh": "asinh", "arcosh": "acosh",
            "artanh": "atanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
            "arcoth": "acoth", "log": "ln"}  # fmt: skip


def _parse_function(cursor: Cursor) -> Node:
    """Parse a function name with its base or power, and the argument that it is applied to."""
    name, base, power = cursor.take(), None, None
    while cursor.peek() in ("_", "^"):
        if cursor.take() == "_":
            base = _parse_argument(cursor)
        else:
            power = _parse_function_power(cursor)
    if name == "sqrt":
        return _parse_root(cursor)
    arguments = _parse_function_arguments(cursor)
    if power == number(-1) and name in _INVERSES:
        name, power = _INVERSES[name], None
    node = _function(_ALIASES.get(name, name), arguments, base)
    return node if power is None else Node("pow", (node, power))


def _parse_function_power(cursor: Cursor) -> Node:
    r"""Parse an exponent, with or without a minus sign: `\sin^2 x`, `\sin^-1 x`."""
    if not cursor.accept("-"):
        return _parse_argument(cursor)
    inner = _parse_argument(cursor)
    return negative(inner) if inner.op == "num" else Node("neg", (inner,))


_SEVERAL_ARGUMENTS = frozenset(("min", "max", "gcd", "lcm"))


def _function(name: str, arguments: tuple[Node, ...], base: Node | None) -> Node:
    if len(arguments) != 1 and name not in _SEVERAL_ARGUMENTS:
        raise UnreadableError("a function of one argument")
    if len(arguments) == 1 and name in ("min", "max") and not symbols(arguments[0]):
        raise UnreadableError("a maximum of one number, which may be a name")
    if name == "cbrt":
        return Node("root", (arguments[0], number(3)))
    if name == "exp":
        return Node("pow", (EULER, arguments[0]))
    if name in ("ln", "lg") and base is not None:
        return Node("div", (Node("fn", arguments, "ln"), Node("fn", (base,), "ln")))
    if name == "lg":
        return Node("fn", arguments, "ln")
    return Node("fn", arguments, name)


def _parse_function_arguments(cursor: Cursor) -> tuple[Node, ...]:
    """Parse a group of arguments, or the product up to the next function."""
    if cursor.peek() in ("(", "{", "["):
        closing = {"(": ")", "{": "}", "[": "]"}[cursor.take()]
        if closing == "}" and cursor.peek() == "(":
            return _parse_braced_arguments(cursor)
        inner = _parse_items(cursor, closing)
        cursor.expect(closing)
        return tuple(inner)
    cursor.enter()
    factors = [_parse_power(cursor)]
    while _starts_factor(cursor) and cursor.peek() not in FUNCTIONS:
        if factors[-1].op in ("fn", "pow") and cursor.peek() == "(":
            break
        factors.append(_parse_power(cursor))
    cursor.leave()
    return (multiply(*factors),)


def _parse_braced_arguments(cursor: Cursor) -> tuple[Node, ...]:
    """Parse the rest of `{(1, 2)}`, whose braces only group."""
    inner = _parse_items(cursor, "}")
    cursor.expect("}")
    return tuple(inner[0].args) if len(inner) == 1 and inner[0].op == "tuple" else tuple(inner)


def _parse_root(cursor: Cursor) -> Node:
    degree = number(2)
    if cursor.accept("["):
        degree = _parse_sum(cursor)
        cursor.expect("]")
    return Node("root", (_parse_number_or_argument(cursor), degree))


def _parse_number_or_argument(cursor: Cursor) -> Node:
    """Parse a whole number token where TeX would take one digit, else a TeX argument."""
    if cursor.peek()[:1].isdigit():
        return _literal(cursor.take())
    return _parse_argument(cursor)


_NO_LIMIT = EMPTY_SET
"""The limits of an indefinite integral, and the upper limit of `lim`."""


def _parse_sum_or_product(cursor: Cursor) -> Node:
    r"""Parse `\sum_{k=1}^{n} body` or `\prod_{k=1}^{n} body`."""
    operator = cursor.take()
    lower, upper = _parse_limits(cursor)
    if lower is upper is _NO_LIMIT:
        return Node("call", (_parse_term(cursor),), operator[1:])
    if lower.op != "rel" or lower.value != "=":
        raise UnreadableError("a sum needs its index")
    name, start = _variable_name(lower.args[0]), lower.args[1]
    body = _parse_term(cursor)
    return _bind(operator[1:], name, body, start, upper)


def _parse_limits(cursor: Cursor) -> tuple[Node, Node]:
    lower = upper = _NO_LIMIT
    while cursor.peek() in ("_", "^"):
        if cursor.take() == "_":
            lower = _parse_limit(cursor)
        else:
            upper = _parse_limit(cursor)
    return lower, upper


def _parse_limit(cursor: Cursor) -> Node:
    if not cursor.accept("{"):
        return (
            symbol(cursor.take()) if cursor.peek().isalpha() else _parse_number_or_argument(cursor)
        )
    relation = _parse_relation(cursor)
    cursor.expect("}")
    return relation


def _parse_integral(cursor: Cursor) -> Node:
    r"""Parse `\int_a^b body dx`; the differential may be missing, or inside a fraction or group."""
    cursor.take()
    lower, upper = _parse_limits(cursor)
    at, width, name = _find_differential(cursor)
    if at < 0:
        return _bind("int", name, _parse_sum(cursor), lower, upper)
    depth = 0
    for token in cursor.tokens[cursor.position : at]:
        depth += (token in ("{", "(")) - (token in ("}", ")"))
    if depth:
        # Inside a group: the differential is a factor of 1 there.
        is_product = cursor.tokens[at - 1] == "*"
        filler = ["1"] if cursor.tokens[at - 1] == "{" else []
        cursor.tokens[at - is_product : at + width] = filler
        return _bind("int", name, _parse_term(cursor), lower, upper)
    inner = Cursor(cursor.tokens[cursor.position : at])
    inner.depth = cursor.depth
    body = _parse_sum(inner) if inner.tokens else ONE
    if not inner.is_done:
        raise UnreadableError("an integrand that does not end")
    cursor.position = at + width
    return _bind("int", name, body, lower, upper)


def _find_differential(cursor: Cursor) -> tuple[int, int, str]:
    """Find the first differential: position, number of tokens, variable; (-1, 0, "x") if none."""
    for at in range(cursor.position, len(cursor.tokens)):
        token = cursor.tokens[at]
        if len(token) == 2 and token[0] == "d" and token[1].isalpha():
            return at, 1, token[1]
        following = cursor.tokens[at + 1] if at + 1 < len(cursor.tokens) else ""
        if token == "d" and (following.isalpha() or following[:1] == "\\"):
            return at, 2, following.lstrip("\\")
    return -1, 0, "x"


def _parse_limit_operator(cursor: Cursor) -> Node:
    r"""Parse `\lim_{x \to a} body`."""
    cursor.take()
    cursor.expect("_")
    cursor.expect("{")
    name = _variable_name(_parse_atom(cursor))
    cursor.expect("\\to")
    point = _parse_limit_point(cursor)
    body = _parse_term(cursor)
    return _bind("lim", name, body, point, _NO_LIMIT)


def _parse_limit_point(cursor: Cursor) -> Node:
    """Parse the point of a limit; a one-sided limit becomes a call named "+" or "-"."""
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
    point = _parse_sum(cursor)
    cursor.expect("}")
    return Node("call", (point,), side) if side else point


def _parse_derivative(cursor: Cursor) -> Node | None:
    r"""Parse the rest of `\frac{d}{dx} body` or `\frac{d body}{dx}`.

    Consumes nothing and returns None if it is an ordinary fraction.
    """
    start = cursor.position
    if cursor.peek() != "{" or cursor.peek(1) != "d":
        return None
    end = _closing_brace(cursor.tokens, start)
    bottom = cursor.tokens[end + 1 : end + 6]
    if len(bottom) < 4 or bottom[0] != "{" or bottom[1] != "d" or bottom[3] != "}":
        return None
    name = bottom[2].lstrip("\\")
    cursor.position = start + 2
    body = EMPTY_SET
    if cursor.peek() != "}":
        body = _parse_term(cursor)
    cursor.expect("}")
    cursor.position += 4
    if body is EMPTY_SET:
        body = _parse_term(cursor)
    return Node("deriv", (body, symbol(name)))


def _closing_brace(tokens: list[str], start: int) -> int:
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "{") - (tokens[at] == "}")
        if depth == 0:
            return at
    raise UnreadableError("an open brace")


def _variable_name(node: Node) -> str:
    if node.op == "const" and node.value in ("i", "e"):
        return str(node.value)
    if node.op != "sym":
        raise UnreadableError("a bound variable must be a letter")
    return str(node.value)


def _bind(op: str, name: str, body: Node, lower: Node, upper: Node) -> Node:
    """Build a bound operation, with its variable renamed to the depth of nesting."""
    bound = symbol(f"#{_binding_depth(body)}")
    indexed = [letter for letter in symbols(body) if letter.endswith(f"_{name}")]
    for letter in indexed:
        body = substitute(body, letter, Node("sub", (bound,), letter.removesuffix(f"_{name}")))
    body = substitute(body, name, bound)
    if name in ("i", "e"):
        body = _replace_constant(body, name, bound)
    return Node(op, (body, lower, upper), str(bound.value))


def _replace_constant(node: Node, name: str, by: Node) -> Node:
    if node.op == "const" and node.value == name:
        return by
    return Node(node.op, tuple(_replace_constant(part, name, by) for part in node.args), node.value)


def _binding_depth(node: Node) -> int:
    inner = max((_binding_depth(part) for part in node.args), default=0)
    return inner + (node.op in ("sum", "prod", "int", "lim"))


_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix array".split())


def _parse_environment(cursor: Cursor) -> Node:
    r"""Parse what is between `\begin` and `\end`; other environments are unknown commands."""
    cursor.take()
    name = _parse_environment_name(cursor)
    if name in _CASES:
        return _parse_cases(cursor, name)
    if name not in _MATRICES:
        raise UnknownCommandError(name[:20])
    return _parse_matrix(cursor, name)


def _parse_matrix(cursor: Cursor, name: str) -> Node:
    if name == "array" and cursor.peek() == "{":
        while cursor.take() != "}":
            if cursor.is_done:
                raise UnreadableError("array columns")
    rows: list[list[Node]] = [[]]
    while cursor.peek() != "\\end":
        if cursor.accept("\\\\"):
            rows.append([])
        elif not cursor.accept("&"):
            rows[-1].append(_parse_relation(cursor))
        if cursor.is_done:
            raise UnreadableError("an open matrix")
    cursor.take()
    if _parse_environment_name(cursor) != name:
        raise UnreadableError("another environment ends")
    matrix = _matrix([row for row in rows if row])
    return Node("fn", (matrix,), "det") if name == "vmatrix" else matrix


_CASES = frozenset(("cases", "dcases", "rcases"))
_ELSE = frozenset(("otherwise", "else"))


def _parse_cases(cursor: Cursor, name: str) -> Node:
    """Parse values with conditions; rows without conditions are a list, such as a system."""
    rows = [_condition_split(row) for row in _rows_until_end(cursor, name)]
    parsed = [[_parse_part(part, cursor.depth) for part in row] for row in rows]
    if all(len(row) == 1 for row in parsed):
        items = tuple(row[0] for row in parsed)
        return items[0] if len(items) == 1 else Node("list", items, ",")
    if any(len(row) != 2 for row in parsed):
        raise UnreadableError("a case without a condition")
    return Node("cases", tuple(part for row in parsed for part in row))


def _rows_until_end(cursor: Cursor, name: str) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    while cursor.peek() != "\\end":
        if cursor.is_done:
            raise UnreadableError("open cases")
        token = cursor.take()
        if token == "\\\\":
            rows.append([])
        else:
            rows[-1].append(token)
    cursor.take()
    if _parse_environment_name(cursor) != name:
        raise UnreadableError("another environment ends")
    return [_trimmed(row) for row in rows if row]


def _condition_split(row: list[str]) -> list[list[str]]:
    """Split a row at its `&`, or before the words that begin a condition."""
    aligned = row.index("&") if "&" in row else -1
    if (
        aligned >= 0
        and set(row[aligned - 1 : aligned] + row[aligned + 1 : aligned + 2]) & _RELATIONS
    ):
        return [[token for token in row if token != "&"]]
    at = next((i for i, token in enumerate(row) if _is_condition(token)), -1)
    if aligned < 0 and at < 0:
        return [row]
    start = aligned if aligned >= 0 else at
    value = _trimmed(row[:start])
    condition = _trimmed([token for token in row[start:] if token != "&"])
    if condition and _is_condition(condition[0]):
        words = condition[0][1:].split()
        rest = words[1:] if words[0].lower() in CONDITION else ["otherwise"]
        condition[:1] = ['"' + " ".join(rest)] if rest else []
    return [value, condition]


def _trimmed(tokens: list[str]) -> list[str]:
    while tokens and tokens[-1] in (",", ";", "."):
        tokens.pop()
    return tokens


def _is_condition(token: str) -> bool:
    words = token[1:].lower().split() if token.startswith('"') else [""]
    return bool(words) and (words[0] in CONDITION or words[0] in _ELSE)


def _parse_part(tokens: list[str], depth: int) -> Node:
    if any(token.startswith('"') for token in tokens):
        words = " ".join(token.strip('"') for token in tokens).replace("$", "").split()
        return Node("text", (), " ".join(word for word in words if word not in COPULAS))
    inner = Cursor(tokens)
    inner.depth = depth
    items = _parse_items(inner, "")
    if not inner.is_done:
        raise UnreadableError("a case that does not end")
    return items[0] if len(items) == 1 else Node("list", tuple(items), "and")


def _parse_environment_name(cursor: Cursor) -> str:
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
    if len(entries) > MAX_MATRIX_ENTRIES:
        raise UnreadableError("too many entries")
    return Node("matrix", entries, len(rows[0]))


_ATOMS: dict[str, Callable[[Cursor], Node]] = {
    "(": _parse_group,
    "[": _parse_group,
    "{": _parse_braces,
    "\\{": _parse_set,
    "|": _parse_bars,
    "\\langle": _parse_angle_brackets,
    "\\lfloor": _parse_rounding,
    "\\lceil": _parse_rounding,
    "\\frac": _parse_fraction,
    "\\binom": _parse_binomial,
    "_": _parse_choose,
    "^": _parse_choose,
    "\\partial": _parse_partial,
    "\\overline": _parse_accent,
    "\\bar": _parse_accent,
    "\\hat": _parse_accent,
    "\\mathbb": _parse_number_set,
    "\\sum": _parse_sum_or_product,
    "\\prod": _parse_sum_or_product,
    "\\int": _parse_integral,
    "\\lim": _parse_limit_operator,
    "\\begin": _parse_environment,
    **{f"\\unit{name}": lambda cursor: symbol(cursor.take()) for name in "ijk"},
    "\\ldots": lambda cursor: symbol(cursor.take()),
}
"""First token of an atom -> the function that parses it; numbers, letters and functions aside."""
