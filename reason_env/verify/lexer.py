r"""Turns answer text into tokens: LaTeX, ASCII and the usual Unicode signs become one alphabet.

Tokens are small strings: numbers (`12`, `0.5`), letters, known words (`sin`, `sqrt`, `and`),
operators, and text in quotes (`"cm"`). Layout (`\left`, `\,`, `$`) is dropped here and nowhere
else. Characters that a reader cannot see (zero-width, bidirectional controls) and digits of other
scripts make the text unreadable: two answers that look equal must not be different strings.
"""

import re
import unicodedata

from reason_env.verify.units import is_unit
from reason_env.verify.words import COMMANDS, DROPPED, FUNCTIONS, POWERS, PROSE, WORDS

MAX_TOKENS = 2500
MAX_CHARACTERS = 10_000

_UNICODE = str.maketrans(
    {
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u2264": "<=",
        "\u2265": ">=",
        "\u2260": "\\ne ",
        "\u222a": "\\cup ",
        "\u2229": "\\cap ",
        "\u2208": "\\in ",
        "\u00d7": "*",
        "\u00b7": "*",
        "\u22c5": "*",
        "\u00f7": "/",
        "\u2212": "-",
        "\u2013": "-",
        "\u00b0": "^\\circ ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u221a": "\\sqrt ",
        "\u2205": "\\emptyset ",
        "\u2248": "\\approx ",
        "\u00b1": "\\pm ",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u3000": " ",
        "\uff0c": ",",
        "\uff08": "(",
        "\uff09": ")",
        "\uff1d": "=",
        "\uff1e": ">",
        "\uff1c": "<",
        "\uff1a": ":",
        "\uff1b": ";",
        "\u2032": "'",
        "\u2019": "'",
        "\u2234": " ",
        "\u2a7d": "<=",
        "\u2a7e": ">=",
        "\u2200": "\\forall ",
        "\u2211": "\\sum ",
        "\u222b": "\\int ",
        "\u2010": "-",
        "\u2011": "-",
        "\u2044": "/",
        "\u215b": "\\frac18 ",
        "\u00bd": "\\frac12 ",
        "\u00bc": "\\frac14 ",
        "\u00be": "\\frac34 ",
        "\u2219": "*",
        "\u211d": "\\mathbb{R}",
        "\u03b8": "\\theta ",
        "\u03b1": "\\alpha ",
        "\u03b2": "\\beta ",
        "\u20ac": " euro ",
        "\u00a3": " pound ",
        "\u2220": "\\angle ",
        "\u25b3": "\\triangle ",
        "\u2192": "\\to ",
    }
    | {chr(0x2460 + digit): f" {digit + 1} ;" for digit in range(9)}
)
_TOKEN = re.compile(
    r"(?P<text>\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|bf|it|sf)|operatorname)\*?\s*"
    r"\{[^{}]{0,300}\})"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9}(?![A-Za-z0-9]))?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<operator><=|>=|!=|==|\*\*|->|[^\s\\])",
    re.DOTALL,
)
_THOUSANDS = re.compile(r"(?<=[0-9])(?: ?\{ ?, ?\}|,\\! ?|\\[!,;:])(?=[0-9]{3}(?![0-9]))")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=[0-9])")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z(\[{}\])])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,30})\.([0-9]{0,30})(?:\\overline\{([0-9]{1,30})\}|\(([0-9]{1,30})\))"
)
_PLAIN_TEXT = re.compile(r"[^_\"`@#\[\]\\]*")
_CALL = re.compile(r"\w\(|\('")
_ONE_GROUPED = re.compile(
    r"[^0-9()\[\]{}]*[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?[^0-9()\[\]{}]*(?:\^[23])?"
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


class UnreadableError(ValueError):
    """The text is not an answer that the reader knows; caught where reading began."""


class UnknownCommandError(UnreadableError):
    """The text may be well formed, but holds a command or environment that the reader does not
    know.
    """


def normalized(text: str) -> str:
    """Returns the text in the alphabet of the lexer, or raises `UnreadableError`."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError("too long")
    if not text.isascii():
        if any(
            unicodedata.category(c) in ("Cf", "Cs", "Co", "Cc") and c not in "\n\t" for c in text
        ):
            raise UnreadableError("characters that cannot be seen")
        text = text.translate(_UNICODE)
        if any(c.isdigit() and not c.isascii() for c in text):
            raise UnreadableError("digits of another script")
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    if "<su" in text:
        text = _SUPERSCRIPT.sub(lambda m: ("^{" if m[1] == "sup" else "_{") + m[2] + "}", text)
    if "overline" in text or ".(" in text or "(" in text:
        text = _REPEATING.sub(_repeating_as_fraction, text)
    text = _GLUED.sub(r" \1 ", _STRAY_POINT.sub("", text))
    if _ONE_GROUPED.fullmatch(text) and not text.replace(",", "").isdigit():
        text = text.replace(",", "")
    text = _HALF_DAY.sub(r"\1m", _RATE.sub(r"\\text{\1}\2", text))
    return _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", _SQUARE_METERS.sub(r"\\text{m}\1", text)))


def _repeating_as_fraction(match: re.Match[str]) -> str:
    r"""Returns `0.1\overline{6}` as the fraction it stands for."""
    whole, fixed, cycle = match[1], match[2], match[3] or match[4]
    bottom = 10 ** len(fixed) * (10 ** len(cycle) - 1)
    top = int((whole + fixed + cycle) or "0") - int((whole + fixed) or "0")
    return f"(\\frac{{{top}}}{{{bottom}}})"


def tokenize(text: str) -> list[str]:
    r"""Returns the tokens of normalised text.

    >>> tokenize(r"\dfrac{3}{4}x \le 5\text{ cm}")
    ['\\frac', '{', '3', '}', '{', '4', '}', 'x', '<=', '5', '"cm']
    """
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup, match[0]
        if kind == "word":
            _add_word(piece, tokens)
        elif kind == "command":
            _add_command(piece, tokens)
        elif kind == "text":
            _add_text(piece, tokens)
        elif piece not in "$~":
            tokens.append({"**": "^", "==": "=", "!=": "\\ne", "->": "\\to"}.get(piece, piece))
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError("too many tokens")
    return tokens


def _add_command(piece: str, tokens: list[str]) -> None:
    if piece not in DROPPED and not piece[1].isspace():
        tokens.append(COMMANDS.get(piece, piece))


def _add_word(piece: str, tokens: list[str]) -> None:
    lower = piece.lower()
    after_digit = bool(tokens) and (tokens[-1][-1:].isdigit() or tokens[-1] in ("}", "\\%"))
    if piece in FUNCTIONS or lower in WORDS:
        tokens.append(piece if piece in FUNCTIONS else WORDS[lower])
    elif lower in PROSE and not piece.isupper():
        tokens.append('"' + lower)
    elif after_digit and lower in ("st", "nd", "rd", "th"):
        return
    elif after_digit and lower in POWERS:
        tokens.extend(["*", "10", "^", POWERS[lower]])
    elif len(piece) == 2 and piece[0] == "d" and "\\int" in tokens:
        tokens.append(piece)
    elif (after_digit or len(piece) > 3) and is_unit(lower) and len(piece) > 1:
        tokens.append('"' + lower)
    elif len(piece) > 3 or (len(piece) == 3 and is_unit(lower)):
        tokens.append('"' + piece)
    else:
        tokens.extend(piece)


def _add_text(piece: str, tokens: list[str]) -> None:
    content = piece[piece.index("{") + 1 : -1].strip(" .,~\\")
    if not _PLAIN_TEXT.fullmatch(content) or _CALL.search(content):
        raise UnreadableError("text with signs of code")
    if content in FUNCTIONS:
        tokens.append(content)
    elif content.lower() in WORDS and len(content) > 1:
        tokens.append(WORDS[content.lower()])
    elif is_unit(content) and tokens and tokens[-1][-1:].isdigit():
        tokens.append('"' + content)
    elif content in ("st", "nd", "rd", "th"):
        tokens.append("1")
    elif len(content) == 1 or re.fullmatch(r"[-+0-9.,/() ]+", content):
        tokens.extend(tokenize(content))
    elif content:
        words = content.split()
        before = [words.pop(0)] if words[0] in ("and", "or") else []
        after = [words.pop()] if words and words[-1] in ("and", "or") else []
        tokens.extend([*before, *(['"' + " ".join(words)] if words else []), *after])
