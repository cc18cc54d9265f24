r"""Rejects responses that restate the problem instead of giving the answer.

The rule is relative to the reference. A sum or product of plain numbers (`17 \times 23`), a
factorial, a binomial coefficient, a logarithm of numbers, a closed sum, integral or limit is work
left to do, unless the reference contains the same kind. Fractions, mixed numbers, powers, roots and
scientific notation are finished answers.
"""

from fractions import Fraction

from reason_env.verify.comparing.identity import number_value
from reason_env.verify.tree import PI, TEN, Node, has_op, rational, walk

_UNDONE = frozenset(("sum", "prod", "int", "lim", "deriv"))
_EXACT_FUNCTIONS = frozenset("binom abs floor ceil min max gcd lcm mod".split())


def unfinished_work(node: Node) -> set[str]:
    """Collect the kinds of work that an answer leaves to do.

    >>> from reason_env.verify.parsing.grammar import parse_answer as read
    >>> [unfinished_work(read(text)) for text in ("17*23", "3.1*10^5", "2+x")]
    [{'arithmetic'}, set(), set()]
    """
    return {kind for part in walk(node) if (kind := _kind(part))}


def _kind(node: Node) -> str:  # noqa: PLR0911 - one kind per line
    if not node.args:
        return ""
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
    """Decide whether an answer is one plain rational number, written out."""
    return node.op in ("num", "dec", "mixed") or (
        node.op in ("neg", "percent", "div", "degree", "quantity", "ratio")
        and all(is_numeral(part) for part in node.args)
    )


def leaves_more_work(found: list[Node], gold: list[Node]) -> bool:
    """Decide whether the items of a list leave work to do that no item of the reference does."""
    done = {kind for node in gold for kind in unfinished_work(node)}
    return any(unfinished_work(node) - done for node in found)


def restates(found: Node, gold: Node) -> bool:
    """Decide whether a response leaves work to do that its reference does not.

    If the reference is a plain number, letters are such work (x - x for 0), and so is a function or
    constant (log_2 8 for 3), unless the reference is a decimal that rounds its value (6.283 for
    2 pi). So is a ratio of equal numbers (1:1 for 1).
    """
    work = unfinished_work(found)
    if work and work - unfinished_work(gold):
        return True
    if is_numeral(gold) and has_op(found, "sym"):
        return True
    if gold.op == "degree" and PI in walk(found):
        # An angle in radians is a finished answer.
        return False
    if gold.op == "num" and found.op == "ratio" and len(set(found.args)) == 1:
        return True
    if not is_numeral(gold) or (has_op(gold, "dec") and _is_rounding(gold, found)):
        return False
    return any(
        part.op == "fn" or (part.op == "const" and part.value != "inf") for part in walk(found)
    )


def _is_rounding(gold: Node, found: Node) -> bool:
    """Decide whether a decimal differs from the value that it may round."""
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
    """Decide whether a product is a decimal times a power of ten."""
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
