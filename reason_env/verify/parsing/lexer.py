r"""Cuts normalised answer text into tokens: LaTeX and plain ASCII become one alphabet.

Tokens are small strings: numbers (`12`, `0.5`), letters, known words (`sin`, `sqrt`, `and`),
operators, and text after a quote (`"cm`). The lexer drops layout (`\left`, `\,`, `$`), so that the
grammar never sees it. Two tables say what becomes of a piece: `_SIGNS` and `_RULES`.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from reason_env.verify.parsing.units import is_unit, unit_factor
from reason_env.verify.parsing.unreadable import UnreadableError
from reason_env.verify.parsing.words import COMMANDS, DROPPED, FUNCTIONS, POWERS, PROSE, WORDS

MAX_TOKENS = 2500

_PIECE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|bf|it|sf)|operatorname)\*?\s*"
    r"\{(?P<text>[^{}]{0,300})\}"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9}(?![A-Za-z0-9]))?|\.[0-9]+)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<sign>\\[A-Za-z]+|\\\S|<=|>=|!=|==|\*\*|->|[^\s\\])",
    re.DOTALL,
)
_CODE = re.compile(r"[_\"`@#\[\]\\]|\w\(|\('")
"""Signs of program code, which no text of an answer holds."""
_PLAIN = re.compile(r"[-+0-9.,/() ]+[A-Za-z ]*")
_ORDINALS = frozenset(("st", "nd", "rd", "th"))
_CONNECTIVES = frozenset(("and", "or"))


def tokenize(text: str) -> list[str]:
    r"""Cut normalised text into tokens.

    Raises:
        UnreadableError: There are more than `MAX_TOKENS`, or text holds signs of program code.

    >>> tokenize(r"\dfrac{3}{4}x \le 5\text{ cm}")
    ['\\frac', '{', '3', '}', '{', '4', '}', 'x', '<=', '5', '"cm']
    """
    tokens: list[str] = []
    for match in _PIECE.finditer(text):
        kind = match.lastgroup
        assert kind is not None, "every alternative of the pattern is named"
        piece = match[kind]
        if kind == "number":
            tokens.append(piece)
        elif kind == "sign":
            tokens += _SIGNS.get(piece, (piece,))
        else:
            content = _checked(piece) if kind == "text" else piece
            context = _Context(content, tokens, text, match.end())
            tokens += next(
                becomes(context) for applies, becomes in _RULES[kind] if applies(context)
            )
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError("too many tokens")
    return tokens


def _checked(content: str) -> str:
    content = content.strip(" .,~\\")
    if _CODE.search(content):
        raise UnreadableError("text with signs of code")
    return content


class _Context(NamedTuple):
    """A word or text, the tokens before it, and where it ends in the whole text."""

    text: str
    before: list[str]
    whole: str = ""
    end: int = 0

    @property
    def after(self) -> str:
        return self.whole[self.end : self.end + 2].lstrip()[:1]

    @property
    def lower(self) -> str:
        return self.text.lower()

    @property
    def follows_digit(self) -> bool:
        return bool(self.before) and self.before[-1][-1:].isdigit()

    @property
    def follows_number(self) -> bool:
        return self.follows_digit or self.before[-1:] in (["}"], ["\\%"])


def _always(_: _Context) -> bool:
    return True


def _nothing(_: _Context) -> list[str]:
    return []


def _itself(piece: _Context) -> list[str]:
    return [piece.text]


def _quoted(piece: _Context) -> list[str]:
    return ['"' + piece.text]


def _quoted_lower(piece: _Context) -> list[str]:
    return ['"' + piece.lower]


def _known_word(piece: _Context) -> list[str]:
    return [WORDS[piece.lower]]


def _power_of_ten(piece: _Context) -> list[str]:
    return ["*", "10", "^", POWERS[piece.lower]]


def _is_differential(piece: _Context) -> bool:
    return len(piece.text) == 2 and piece.text[0] == "d" and "\\int" in piece.before


def _is_number_unit(piece: _Context) -> bool:
    """Decide whether a word that is also a function or sign is a unit: `5 min`, `6 in`."""
    is_last = not piece.after or piece.after in ".,;$)}/"
    return piece.follows_digit and is_last and piece.lower in ("min", "in")


def _is_symbol(piece: _Context) -> bool:
    """Decide whether a word is the symbol of a unit, with its case: `5 kW`, `300 Pa`."""
    return piece.follows_number and len(piece.text) > 1 and unit_factor(piece.text) is not None


def _is_unit_word(piece: _Context) -> bool:
    is_word = piece.follows_number or len(piece.text) > 3
    return is_word and len(piece.text) > 1 and is_unit(piece.text)


def _is_unit_text(text: str) -> bool:
    """Decide whether a text is a product or quotient of units: `m / s ^2`."""
    words = [word for word in text.replace("/", " ").replace("*", " ").split() if word[0] != "^"]
    return bool(words) and all(word.isalpha() and is_unit(word) for word in words)


def _is_long(piece: _Context) -> bool:
    return len(piece.text) > 3 or (len(piece.text) == 3 and is_unit(piece.lower))


def _several_words(piece: _Context) -> list[str]:
    """Quote several words as one token; a connective at either end, or a power of ten, is not."""
    words = piece.text.split()
    before = [words.pop(0)] if words[0] in _CONNECTIVES else []
    if words and words[0].lower() in POWERS and piece.follows_digit:
        before = _power_of_ten(_Context(words.pop(0), piece.before))
    after = [words.pop()] if words and words[-1] in _CONNECTIVES else []
    return [*before, *(['"' + " ".join(words)] if words else []), *after]


_SIGNS: dict[str, tuple[str, ...]] = (
    {"**": ("^",), "==": ("=",), "!=": ("\\ne",), "->": ("\\to",), "$": (), "~": ()}
    | {command: (token,) for command, token in COMMANDS.items()}
    | dict.fromkeys(DROPPED, ())
)
"""Sign or command -> its tokens, none for layout; any other sign is a token itself."""

_RULES: dict[str, list[tuple[Callable[[_Context], bool], Callable[[_Context], list[str]]]]] = {
    "word": [
        (lambda p: len(p.text) == 1, _itself),
        (_is_number_unit, _quoted),
        (lambda p: p.text in FUNCTIONS, _itself),
        (lambda p: p.lower in WORDS, _known_word),
        (lambda p: p.lower in PROSE and not p.text.isupper(), _quoted_lower),
        (lambda p: p.follows_number and p.lower in _ORDINALS, _nothing),
        (lambda p: p.follows_number and p.lower in POWERS, _power_of_ten),
        (_is_differential, _itself),
        (_is_symbol, _quoted),
        (_is_unit_word, _quoted_lower),
        (_is_long, _quoted),
        (_always, lambda p: list(p.text)),
    ],
    "text": [
        (lambda p: not p.text.strip(), _nothing),
        (lambda p: p.text in FUNCTIONS and not (p.follows_digit and is_unit(p.text)), _itself),
        (lambda p: p.lower in WORDS and len(p.text) > 1, _known_word),
        (lambda p: p.follows_digit and is_unit(p.text), _quoted),
        (lambda p: any(c in p.text for c in "/*^") and _is_unit_text(p.text), _quoted),
        (lambda p: p.text in _ORDINALS, lambda _: ["1"]),
        (lambda p: len(p.text) == 1 or bool(_PLAIN.fullmatch(p.text)), lambda p: tokenize(p.text)),
        (_always, _several_words),
    ],
}
"""A word, or the content of `\\text{}` -> (condition, tokens); the first that applies decides."""
