"""Parses what follows a term: its unit, more units of the same kind, and conditions in words."""

from reason_env.verify import expression
from reason_env.verify.cursor import Cursor
from reason_env.verify.exact import rational
from reason_env.verify.nodes import Node, number
from reason_env.verify.normalizing import UnreadableError
from reason_env.verify.quantities import read_unit
from reason_env.verify.words import CHANGES, CONDITION


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


_NOT_UNITS = CHANGES - {"square", "or", "one", "about", "times"}
"""What may not follow a number: "7 halves" is not 7; "7 times" and "7 square feet" are."""


def _compound(quantity: Node, cursor: Cursor) -> Node:
    """Returns `2 hours 30 minutes` as one quantity in its first unit."""
    rest = expression.parse_term(cursor)
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
        or (has_number and not _RELATIONS & set(skipped))
    ):
        raise UnreadableError("an alternative after the answer")


_ALTERNATIVES = frozenset(("else", "otherwise", "not", "unless"))
_RELATIONS_TEXT = r"""
    = < > <= >= \ne \in \to \equiv
"""
_RELATIONS = frozenset(_RELATIONS_TEXT.split())
