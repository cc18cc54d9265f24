r"""Compares answers that are words: names, yes and no, odd and even, letters of a multiple choice.

Whole words must be equal, without regard to case; `\text{}` and the parentheses around a choice are
layout. Part of a sentence does not match the sentence, or "the" would match many references.
"""

import re

_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|bf|it|sf))\s*\{([^{}]*)\}"
)
_LAYOUT = re.compile(r"\\(?:left|right|quad|qquad|[,;:! ])|[${}~]")
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
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
_SIZE = re.compile(r"\\(?:left|right|[,;:! ])")
_SIGNS = {
    r"\emptyset": "nothing", r"\varnothing": "nothing", "\u2205": "nothing", r"\{\}": "nothing",
    "{}": "nothing", r"\mathbb{R}": "reals", r"(-\infty,\infty)": "reals", "\u211d": "reals",
    r"(-\infty,+\infty)": "reals",
}  # fmt: skip
_VALUED_CHOICE = re.compile(r"\(([A-H])\)\s*[:.]?\s*([^()]{1,40})")
_TAKEN_BACK = re.compile(
    r"\b[A-H]\b|\b(?:not|no|or|and|wrong|false|maybe|isn't|never)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"\b(?:is|are|and|or)\b|[,;]")
_LAST_WORD = re.compile(r".+\b(?:is|are)\s+(?:an?\s+|the\s+)?(\w+)", re.DOTALL)
_JOINTS = re.compile(r"[,;]|\band\b|\bor\b")


def plain(text: str) -> str:
    r"""Strip the layout from a text.

    >>> plain(r"$\textbf{(C)}$")
    '(C)'
    """
    if "\\" in text:
        for _ in range(3):
            text = _WRAPPER.sub(r" \1 ", text)
    return " ".join(_LAYOUT.sub(" ", text).split()).strip(" .")


def is_text(text: str) -> bool:
    """Decide whether an answer holds only letters, digits and punctuation, and a letter."""
    bare = plain(text)
    return bool(_TEXT.fullmatch(bare)) and any(c.isalpha() for c in bare)


def same_words(left: str, right: str) -> bool:
    """Decide whether two texts have the same words in order, without regard to case."""
    a, b = plain(left), plain(right)
    if a == b:
        return True
    words = _WORD.findall(a), _WORD.findall(b)
    is_phrase = any(len(word) > 1 and word.isalpha() for word in words[0])
    is_equal = len(words[0]) == len(words[1]) and all(map(_same_word, *words))
    return is_phrase and is_equal


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

    >>> choice("(C)"), choice("Option B."), choice("(D) 12"), choice("x")
    ('C', 'B', 'D', None)
    """
    bare = plain(text)
    valued = _VALUED_CHOICE.fullmatch(bare)
    if valued:
        return None if _TAKEN_BACK.search(valued[2]) else valued[1]
    match = _CHOICE.fullmatch(bare)
    return match[1].upper() if match and (match[1].isupper() or "(" in text) else None


def choice_value(text: str) -> str | None:
    """Read the value after the letter of a multiple choice; None if there is none.

    >>> choice_value("(D) 12"), choice_value("D")
    ('12', None)
    """
    valued = _VALUED_CHOICE.fullmatch(plain(text))
    return valued[2] if valued else None


def special(text: str) -> str | None:
    r"""Classify a phrase or sign as "nothing", "infinite" or "reals"; None for any other.

    >>> special(r"\emptyset"), special("no solution"), special("all real numbers")
    ('nothing', 'nothing', 'reals')
    """
    sign = _SIGNS.get("".join(_SIZE.sub("", text).split()).strip("$"))
    if sign is not None:
        return sign
    words = " ".join(_WORD.findall(plain(text).lower()))
    if words in _NOTHING:
        return "nothing"
    if words in _REALS:
        return "reals"
    return "infinite" if words in _INFINITE else None
