r"""Rewrites the text of an answer into the alphabet of the lexer.

Unicode signs become LaTeX; thousands separators, repeating decimals, rates and `3 p.m.` become
notations that the lexer knows. Invisible characters (zero-width, bidirectional controls) and digits
of other scripts make a text unreadable, so that two answers that look equal are equal strings.
"""

import re
import unicodedata
from collections.abc import Callable

from reason_env.verify.parsing.units import is_unit


class UnreadableError(ValueError):
    """The text is not in the grammar of answers."""


class UnknownCommandError(UnreadableError):
    """The text may be well formed, but has a command or environment unknown to the reader."""


MAX_CHARACTERS = 10_000
_UNICODE = str.maketrans({
    "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u2264": "<=", "\u2265": ">=", "\u2260": "\\ne ",
    "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2208": "\\in ", "\u00d7": "*", "\u00b7": "*",
    "\u22c5": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00b0": "^\\circ ",
    "\u221a": "\\sqrt ", "\u2205": "\\emptyset ",
    "\u2248": "\\approx ", "\u00b1": "\\pm ", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "\u3000": " ", "\u2032": "'", "\u2019": "'", "\u2234": " ",
    "\u2a7d": "<=", "\u2a7e": ">=", "\u2200": "\\forall ", "\u2211": "\\sum ", "\u222b": "\\int ",
    "\u2010": "-", "\u2011": "-", "\u2044": "/", "\u2219": "*", "\u211d": "\\mathbb{R}",
    "\u03b8": "\\theta ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u20ac": "\\euro ",
    "\u00a3": "\\pounds ", "\u00a5": "\\yen ", "\u20b9": "\\rupee ", "\u3001": ",",
    "\u3002": ".", "\u03a9": "\\text{ohm}", "\u2126": "\\text{ohm}", "\u2261": "\\equiv ",
    "\u2102": "\\mathbb{C}", "\u2124": "\\mathbb{Z}", "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}", "\u03c6": "\\phi ", "\u03bb": "\\lambda ", "\u03bc": "\\mu ",
    "\u03c3": "\\sigma ", "\u03c9": "\\omega ", "\u03b3": "\\gamma ", "\u03b4": "\\delta ",
    "\u2014": "-", "\u2026": "\\ldots ", "\u22ef": "\\ldots ", "\u2308": "\\lceil ",
    "\u2309": "\\rceil ", "\u230a": "\\lfloor ", "\u230b": "\\rfloor ", "\u2209": "\\notin ",
    "\u27e8": "\\langle ", "\u27e9": "\\rangle ", "\u2223": "|", "\u221b": "\\sqrt[3]",
    "\u00b5": "\\mu ", "\u2103": "\\text{celsius}", "\u2109": "\\text{fahrenheit}",
    "\u2220": "\\angle ", "\u25b3": "\\triangle ", "\u2192": "\\to ",
} | {chr(0x2460 + digit): f" {digit + 1} ;" for digit in range(9)}
  | {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
  | {sign: f"\\frac{{{top}}}{{{bottom}}} " for sign, top, bottom in (
        ("\u00bd", 1, 2), ("\u00bc", 1, 4), ("\u00be", 3, 4), ("\u2153", 1, 3),
        ("\u2154", 2, 3), ("\u2155", 1, 5), ("\u2156", 2, 5), ("\u2157", 3, 5),
        ("\u2158", 4, 5), ("\u2159", 1, 6), ("\u215a", 5, 6), ("\u2150", 1, 7),
        ("\u215b", 1, 8), ("\u215c", 3, 8), ("\u215d", 5, 8), ("\u215e", 7, 8),
        ("\u2151", 1, 9), ("\u2152", 1, 10))})  # fmt: skip
"""Sign -> its LaTeX or ASCII; circled digits number the parts of an answer; full-width forms are
the ASCII signs that East Asian input methods write."""
_RAISED = dict(zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f"
                   "\u2071\u02e3", "0123456789+-nix", strict=True))  # fmt: skip
_LOWERED = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b"
                    "\u2099\u1d62\u2096\u2c7c", "0123456789+-nikj", strict=True))  # fmt: skip
_RUN_RAISED = re.compile(f"[{''.join(_RAISED)}]+")
_RUN_LOWERED = re.compile(f"[{''.join(_LOWERED)}]+")
_THOUSANDS = re.compile(r"(?<=[0-9])(?: ?\{ ?, ?\}|,\\! ?|\\[!,;:])(?=[0-9]{3}(?![0-9]))")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=[0-9])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z(\[{}\])])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,30})\.([0-9]{0,30})(?:\\(?:overline|bar|dot)\{([0-9]{1,30})\}|\(([0-9]{1,30})\))"
)
_GROUPED = re.compile(r"(?<![0-9,.])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])")
_SQUARE_METERS = re.compile(r"(?<=[0-9])\s?m\^\{?([23])\}?(?=\s*\.?$)")
_RATE = re.compile(
    r"(?<=[0-9 ])((?:km|cm|mm|m|ft|mi|kg|mg|g|L|l)/(?:s|h|hr|min|sec|L|l|m|cm))"
    r"(\^\{?[23]\}?)?(?=\s*\$?$)"
)
_HALF_DAY = re.compile(r"(?<=[0-9] )([ap])\.m\.?(?=\s*$)")
_STRAY_POINT = re.compile(r"(?<=[}\w])\.(?=\s*[\])])")
_GLUED = re.compile(r"(?<=[0-9)}])(and|or)(?=[A-Z(\\])")
_DOLLAR = re.compile(r"(?<!\\)\$(?=-?[0-9.])")
"""A dollar sign before a number, where it does not open mathematics."""
_BASES = {word: str(base) for base, word in enumerate(
    "two three four five six seven eight nine ten eleven twelve".split(), start=2)} | {
    "sixteen": "16", "binary": "2", "octal": "8", "decimal": "10", "hexadecimal": "16"}  # fmt: skip
_BASE_WORD = re.compile(rf"_\s*\{{?\s*(?:\\text\s*\{{)?\s*({'|'.join(_BASES)})\s*\}}?\s*\}}?")
_BASE_PHRASE = re.compile(
    r"(?<=[0-9A-F])[\s~]*(?:\\text\s*\{)?[\s~]*\(?(?:in )?base[\s-]*"
    rf"([0-9]{{1,2}}|{'|'.join(_BASES)})\)?\s*\}}?(?=[\s$.]*$)"
)
_CHOOSE = re.compile(r"\{([^{}]{1,60})\\choose\b([^{}]{1,60})\}|(\w+)\s*\\choose\s*(\w+)")
_PRIME = re.compile(r"\^\s*(?:\{\s*((?:(?:\\prime|')\s*)+)\}|(\\prime\b))")
_MODULE = re.compile(r"\b(?:np|numpy|math|sympy|cmath)\.(?=[a-z])")
_POINTLESS = re.compile(r"(?<=[0-9])\.(?=\s*[/*+^)\]}])")
_ROMAN = r"\\(?:text|mathrm|rm)\s*\{[~\s\\,]*([A-Za-z]{1,6})[~\s]*\}"
_ROMAN_POWER = r"(?:\^\{?(-?[0-9])\}?)?"
_ROMAN_UNITS = re.compile(
    rf"{_ROMAN}{_ROMAN_POWER}(?:[\s~]*(?:/|\\cdot|\\times|\*|\\,)?[\s~]*{_ROMAN}{_ROMAN_POWER})+".replace(
        "(-?[0-9])", "-?[0-9]"
    ).replace("([A-Za-z]{1,6})", "[A-Za-z]{1,6}")
)
_ROMAN_FRACTION = re.compile(
    rf"(?<=[0-9}}\s~])\\[dt]?frac\s*\{{\s*{_ROMAN}\s*\}}\s*\{{\s*{_ROMAN}\s*\}}"
)
_ROMAN_PIECE = re.compile(rf"{_ROMAN}{_ROMAN_POWER}|(/|\\cdot|\\times|\*)")
_UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec|textbf)\s*\{?\s*(?:\\(?:hat|vec|mathbf)\s*\{?)?\s*"
    r"(?:([ijk])(?![A-Za-z])|\\([ij])math)\s*\}?\}?"
)
_BOLD_I = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec)\s*\{?\s*(?:\\(?:hat|vec)\s*\{?)?(?:[ij]\b|\\[ij]math)"
)
_NEGATIVE = re.compile(r"\b[Nn]egative (?=[0-9])")
_PER_CENT = re.compile(r"\bper cent\b")
_TEMPERATURE = re.compile(
    r"(?:\^\s*\{?\s*\\circ\s*\}?|\b[Dd]egrees?\b)[\s~]*(?:\\[,;: ])*"
    r"(?:\\(?:text|mathrm|rm)\s*\{\s*)?(?:([Cc]elsius|C)|([Ff]ahrenheit|F))\b\s*\}?(?=[\s.$]*$)"
)
_COUNTED = re.compile(r"(?<=[0-9])\s*\(([A-Za-z]{3,}(?: [A-Za-z]+){0,3})\)(?=[\s.$]*$)")
_OHM = re.compile(r"(?<=[0-9])(?:\s|~|\\,)*\\Omega(?=[\s.$]*$)")
_SUPERSCRIPT = re.compile(r"<(su[pb])>([^<>]{1,40})</su[pb]>")


def _superscript(match: re.Match[str]) -> str:
    return ("^{" if match[1] == "sup" else "_{") + match[2] + "}"


def _temperature(match: re.Match[str]) -> str:
    return r"\text{celsius}" if match[1] else r"\text{fahrenheit}"


def _roman_units(match: re.Match[str]) -> str:
    """Join units in upright letters, `m / s`, to one text; other upright words stay."""
    pieces: list[str] = []
    for piece in _ROMAN_PIECE.finditer(match[0]):
        if piece[3]:
            pieces.append("/" if piece[3] == "/" else "*")
        elif not is_unit(piece[1]):
            return match[0]
        else:
            pieces += [piece[1], f"^{piece[2]}" if piece[2] else ""]
    return "\\text{" + " ".join(filter(None, pieces)) + "}"


def _unit_vector(match: re.Match[str]) -> str:
    return f"\\unit{match[1] or match[2]} "


def _choose(match: re.Match[str]) -> str:
    top, low = match[1] or match[3], match[2] or match[4]
    return f"\\binom{{{top}}}{{{low}}}"


def _base(match: re.Match[str]) -> str:
    return f"_{{{_BASES.get(match[1], match[1])}}}"


def _primes(match: re.Match[str]) -> str:
    return "'" * (match[1] or match[2]).replace("\\prime", "'").count("'")


def _repeating_as_fraction(match: re.Match[str]) -> str:
    r"""Convert `0.1\overline{6}` to the fraction that it equals."""
    whole, fixed, cycle = match[1], match[2], match[3] or match[4]
    bottom = 10 ** len(fixed) * (10 ** len(cycle) - 1)
    top = int((whole + fixed + cycle) or "0") - int((whole + fixed) or "0")
    return f"(\\frac{{{top}}}{{{bottom}}})"


def _without_grouping(text: str) -> str:
    """Remove the commas of grouped numbers (1,234,567) outside brackets, where commas separate."""
    pieces: list[str] = []
    start = 0
    for match in _GROUPED.finditer(text):
        before = text[: match.start()]
        if sum(before.count(c) for c in "([") <= sum(before.count(c) for c in ")]") and (
            before.count("\\{") <= before.count("\\}")
        ):
            pieces += [text[start : match.start()], match[0].replace(",", "")]
            start = match.end()
    return "".join(pieces) + text[start:] if pieces else text


_RULES: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    ("<su", _SUPERSCRIPT, _superscript),
    ("\\choose", _CHOOSE, _choose),
    ("egative", _NEGATIVE, "-"),
    ("per cent", _PER_CENT, "percent"),
    ("circ", _TEMPERATURE, _temperature),
    ("egree", _TEMPERATURE, _temperature),
    (")", _COUNTED, r" \\text{\1}"),
    ("Omega", _OHM, r"\\text{ohm}"),
    ("prime", _PRIME, _primes),
    ("'", _PRIME, _primes),
    ("math", _ROMAN_FRACTION, r"\\text{\1/\2}"),
    ("text", _ROMAN_FRACTION, r"\\text{\1/\2}"),
    ("\\math", _ROMAN_UNITS, _roman_units),
    ("\\text", _ROMAN_UNITS, _roman_units),
    ("_", _BASE_WORD, _base),
    ("base", _BASE_PHRASE, _base),
    (".", _MODULE, ""),
    (".", _POINTLESS, ""),
    ("overline", _REPEATING, _repeating_as_fraction),
    (".", _REPEATING, _repeating_as_fraction),
    (".", _STRAY_POINT, ""),
    ("or", _GLUED, r" \1 "),
    ("and", _GLUED, r" \1 "),
    ("/", _RATE, r"\\text{\1}\2"),
    (".m", _HALF_DAY, r"\1m"),
    ("m^", _SQUARE_METERS, r"\\text{m}^\1"),
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
    if _BOLD_I.search(text):
        text = _UNIT_VECTOR.sub(_unit_vector, text)
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if text.count("$") % 2:
        text = _DOLLAR.sub(r"\\$", text)
    for needle, pattern, replacement in _RULES:
        if needle in text:
            text = pattern.sub(replacement, text)
    return _without_grouping(text) if "," in text else text


_INVISIBLE = frozenset(("Cf", "Cs", "Co", "Cc"))
"""Unicode categories: format, surrogate, private use and control characters."""


def _translated(text: str) -> str:
    if any(unicodedata.category(c) in _INVISIBLE and c not in "\n\t" for c in text):
        raise UnreadableError("characters that cannot be seen")
    text = _RUN_RAISED.sub(lambda run: "^{" + "".join(map(_RAISED.__getitem__, run[0])) + "}", text)
    text = _RUN_LOWERED.sub(
        lambda run: "_{" + "".join(map(_LOWERED.__getitem__, run[0])) + "}", text
    )
    text = text.translate(_UNICODE)
    if any(c.isdigit() and not c.isascii() for c in text):
        raise UnreadableError("digits of another script")
    return text
