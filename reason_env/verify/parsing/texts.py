r"""Compares answers that are words: names, yes and no, odd and even, letters of a multiple choice.

Whole words must be equal, without regard to case; `\text{}` and the parentheses around a choice are
layout. Part of a sentence does not match the sentence, or "the" would match many references.
"""

import functools
import re

from reason_env.verify.parsing.words import CONDITION, FILLERS, FUNCTIONS, PROSE, WORDS

_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|bf|it|sf))\s*\{([^{}]*)\}"
)
_LAYOUT = re.compile(r"\\(?:left|right|quad|qquad|[,;:! ])|[${}~]")
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|\S", re.UNICODE)
_PUNCTUATION = frozenset(",;:.!?-()")
_QUOTES = frozenset("'\"\u2018\u2019\u201c\u201d")
_CHOICE = re.compile(
    r"[\(\[]?\s*(?:(?i:option|choice|answer)\s*:?\s*)?[\(\[]?([A-Ha-h])[\)\]]?\s*\.?"
)
_TEXT = re.compile(r"[\w\s.,;:'\"!?()\-]+", re.UNICODE)
_NOTHING = frozenset(
    ("no solution", "no solutions", "none", "empty set", "the empty set", "no real solution",
     "no real solutions", "does not exist", "dne", "no value", "no values")
)  # fmt: skip
_SHORT_WORDS = frozenset(("yes", "no", "odd", "all", "one", "two", "six", "ten", "may", "red"))
_INFINITE = frozenset(
    ("infinitely many", "infinite", "infinitely many solutions", "infinity", "infty")
)
_REALS = frozenset(
    ("all real numbers", "all reals", "real numbers", "any real number", "the reals")
)
_PHRASE = re.compile(r"\\?[a-z][a-z ,.'()-]*")
_SIZE = re.compile(r"\\(?:left|right|[,;:! ])")
_SIGNS = {
    r"\emptyset": "nothing", r"\varnothing": "nothing", "\u2205": "nothing", r"\{\}": "nothing",
    "{}": "nothing", r"\mathbb{R}": "reals", r"(-\infty,\infty)": "reals", "\u211d": "reals",
    r"(-\infty,+\infty)": "reals",
}  # fmt: skip
_VALUED_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer)\s*:?\s*)?"
    r"(?:\(([A-H])\)\s*[:.]?\s*([^()]{1,40})|([A-H])[.:)]\s*(\S.{0,80})"
    r"|([A-H])\s+[-\u2013\u2014]\s+([A-Za-z]{3}.{0,80}))",
    re.DOTALL,
)
_LETTERS = re.compile(r"\(?[A-H]\)?(?:\s*(?:,|;|and|&)?\s*\(?[A-H]\)?)+")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_TAKEN_BACK = re.compile(
    r"\b[A-H]\b|\b(?:not|no|or|and|wrong|false|maybe|isn't|never)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"\b(?:is|are|and|or)\b|[,;]")
_LAST_WORD = re.compile(r".+\b(?:is|are)\s+(?:an?\s+|the\s+)?(\w+)", re.DOTALL)
_JOINTS = re.compile(r"[,;]|\band\b|\bor\b")


@functools.lru_cache(maxsize=64)
def plain(text: str) -> str:
    r"""Strip the layout from a text.

    >>> plain(r"$\textbf{(C)}$")
    '(C)'
    """
    if "\\" in text:
        for _ in range(3):
            text, count = _WRAPPER.subn(r" \1 ", text)
            if not count:
                break
    return " ".join(_LAYOUT.sub(" ", text).split()).strip(" .")


def is_text(text: str) -> bool:
    """Decide whether an answer holds only letters, digits and punctuation, and a letter."""
    bare = plain(text)
    return bool(_TEXT.fullmatch(bare)) and any(c.isalpha() for c in bare)


def same_words(left: str, right: str) -> bool:
    """Decide whether two texts have the same words, numbers and signs in order.

    Case does not matter in long words; punctuation between words does not matter.

    >>> same_words("right angled", "Right-angled."), same_words("3 cm", "-3 cm")
    (True, False)
    """
    a, b = plain(left), plain(right)
    if a == b:
        return True
    tokens = _tokens(a), _tokens(b)
    is_phrase = any(len(token) > 1 and token.isalpha() for token in tokens[0])
    is_equal = len(tokens[0]) == len(tokens[1]) and all(map(_same_word, *tokens))
    return is_phrase and is_equal


def same_phrase(left: str, right: str) -> bool:
    r"""Decide whether two mixtures of words and mathematics are the same text.

    >>> same_phrase(r"\\min \\text{ at } x=1", r"$\\min$ at $x=1$"), same_phrase("(", "(")
    (True, False)
    """
    return has_phrase(right) and _tokens(plain(left)) == _tokens(plain(right))


def has_phrase(text: str) -> bool:
    """Decide whether a text has a word of sentences."""
    words = _WORD.findall(_COMMAND.sub(" ", plain(text)).lower())
    return any(len(w) > 1 and (w in PROSE or w in FILLERS or w in CONDITION) for w in words)


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    ends = ["", *tokens, ""]
    return [
        token
        for before, token, after in zip(ends, tokens, ends[2:], strict=False)
        if (
            token not in _QUOTES
            and not (token in _PUNCTUATION and _is_word(before) and _is_word(after))
        )
        or (token == "-" and not before)
    ]


def _is_word(token: str) -> bool:
    """Decide whether a token is a word of English, or the end of the text."""
    is_name = token in FUNCTIONS or token.lower() in WORDS
    return not token or (len(token) > 2 and token.isalpha() and not is_name)


def _same_word(left: str, right: str) -> bool:
    """Compare two words; case matters in short ones, which may be products of variables."""
    if left == right:
        return True
    is_word = len(left) > 3 or left.lower() in _SHORT_WORDS
    return is_word and left.lower() == right.lower()


def matches_sentence(response: str, reference: str) -> bool:
    """Decide whether a response is the last word of a sentence, or reorders its list of words.

    >>> matches_sentence("odd", "The function is odd.")
    True
    >>> matches_sentence("circle and line", "line, circle")
    True
    """
    if not _SENTENCE.search(reference):
        return False
    found, gold = plain(response).lower(), plain(reference).lower()
    predicate = _LAST_WORD.fullmatch(gold)
    if predicate and predicate[1] == found and len(found) > 2:
        return True
    parts = [sorted(" ".join(p.split()) for p in _JOINTS.split(text)) for text in (found, gold)]
    return (
        len(parts[0]) > 1
        and parts[0] == parts[1]
        and all(part.isalpha() for part in "".join(parts[0]).split())
    )


def choice(text: str) -> str | None:
    """Read the letter of a multiple choice, with or without its value; None if there is none.

    >>> choice("(C)"), choice("Option B."), choice("(D) 12"), choice("E - twelve"), choice("x")
    ('C', 'B', 'D', 'E', None)
    """
    valued = _valued(text)
    if valued:
        return None if _TAKEN_BACK.search(_COMMAND.sub(" ", valued[1])) else valued[0]
    bare = plain(text)
    match = _CHOICE.fullmatch(bare)
    return match[1].upper() if match and (match[1].isupper() or "(" in text) else None


def choice_value(text: str) -> str | None:
    """Read the value after the letter of a multiple choice; None if there is none.

    >>> choice_value("(D) 12"), choice_value("D")
    ('12', None)
    """
    valued = _valued(text)
    return valued[1] if valued else None


def _valued(text: str) -> tuple[str, str] | None:
    """Split a choice into its letter and the value after it."""
    found = _VALUED_CHOICE.fullmatch(_unwrapped(text).strip(" .$"))
    if found is None:
        return None
    letter, value = (next(g for g in found.groups()[at::2] if g is not None) for at in (0, 1))
    return letter, value.strip()


def _unwrapped(text: str) -> str:
    r"""Drop `\text{}` and the like around words, but no other layout: `(A) \frac12` stays."""
    return " ".join(_WRAPPER.sub(r" \1 ", text).split()) if "\\" in text else text


def same_letters(left: str, right: str) -> bool:
    """Decide whether two texts list the same two or more choices, in any order.

    >>> same_letters("A, C", "AC"), same_letters("A", "AC"), same_letters("AC", "C")
    (True, False, False)
    """
    lists = plain(left), plain(right)
    if not (_LETTERS.fullmatch(lists[1]) and _LETTERS.fullmatch(lists[0])):
        return False
    mine, theirs = (sorted(c for c in text if c in "ABCDEFGH") for text in lists)
    return mine == theirs


def special(text: str) -> str | None:
    r"""Classify a phrase or sign as "nothing", "infinite" or "reals"; None for any other.

    >>> special(r"\emptyset"), special("no solution"), special("all real numbers")
    ('nothing', 'nothing', 'reals')
    """
    sign = _SIGNS.get("".join(_SIZE.sub("", text).split()).strip("$"))
    if sign is not None:
        return sign
    bare = plain(text).lower()
    if not _PHRASE.fullmatch(bare):
        return None
    words = " ".join(_WORD.findall(bare))
    if words in _NOTHING:
        return "nothing"
    if words in _REALS:
        return "reals"
    return "infinite" if words in _INFINITE else None
