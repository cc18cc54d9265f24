"""What runs in the worker only: math-verify on two answers, without its clock and its expressions.

math-verify's own timeouts are off (they need signals of the main thread); its plain-expression
extraction is off too, because that one hands the text to `parse_expr`. Both sides are read as LaTeX.
"""

from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from reason_env.verdict import Outcome
from reason_env.verify.options import GradeOptions

_LATEX = (LatexExtractionConfig(),)


def warm_up() -> None:
    """Loads the tables that math-verify and sympy build at first use."""
    decide(r"\frac{x}{2}", r"x/2", GradeOptions())


def decide(response: str, reference: str, options: GradeOptions) -> tuple[Outcome, str]:
    """Returns CORRECT or INCORRECT for two answer texts, and which rule said so."""
    del options
    gold, found = _parsed(reference), _parsed(response)
    if not gold or not found:
        return Outcome.INCORRECT, "not readable as mathematics"
    is_equal = verify(gold, found, timeout_seconds=None, raise_on_error=True)
    return (Outcome.CORRECT if is_equal else Outcome.INCORRECT), "math-verify"


def _parsed(text: str) -> list[Any]:
    wrapped = text if "$" in text else f"${text}$"
    return parse(wrapped, _LATEX, parsing_timeout=None, raise_on_error=True, fallback_mode="no_fallback")  # pyright: ignore[reportArgumentType]
