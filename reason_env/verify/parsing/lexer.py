r"""Turns normalised answer text into tokens: LaTeX and plain ASCII become one alphabet.

Tokens are small strings: numbers (`12`, `0.5`), letters, known words (`sin`, `sqrt`, `and`),
operators, and text after a quote (`"cm`). Layout (`\left`, `\,`, `$`) is dropped here and nowhere
else.
"""

import re

from reason_env.verify.parsing.normalizing import UnreadableError
from reason_env.verify.parsing.units import is_unit
from reason_env.verify.parsing.words import COMMANDS, DROPPED, FUNCTIONS, POWERS, PROSE, WORDS

MAX_TOKENS = 2500

_TOKEN = re.compile(
    r"(?P<text>\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|bf|it|sf)|operatorname)\*?\s*"
    r"\{[^{}]{0,300}\})"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9}(?![A-Za-z0-9]))?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+|\\.)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<operator><=|>=|!=|==|\*\*|->|[^\s\\])",
    re.DOTALL,
)
_PLAIN_TEXT = re.compile(r"[^_\"`@#\[\]\\]*")
_CALL = re.compile(r"\w\(|\('")


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
    follows_number = bool(tokens) and tokens[-1][-1:].isdigit()
    if content in FUNCTIONS and not (follows_number and is_unit(content)):
        tokens.append(content)
    elif content.lower() in WORDS and len(content) > 1:
        tokens.append(WORDS[content.lower()])
    elif is_unit(content) and follows_number:
        tokens.append('"' + content)
    elif content in ("st", "nd", "rd", "th"):
        tokens.append("1")
    elif len(content) == 1 or re.fullmatch(r"[-+0-9.,/() ]+[A-Za-z ]*", content):
        tokens.extend(tokenize(content))
    elif content:
        words = content.split()
        before = [words.pop(0)] if words[0] in ("and", "or") else []
        if words and words[0].lower() in POWERS and tokens and tokens[-1][-1:].isdigit():
            before = ["*", "10", "^", POWERS[words.pop(0).lower()]]
        after = [words.pop()] if words and words[-1] in ("and", "or") else []
        tokens.extend([*before, *(['"' + " ".join(words)] if words else []), *after])
