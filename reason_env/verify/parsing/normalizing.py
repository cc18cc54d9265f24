r"""Rewrites the text of an answer into the alphabet of the lexer.

Unicode signs become LaTeX; thousands separators, repeating decimals, rates and `3 p.m.` become
notations that the lexer knows. Invisible characters (zero-width, bidirectional controls) and digits
of other scripts make a text unreadable, so that two answers that look equal are equal strings.
"""

import re
import unicodedata
from collections.abc import Callable


class UnreadableError(ValueError):
    """The text is not in the grammar of answers."""


class UnknownCommandError(UnreadableError):
    """The text may be well formed, but has a command or environment unknown to the reader."""


MAX_CHARACTERS = 10_000
_UNICODE = str.maketrans({
    "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u2264": "<=", "\u2265": ">=", "\u2260": "\\ne ",
    "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2208": "\\in ", "\u00d7": "*", "\u00b7": "*",
    "\u22c5": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00b0": "^\\circ ",
    "\u00b2": "^2", "\u00b3": "^3", "\u221a": "\\sqrt ", "\u2205": "\\emptyset ",
    "\u2248": "\\approx ", "\u00b1": "\\pm ", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "\u3000": " ", "\uff0c": ",", "\uff08": "(", "\uff09": ")", "\uff1d": "=", "\uff1e": ">",
    "\uff1c": "<", "\uff1a": ":", "\uff1b": ";", "\u2032": "'", "\u2019": "'", "\u2234": " ",
    "\u2a7d": "<=", "\u2a7e": ">=", "\u2200": "\\forall ", "\u2211": "\\sum ", "\u222b": "\\int ",
    "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u215b": "\\frac18 ", "\u00bd": "\\frac12 ",
    "\u00bc": "\\frac14 ", "\u00be": "\\frac34 ", "\u2219": "*", "\u211d": "\\mathbb{R}",
    "\u03b8": "\\theta ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u20ac": " euro ",
    "\u00a3": " pound ", "\u2220": "\\angle ", "\u25b3": "\\triangle ", "\u2192": "\\to ",
} | {chr(0x2460 + digit): f" {digit + 1} ;" for digit in range(9)})  # fmt: skip
"""Sign -> its LaTeX or ASCII; circled digits number the parts of an answer."""
_THOUSANDS = re.compile(r"(?<=[0-9])(?: ?\{ ?, ?\}|,\\! ?|\\[!,;:])(?=[0-9]{3}(?![0-9]))")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=[0-9])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z(\[{}\])])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,30})\.([0-9]{0,30})(?:\\(?:overline|bar|dot)\{([0-9]{1,30})\}|\(([0-9]{1,30})\))"
)
_ONE_GROUPED = re.compile(
    r"\A[^0-9()\[\]{}]*[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?[^0-9()\[\]{}]*(?:\^[23])?\Z"
)
_SQUARE_METERS = re.compile(r"(?<=[0-9])\s?m(\^[23])(?=\s*\.?$)")
_RATE = re.compile(
    r"(?<=[0-9 ])((?:km|cm|mm|m|ft|mi|kg|mg|g|L|l)/(?:s|h|hr|min|sec|L|l|m|cm))"
    r"(\^\{?[23]\}?)?(?=\s*\$?$)"
)
_HALF_DAY = re.compile(r"(?<=[0-9] )([ap])\.m\.?(?=\s*$)")
_STRAY_POINT = re.compile(r"(?<=[}\w])\.(?=\s*[\])])")
_GLUED = re.compile(r"(?<=[0-9)}])(and|or)(?=[A-Z(\\])")
_SUPERSCRIPT = re.compile(r"<(su[pb])>([^<>]{1,40})</su[pb]>")


def _superscript(match: re.Match[str]) -> str:
    return ("^{" if match[1] == "sup" else "_{") + match[2] + "}"


def _repeating_as_fraction(match: re.Match[str]) -> str:
    r"""Convert `0.1\overline{6}` to the fraction that it equals."""
    whole, fixed, cycle = match[1], match[2], match[3] or match[4]
    bottom = 10 ** len(fixed) * (10 ** len(cycle) - 1)
    top = int((whole + fixed + cycle) or "0") - int((whole + fixed) or "0")
    return f"(\\frac{{{top}}}{{{bottom}}})"


def _grouped(match: re.Match[str]) -> str:
    """Remove the commas of a grouped number, unless nothing else surrounds it: it may be a list."""
    text = match[0]
    bare = text.replace(",", "")
    return text if bare.isdigit() else bare


_RULES: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    ("<su", _SUPERSCRIPT, _superscript),
    ("overline", _REPEATING, _repeating_as_fraction),
    (".", _REPEATING, _repeating_as_fraction),
    (".", _STRAY_POINT, ""),
    ("or", _GLUED, r" \1 "),
    ("and", _GLUED, r" \1 "),
    (",", _ONE_GROUPED, _grouped),
    ("/", _RATE, r"\\text{\1}\2"),
    (".m", _HALF_DAY, r"\1m"),
    ("m^", _SQUARE_METERS, r"\\text{m}\1"),
    (",", _THOUSANDS, ""),
    ("\\", _THOUSANDS, ""),
    ("{,}", _DECIMAL_COMMA, "."),
)
"""Applied in order: a substring that must occur, a pattern, and its replacement."""


def normalized(text: str) -> str:
    """Rewrite a text into the alphabet of the lexer.

    Raises:
        UnreadableError: It is longer than `MAX_CHARACTERS`, or has characters that no answer has.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError("too long")
    if not text.isascii():
        text = _translated(text)
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    for needle, pattern, replacement in _RULES:
        if needle in text:
            text = pattern.sub(replacement, text)
    return text


_INVISIBLE = frozenset(("Cf", "Cs", "Co", "Cc"))
"""Unicode categories: format, surrogate, private use and control characters."""


def _translated(text: str) -> str:
    if any(unicodedata.category(c) in _INVISIBLE and c not in "\n\t" for c in text):
        raise UnreadableError("characters that cannot be seen")
    text = text.translate(_UNICODE)
    if any(c.isdigit() and not c.isascii() for c in text):
        raise UnreadableError("digits of another script")
    return text
