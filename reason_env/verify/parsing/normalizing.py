r"""Rewrites the text of an answer into the alphabet of the lexer.

Signs of Unicode become LaTeX (`signs.py`). Then `_RULES` turn thousands separators, repeating
decimals, bases in words, upright units and the like into notations that the lexer knows.
"""

import re
from collections.abc import Callable

from reason_env.verify.parsing.signs import in_ascii
from reason_env.verify.parsing.units import is_unit, unit_factor
from reason_env.verify.parsing.unreadable import UnreadableError

MAX_CHARACTERS = 10_000
_THOUSANDS = re.compile(r"(?<=[0-9])(?: ?\{ ?, ?\}|,\\! ?|\\[!,;:])(?=[0-9]{3}(?![0-9]))")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=[0-9])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z(\[{}\])])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,30})\.([0-9]{0,30})(?:\\(?:overline|bar|dot)\{([0-9]{1,30})\}|\(([0-9]{1,30})\))"
)
_GROUPED = re.compile(r"(?<![0-9,.])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])")
_SQUARE_METERS = re.compile(r"(?<=[0-9])\s?m\^\{?([23])\}?(?=\s*\.?$)")
_RATE = re.compile(
    r"(?<=[0-9 ])([A-Za-z]{1,3})/([A-Za-z]{1,3})(\^\{?[23]\}?)?(?=\s*\$?$)|"
    r"(?<=[0-9 ])\\[dt]?frac\{([a-z]{1,2})\}\{([a-z]{1,2})(\^\{?[23]\}?)?\}(?=\s*\$?$)"
)
_MICRO = re.compile(
    r"(?<=[0-9])[\s~]*(?:\\[,;: ])*\\mu\s*(?:\\(?:text|mathrm|rm)\s*\{\s*)?([mgsl])\b\s*\}?"
)
_HOURS = re.compile(r"(?<=[0-9])\s?h(?=\s?[0-9]+\s?min\b)")
_CASES_ARRAY = re.compile(
    r"\\left\s*\\\{\s*\\begin\{array\}\s*\{[lcr|\s]*\}(.*?)\\end\{array\}\s*\\right\s*\.", re.DOTALL
)
_HALF_DAY = re.compile(r"(?<=[0-9] )([ap])\.m\.?(?=\s*$)")
_STRAY_POINT = re.compile(r"(?<=[}\w])\.(?=\s*[\])])")
_GLUED = re.compile(r"(?<=[0-9)}])(and|or)(?=[A-Z(\\])")
_DOLLAR = re.compile(r"(?<!\\)\$(?=-?[0-9.])")
"""A dollar sign before a number, where it does not open mathematics."""
_BASES = {word: str(base) for base, word in enumerate(
    "two three four five six seven eight nine ten eleven twelve".split(), start=2)} | {
    "sixteen": "16", "binary": "2", "octal": "8", "decimal": "10", "hexadecimal": "16"}  # fmt: skip
_BASE_WORD = re.compile(rf"_\s*\{{?\s*(?:\\text\s*\{{)?\s*({'|'.join(_BASES)})\b\s*\}}?\s*\}}?")
_BASE_PHRASE = re.compile(
    r"(?<=[0-9A-F])[\s~]*(?:\\text\s*\{)?[\s~]*\(?(?:in )?base[\s-]*\}?\s*"
    rf"([0-9]{{1,2}}|{'|'.join(_BASES)})\)?\s*\}}?(?=[\s$.]*$)"
)
_CHOOSE = re.compile(r"\{([^{}]{1,60})\\choose\b([^{}]{1,60})\}|(\w+)\s*\\choose\s*(\w+)")
_PRIME = re.compile(r"\^\s*(?:\{\s*((?:(?:\\prime|')\s*)+)\}|(\\prime\b))")
_MODULE = re.compile(r"\b(?:np|numpy|math|sympy|cmath)\.(?=[a-z])")
_POINTLESS = re.compile(r"(?<=[0-9])\.(?=\s*[/*+^)\]}])")
_UPRIGHT = r"\\(?:text|mathrm|rm)\s*\{{[~\s\\,]*{word}[~\s]*\}}".format
_UPRIGHT_WORD = _UPRIGHT(word="[A-Za-z]{1,6}")
_UPRIGHT_UNIT = rf"{_UPRIGHT_WORD}(?:\^\{{?-?[0-9]\}}?)?"
_UPRIGHT_PRODUCT = re.compile(
    rf"{_UPRIGHT_UNIT}(?:[\s~]*(?:/|\\cdot|\\times|\*|\\,)?[\s~]*{_UPRIGHT_UNIT})+"
)
_UPRIGHT_FACTOR = re.compile(
    _UPRIGHT(word="(?P<word>[A-Za-z]{1,6})") + r"(?:\^\{?(?P<power>-?[0-9])\}?)?"
    r"|(?P<sign>/|\\cdot|\\times|\*)"
)
_UPRIGHT_FRACTION = re.compile(
    rf"(?<=[0-9}}\s~])\\[dt]?frac\s*\{{\s*{_UPRIGHT(word='([A-Za-z]{1,6})')}\s*\}}"
    rf"\s*\{{\s*{_UPRIGHT(word='([A-Za-z]{1,6})')}(?:\^\{{?([23])\}}?)?\s*\}}"
)
_UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec|textbf)\s*\{?\s*(?:\\(?:hat|vec|mathbf)\s*\{?)?\s*"
    r"(?:([ijk])(?![A-Za-z])|\\([ij])math)\s*\}?\}?"
)
_BOLD_I_OR_J = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec)\s*\{?\s*(?:\\(?:hat|vec)\s*\{?)?(?:[ij]\b|\\[ij]math)"
)
"""A bold k alone may be any vector: k is a unit vector next to i or j."""
_NEGATIVE = re.compile(r"\b[Nn]egative (?=[0-9]|inf|\\(?:infty|[dt]?frac|sqrt|pi)(?![A-Za-z]))")
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


def _upright_units(match: re.Match[str]) -> str:
    """Join units in upright letters, `m / s`, to one text; other upright words stay."""
    pieces: list[str] = []
    for factor in _UPRIGHT_FACTOR.finditer(match[0]):
        if factor["sign"]:
            pieces.append("/" if factor["sign"] == "/" else "*")
        elif not is_unit(factor["word"]):
            return match[0]
        else:
            pieces.append(factor["word"])
            if factor["power"]:
                pieces.append(f"^{factor['power']}")
    return "\\text{" + " ".join(pieces) + "}"


def _upright_quotient(match: re.Match[str]) -> str:
    return f"\\text{{{match[1]}/{match[2]}" + (f" ^{match[3]}}}" if match[3] else "}")


def _rate(match: re.Match[str]) -> str:
    """Write a quotient of units as text; leave other quotients of letters."""
    top, bottom, power = match[1] or match[4], match[2] or match[5], match[3] or match[6] or ""
    if unit_factor(top) is None or unit_factor(bottom) is None:
        return match[0]
    return f"\\text{{{top}/{bottom}}}{power}"


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
    ("math", _UPRIGHT_FRACTION, _upright_quotient),
    ("text", _UPRIGHT_FRACTION, _upright_quotient),
    ("\\math", _UPRIGHT_PRODUCT, _upright_units),
    ("\\text", _UPRIGHT_PRODUCT, _upright_units),
    ("_", _BASE_WORD, _base),
    ("base", _BASE_PHRASE, _base),
    (".", _MODULE, ""),
    (".", _POINTLESS, ""),
    ("overline", _REPEATING, _repeating_as_fraction),
    (".", _REPEATING, _repeating_as_fraction),
    (".", _STRAY_POINT, ""),
    ("or", _GLUED, r" \1 "),
    ("and", _GLUED, r" \1 "),
    ("/", _RATE, _rate),
    ("frac", _RATE, _rate),
    ("mu", _MICRO, r"\\text{u\1}"),
    ("h", _HOURS, r"\\text{h}"),
    ("{array}", _CASES_ARRAY, r"\\begin{cases}\1\\end{cases}"),
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
        text = in_ascii(text)
    if _BOLD_I_OR_J.search(text):
        text = _UNIT_VECTOR.sub(_unit_vector, text)
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if text.count("$") % 2:
        text = _DOLLAR.sub(r"\\$", text)
    for needle, pattern, replacement in _RULES:
        if needle in text:
            text = pattern.sub(replacement, text)
    return _without_grouping(text) if "," in text else text
