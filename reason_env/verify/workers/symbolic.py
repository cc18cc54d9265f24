# pyright: basic, reportMissingTypeStubs=false
# sympy and math-verify have no complete types: basic mode for this file.
"""Comparisons that only a worker runs: sympy on trees, and math-verify on LaTeX.

Sympy never parses text: its objects are built from trees, within bounds on their size. It decides
what identity testing cannot: integrals, sums, limits, derivatives and matrix powers. math-verify
decides references with commands that the reader does not know. Its timeout is off, because that
needs signals of the main thread, and so is its extraction of plain expressions, which would pass
text to `parse_expr`.
"""

from collections.abc import Callable
from typing import Any

import math_verify
import sympy

from reason_env.verdict import Outcome
from reason_env.verify.comparing import named
from reason_env.verify.parsing import read
from reason_env.verify.tree import Node, UndefinedError, rational, symbols

# Any: its annotation lacks the None that turns the timeout off.
_parse: Any = math_verify.parse
_LATEX = (math_verify.LatexExtractionConfig(),)
MAX_EXPONENT = 1000

_CANNOT_TELL = (UndefinedError, TypeError, ValueError, NotImplementedError, AttributeError)
"""What sympy raises for operands that do not fit, such as the sine of a matrix."""

Decision = tuple[Outcome, str]


def warm_up() -> None:
    """Load the tables that math-verify and sympy build at their first use."""
    decide(r"\int_0^1 2x dx", "1")
    decide(r"\mho(\frac{x}{2})", r"\mho(x/2)")


def decide(response: str, reference: str) -> Decision:
    """Compare two answer texts; return outcome and reason."""
    left, right = read(response), read(reference)
    if left is not None and right is not None:
        return _by_sympy(left, right)
    gold, found = _parsed(reference), _parsed(response)
    if not gold or not found:
        return Outcome.INCORRECT, "not readable as mathematics"
    is_equal = math_verify.verify(gold, found, timeout_seconds=None, raise_on_error=True)
    return (Outcome.CORRECT if is_equal else Outcome.INCORRECT), "math-verify"


def by_math_verify(response: str, reference: str) -> Decision:
    """Compare a whole response by math-verify alone, which also extracts the answer."""
    found: list[Any] = _parse(response, _LATEX, parsing_timeout=None, raise_on_error=True)
    is_equal = math_verify.verify(_parsed(reference), found, timeout_seconds=None)
    return (Outcome.CORRECT if is_equal else Outcome.INCORRECT), "math-verify"


def _parsed(text: str) -> list[Any]:
    wrapped = text if "$" in text else f"${text}$"
    parsed: list[Any] = _parse(
        wrapped, _LATEX, parsing_timeout=None, raise_on_error=True, fallback_mode="no_fallback"
    )
    return parsed


def _by_sympy(left: Node, right: Node) -> Decision:
    found, gold = named(left), named(right)
    if found is None or gold is None:
        return Outcome.INCORRECT, "not equal"
    try:
        difference = build(found.value) - build(gold.value)
        done = sympy.simplify(difference.doit())
    except _CANNOT_TELL as error:
        return Outcome.INCORRECT, f"sympy cannot tell ({type(error).__name__})"
    is_zero = done.is_zero_matrix if isinstance(done, sympy.MatrixBase) else done == 0
    return (Outcome.CORRECT if is_zero else Outcome.INCORRECT), "sympy"


def build(node: Node) -> Any:
    """Build the sympy object of a tree.

    Raises:
        UndefinedError: An operation has none, or a power is too large.
    """
    if node.op == "sym":
        return sympy.Symbol(str(node.value), real=True)
    exact = rational(node)
    if exact is not None:
        return sympy.Rational(exact.numerator, exact.denominator)
    if node.op == "const":
        return _CONSTANTS[str(node.value)]
    if node.op in ("sum", "prod", "int", "lim"):
        return _bound(node)
    if node.op == "matrix":
        return _matrix(node)
    if node.op == "deriv" and not symbols(node.args[1]) <= symbols(node.args[0]):
        # The derivative of another letter, dy/dx, is not 0.
        raise UndefinedError("the derivative of an unknown function")
    parts = [build(part) for part in node.args]
    if node.op == "pow" and parts[1].is_number and abs(parts[1]) > MAX_EXPONENT:
        raise UndefinedError("a power too large")
    maker = _MAKERS.get(node.op)
    if node.op == "fn":
        maker = _FUNCTIONS.get(str(node.value))
    if maker is None:
        raise UndefinedError(node.op)
    return maker(*parts)


def _matrix(node: Node) -> Any:
    assert isinstance(node.value, int), "a matrix holds its number of columns"
    entries = [build(part) for part in node.args]
    return sympy.Matrix(len(entries) // node.value, node.value, entries)


def _bound(node: Node) -> Any:
    body, lower, upper = node.args
    variable = sympy.Symbol(str(node.value), real=True)
    if node.op == "lim":
        if lower.op == "call":
            return sympy.Limit(build(body), variable, build(lower.args[0]), str(lower.value))
        return sympy.Limit(build(body), variable, build(lower), "+-")
    if lower.op == "set" or upper.op == "set":
        raise UndefinedError("no limits")
    maker = {"sum": sympy.Sum, "prod": sympy.Product, "int": sympy.Integral}[node.op]
    return maker(build(body), (variable, build(lower), build(upper)))


def _product(*factors: Any) -> Any:
    value = factors[0]
    for factor in factors[1:]:
        value = value * factor
    return value


def _sum(*terms: Any) -> Any:
    value = terms[0]
    for term in terms[1:]:
        value = value + term
    return value


_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}
_MAKERS: dict[str, Callable[..., Any]] = {
    "add": _sum,
    "mixed": _sum,
    "mul": _product,
    "div": lambda a, b: a / b,
    "ratio": lambda a, b: a / b,
    "neg": lambda a: -a,
    "pow": lambda a, b: a**b,
    "root": lambda a, b: sympy.real_root(a, b) if a.is_number else a ** (1 / b),
    "fact": sympy.factorial,
    "percent": lambda a: a / 100,
    "degree": lambda a: a * sympy.pi / 180,
    "deriv": sympy.Derivative,
    "quantity": lambda a: a,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(sympy, name)
    for name in "sin cos tan cot sec csc sinh cosh tanh coth sqrt floor".split()
} | {
    "ln": sympy.log,
    "abs": sympy.Abs,
    "binom": sympy.binomial,
    "ceil": sympy.ceiling,
    "arcsin": sympy.asin,
    "arccos": sympy.acos,
    "arctan": sympy.atan,
    "max": sympy.Max,
    "min": sympy.Min,
    "det": lambda matrix: matrix.det(),
}
