r"""Parses what holds expressions: lists, sets, intervals, relations; the entry of the reader.

Commas, semicolons, "and" and "or" separate the items of a list. A pair in brackets is a tuple and
an interval at once (`(0,1)`); the comparison decides by what stands on the other side.
"""

from reason_env.verify import expression
from reason_env.verify.cursor import Cursor
from reason_env.verify.lexer import tokenize
from reason_env.verify.nodes import EMPTY_SET, Node
from reason_env.verify.normalizing import UnreadableError, normalized

_SEPARATORS = frozenset([",", ";", "and", "or"])
_RELATIONS_TEXT = r"""
    = < > <= >= \ne \in \approx \equiv \to \subset
"""
_RELATIONS = frozenset(_RELATIONS_TEXT.split())
_SET_SIGNS = {"\\cup": "union", "\\cap": "inter", "\\setminus": "minus"}


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
        return expression.parse_sum(cursor)
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
        return EMPTY_SET if cursor.is_done else expression.parse_power(cursor)
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
