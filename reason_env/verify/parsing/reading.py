r"""Parses the text of an answer into a tree, also if a sentence surrounds it.

Mathematics between dollar signs comes first. In a sentence, the answer is the part after its last
"is" or "equals", or its only number; nothing else is tried. A sentence gives no answer if it has
another number before that part which it does not deny, or if it denies or changes the answer
(`CHANGES`).
"""

import functools
import re

from reason_env.verify.parsing.grammar import parse_answer
from reason_env.verify.parsing.literals import read_number
from reason_env.verify.parsing.normalizing import UnknownCommandError, UnreadableError
from reason_env.verify.parsing.units import is_unit
from reason_env.verify.parsing.words import CHANGES, PROSE
from reason_env.verify.tree import Node

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_BOX = re.compile(r"\\+(?:boxed|fbox)\s*\{")
_WORD = re.compile(r"[A-Za-z]{2,}")
_NOT_PROSE = frozenset("and or percent percentage pct degrees degree".split())
_LEAD = re.compile(r".*\b(?P<copula>is|are|it's|equals|equal to)\s+(?=[^a-z]|[a-z]\b)", re.DOTALL)
_TAIL = re.compile(r"\s+(?:is|are|as)\s+(?:the|our|an|a)\s+\w+\s*\.?$|\s*\.\s*$")


@functools.lru_cache(maxsize=4096)
def read(text: str, *, is_reference: bool = False) -> Node | None:
    r"""Parse an answer; None if the text is not readable as mathematics.

    A reference may be a longer sentence than a response: its last piece of mathematics counts.

    >>> read("Therefore $x \\geq 5$ is the solution.").value
    '>='
    """
    for candidate in _candidates(inner_text(text), is_reference):
        try:
            return parse_answer(candidate)
        except (UnreadableError, RecursionError):
            continue
    return None


def is_unknown(text: str) -> bool:
    """Decide whether a text is unreadable only because of an unknown command."""
    try:
        parse_answer(text)
    except UnknownCommandError:
        return True
    except (UnreadableError, RecursionError):
        return False
    return False


def inner_text(text: str) -> str:
    r"""Replace boxes inside an answer by plain groups: `-\boxed{7}` is -7, not 7."""
    return _BOX.sub("{", text) if "box" in text else text


def _candidates(text: str, is_reference: bool) -> list[str]:
    lead = _LEAD.match(text) if len(text) < 2000 else None
    segments = (
        list(_SEGMENT.finditer(text)) if "$" in text or "\\(" in text or "\\[" in text else []
    )
    if segments:
        outside = _WORD.findall(_SEGMENT.sub(" ", text))
        if not any(_is_prose(word) for word in outside):
            return [text]
        if lead and lead.end() >= segments[-1].end():
            return _after(lead, text)
        return _last_segment(segments, text, is_reference)
    return [*_only_number(text), text, *(_after(lead, text) if lead else ())]


def _after(lead: re.Match[str], text: str) -> list[str]:
    """Take what follows the last "is", unless a number before it is not denied."""
    start, copula = 0, lead.start("copula")
    numbers = list(_LOOSE_NUMBER.finditer(text, 0, copula))
    for number in numbers:
        is_renamed = len(numbers) == 1 and text[number.end() : copula].strip() == "which"
        if not is_renamed and not _NEGATION.search(text, start, number.start()):
            return []
        start = number.end()
    if _DENIAL.search(text, start):
        return []
    return [text[lead.end() :], _TAIL.sub("", text[lead.end() :])]


def _last_segment(segments: list[re.Match[str]], text: str, is_reference: bool) -> list[str]:
    """Take the last piece of mathematics of a sentence, unless the sentence gives another one."""
    values = [next(group for group in found.groups() if group is not None) for found in segments]
    gap = text[segments[-2].end() : segments[-1].start()] if len(segments) > 1 else " is "
    is_only = _COPULA.search(gap) and not any(read_number(value) for value in values[:-1])
    rest = " ".join(_WORD.findall(text, segments[-1].end())[:3]).lower()
    clause = text[segments[-2].end() if len(segments) > 1 else 0 : segments[-1].start()]
    is_denied = _DENIAL.search(f"{clause} {rest}") or CHANGES & set(rest.split())
    if not is_reference and (is_denied or not is_only):
        return []
    return [values[-1], values[-1].rsplit("=", 1)[-1]]


def _only_number(text: str) -> list[str]:
    """Take the number of a sentence that has exactly one and does not deny or change it."""
    words = {word.lower() for word in _WORD.findall(text)}
    numbers = _NUMBER.findall(text)
    is_sentence = any(_is_prose(word) for word in words) and " " in text.strip()
    if len(numbers) != 1 or len(text) > 400 or not is_sentence:
        return []
    copula = _last_copula(text)
    at = text.index(numbers[0])
    nearby = _WORD.findall(text, min(copula, at), at) + _WORD.findall(text, at)[:2]
    if (
        _DENIAL.search(text)
        or CHANGES & {word.lower() for word in nearby}
        or _OPERATORS.search(text)
    ):
        return []
    return [numbers[0].replace(",", ".") if numbers[0].count(",") == 1 else numbers[0]]


def _last_copula(text: str) -> int:
    return max((found.end() for found in _COPULA.finditer(text)), default=0)


_NUMBER = re.compile(r"(?<![\w.,+*/^=<>-])-?[0-9]+(?:[.,][0-9]+)*(?:\s?\\?%)?(?![\w+*/^=<>(\[])")
_OPERATORS = re.compile(r"[=+*/^<>(){}\[\]|]|\\(?!%)")
_DENIAL = re.compile(
    r"\b(?:not|no|never|cannot|neither|nor|wrong|false|incorrect|unless|except|without|impossible"
    r"|unknown|doubt|nobody|if|or)\b|n't\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
_LOOSE_NUMBER = re.compile(r"(?<![\w(\[{^_.,=<>+*/-])-?[0-9][0-9.,]*")
_COPULA = re.compile(r"\b(?:is|are|was|be|it's|equals|equal to|gives?|has|have)\b|:|=")


def _is_prose(word: str) -> bool:
    lower = word.lower()
    return lower not in _NOT_PROSE and not is_unit(lower) and (len(lower) > 2 or lower in PROSE)
