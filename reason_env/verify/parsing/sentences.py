"""Takes the value out of a sentence that announces an answer without a box.

Only a sentence after a marker or a conclusion is read this way: "the loss increases by 100%" gives
100%. The part after its last "is" or "equals" counts, else its last mathematics between dollar
signs, else its only number. A sentence gives no value if it has another number before that part
which it does not deny, or if it denies or changes the value (`CHANGES`).
"""

import re

from reason_env.verify.parsing.literals import read_number
from reason_env.verify.parsing.units import is_unit
from reason_env.verify.parsing.words import CHANGES, PROSE

SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
WORD = re.compile(r"[A-Za-z]{2,}")
_NOT_PROSE = frozenset("and or percent percentage pct degrees degree".split())
_LEAD = re.compile(r".*\b(?P<copula>is|are|it's|equals|equal to)\s+(?=[^a-z]|[a-z]\b)", re.DOTALL)
_TAIL = re.compile(r"\s+(?:is|are|as)\s+(?:the|our|an|a)\s+\w+\s*\.?$|\s*\.\s*$")
_BEFORE = "\u6709\u4e3a\u662f\u5f97\u5171\u5230"
"""Chinese signs that may stand before a number: "there are", "is", "get", "in all"."""
_AFTER = "\u4e2a\u79cd\u4eba\u5143\u6b21\u5929\u53ea\u672c\u6761\u540d\u5c81\u7ec4\u4ef6\u5757"
"""Chinese signs that may stand after a number, which count things; others may multiply it."""
_NUMBER = re.compile(
    rf"(?:(?<=[{_BEFORE}])|(?<![\w.,+*/^=<>-]))-?[0-9]+(?:[.,][0-9]+)*(?:\s?\\?%)?"
    rf"(?:(?=[{_AFTER}])|(?![\w+*/^=<>(\[]|[.,][0-9]))"
)
_DIGITS = re.compile(r"(?:(?<![^\W\d_])|(?<=[^\x00-\x7f]))[0-9][0-9.,]*")
_OPERATORS = re.compile(r"[=+*/^<>(){}\[\]|]|\\(?!%)")
_DENIAL = re.compile(
    r"\b(?:not|no|never|cannot|neither|nor|wrong|false|incorrect|unless|except|without|impossible"
    r"|unknown|doubt|nobody|if|or|because|since|pas|ni|jamais|sans|sauf)\b|n't\b"
    r"|\u4e0d|\u975e|\u6ca1|\u8d1f|\u7ea6|\u8d85|\u6216"
    r"|\u0928\u0939\u0940|\b\u0928\b|\u0644\u064a\u0633|\b\u0644\u0627\b|\u063a\u064a\u0631",
    re.IGNORECASE,
)
"""Words that deny a value: English, French, Chinese, Hindi, Arabic."""
_NEGATION = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
_LOOSE_NUMBER = re.compile(r"(?<![\w(\[{^_.,=<>+*/-])-?[0-9][0-9.,]*")
_COPULA = re.compile(r"\b(?:is|are|was|be|it's|equals|equal to|gives?|has|have)\b|:|=")
_DECIMAL_COMMA = re.compile(r"^(-?[0-9]+),([0-9]{1,2})(?![0-9])")
MAX_CHARACTERS = 2000


def value_of_sentence(text: str) -> str:
    r"""Take the value out of a sentence; the sentence itself if it is none, or gives no value.

    >>> value_of_sentence("the overall loss increases by 100%"), value_of_sentence("x = 3, y = 5")
    ('100%', 'x = 3, y = 5')
    >>> value_of_sentence("the largest $n$ is 34"), value_of_sentence("it is not 34 or 35")
    ('34', 'it is not 34 or 35')
    """
    segments = list(SEGMENT.finditer(text)) if "$" in text or "\\(" in text or "\\[" in text else []
    outside = WORD.findall(SEGMENT.sub(" ", text)) if segments else WORD.findall(text)
    if text.isascii() and not any(is_prose(word) for word in outside):
        return text
    after = after_copula(text)
    if segments and after and len(after[0]) <= len(text) - segments[-1].start():
        return after[0]
    found = _last_segment(segments, text) if segments else _only_number(text)
    return (found or after or [text])[0]


def is_prose(word: str) -> bool:
    """Decide whether a word belongs to a sentence rather than to mathematics."""
    lower = word.lower()
    return lower not in _NOT_PROSE and not is_unit(lower) and (len(lower) > 2 or lower in PROSE)


def after_copula(text: str) -> list[str]:
    """Take what follows the last "is", unless a number before it is not denied."""
    lead = _LEAD.match(text) if len(text) < MAX_CHARACTERS else None
    if lead is None:
        return []
    start, copula = 0, lead.start("copula")
    numbers = list(_LOOSE_NUMBER.finditer(text, 0, copula))
    for number in numbers:
        is_renamed = len(numbers) == 1 and text[number.end() : copula].strip() == "which"
        if not is_renamed and not _NEGATION.search(text, start, number.start()):
            return []
        start = number.end()
    if _DENIAL.search(text, start):
        return []
    return [_TAIL.sub("", text[lead.end() :])]


def _last_segment(segments: list[re.Match[str]], text: str) -> list[str]:
    """Take the last piece of mathematics of a sentence, unless the sentence gives another one."""
    values = [next(group for group in found.groups() if group is not None) for found in segments]
    gap = text[segments[-2].end() : segments[-1].start()] if len(segments) > 1 else " is "
    is_only = _COPULA.search(gap) and not any(read_number(value) for value in values[:-1])
    rest = " ".join(WORD.findall(text, segments[-1].end())[:3]).lower()
    clause = text[segments[-2].end() if len(segments) > 1 else 0 : segments[-1].start()]
    is_denied = _DENIAL.search(f"{clause} {rest}") or CHANGES & set(rest.split())
    return [] if is_denied or not is_only else [values[-1]]


def _only_number(text: str) -> list[str]:
    """Take the number of a sentence that has exactly one and does not deny or change it."""
    numbers = _NUMBER.findall(text)
    is_one_word = text.isascii() and " " not in text.strip()
    is_only = len(numbers) == 1 == len(_DIGITS.findall(text))
    if not is_only or len(text) > 400 or is_one_word:
        return []
    copula = max((found.end() for found in _COPULA.finditer(text)), default=0)
    at = text.index(numbers[0])
    nearby = WORD.findall(text, min(copula, at), at) + WORD.findall(text, at)[:2]
    if (
        _DENIAL.search(text)
        or CHANGES & {word.lower() for word in nearby}
        or _OPERATORS.search(text)
    ):
        return []
    return [_DECIMAL_COMMA.sub(r"\1.\2", numbers[0])]
