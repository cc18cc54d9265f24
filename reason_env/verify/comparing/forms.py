r"""The form an answer must have: a response gives the answer and does not restate the problem.

The rule is relative to the reference. A sum or product of plain numbers (`17 \times 23`), a
factorial, a binomial coefficient, a logarithm of numbers, a closed sum, integral or limit is an
instruction to compute unless the reference holds such a thing too. Fractions, mixed numbers,
powers, roots and scientific notation are forms that answers are given in.
"""

from fractions import Fraction

from reason_env.verify.comparing.identity import number_value
from reason_env.verify.tree import TEN, Node, has_op, rational, walk

_UNDONE_TEXT = """
    sum prod int lim deriv
"""
_UNDONE = frozenset(_UNDONE_TEXT.split())
_EXACT_FUNCTIONS_TEXT = """
    binom abs floor ceil min max gcd lcm
"""
_EXACT_FUNCTIONS = frozenset(_EXACT_FUNCTIONS_TEXT.split())


def instructions(node: Node) -> set[str]:
    """Returns the kinds of unfinished work in an answer.

    >>> from reason_env.verify.parsing.grammar import parse_answer as read
    >>> instructions(read("17*23")), instructions(read("3.1*10^5")), instructions(read("2+x"))
    ({'arithmetic'}, set(), set())
    """
    return {kind for part in walk(node) if (kind := _kind(part))}


def _kind(node: Node) -> str:  # noqa: PLR0911 - one kind a line
    if node.op in _UNDONE:
        return node.op
    if node.op == "fact":
        return "factorial" if all(map(_is_numeral, node.args)) else ""
    if node.op == "fn":
        return _function_kind(node)
    if node.op in ("add", "mul") and all(map(_is_numeral, node.args)) and not _is_scientific(node):
        return "arithmetic"
    if node.op == "pow" and any(part.op == "pow" for part in node.args) and _is_numeral(node):
        return "tower"
    if node.op in ("div", "ratio") and any(part.op in ("div", "ratio") for part in node.args):
        return "arithmetic" if all(map(_is_numeral, node.args)) else ""
    return ""


def _function_kind(node: Node) -> str:
    if node.value in _EXACT_FUNCTIONS and all(map(_is_numeral, node.args)):
        return str(node.value)
    return ""


def is_numeral(node: Node) -> bool:
    """Returns whether an answer is one plain rational number: what a response must then give
    too.
    """
    return node.op in ("num", "dec", "mixed") or (
        node.op in ("neg", "percent", "div", "degree", "quantity", "ratio")
        and all(is_numeral(part) for part in node.args)
    )


def restates(found: Node, gold: Node) -> bool:
    """Returns whether a response holds work that its reference does not.

    A function or constant in the response to an exact plain number is such work (log_2 8 for 3);
    where the reference is a decimal it may be the exact value of it (2 pi for 6.283).
    """
    if instructions(found) - instructions(gold):
        return True
    if not is_numeral(gold) or (has_op(gold, "dec") and _is_rounding(gold, found)):
        return False
    return any(
        part.op == "fn" or (part.op == "const" and part.value != "inf") for part in walk(found)
    )


def _is_rounding(gold: Node, found: Node) -> bool:
    """Returns whether a decimal is not the very value of what it may round."""
    exact, value = number_value(gold), number_value(found)
    return exact is None or value is None or abs(exact - value) > 1e-12 * abs(exact)


def _is_numeral(node: Node) -> bool:
    if node.op in ("num", "dec", "mixed"):
        return True
    if node.op == "pow":
        exponent = rational(node.args[1])
        return _is_numeral(node.args[0]) and exponent is not None and exponent.denominator == 1
    return node.op in ("neg", "div", "mul", "add", "fact", "percent", "ratio") and all(
        map(_is_numeral, node.args)
    )


def _is_scientific(node: Node) -> bool:
    """Returns whether a product is a decimal times a power of ten."""
    if node.op != "mul" or len(node.args) != 2:
        return False
    mantissa, power = node.args
    value = rational(mantissa) if mantissa.op in ("num", "dec", "neg") else None
    return (
        value is not None
        and power.op == "pow"
        and power.args[0] == TEN
        and abs(value) < Fraction(1000)
    )
