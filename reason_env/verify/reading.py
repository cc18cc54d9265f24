r"""Reads an answer text into a tree: straight, or out of the sentence it stands in.

A box inside the text and mathematics between dollar signs are looked at first. In a sentence the
part after the last "is" or "equals" is the answer; nothing else of a sentence is ever tried.
"""

import functools
import re

from reason_env.verify.extraction import extract_answer
from reason_env.verify.nodes import Node
from reason_env.verify.normalizing import UnknownCommandError, UnreadableError
from reason_env.verify.structure import parse_answer
from reason_env.verify.units import is_unit
from reason_env.verify.words import PROSE

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{2,}")
_JOINTS_TEXT = """
    and or percent percentage pct degrees degree
"""
_JOINTS = frozenset(_JOINTS_TEXT.split())
_LEAD = re.compile(
    r".*\b(?:is|are|it's|equals|equal to|which is|that)\s+(?=[^a-z]|[a-z]\b)", re.DOTALL
)
_TAIL = re.compile(r"\s+(?:is|are|as)\s+(?:the|our|an|a)\s+\w+\s*\.?$|\s*\.\s*$")


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Node | None:
    r"""Returns the tree of an answer, or None if the text is not readable as mathematics.

    >>> read("Therefore $x \\geq 5$ is the solution.").value
    '>='
    """
    for candidate in _candidates(inner_text(text)):
        try:
            return parse_answer(candidate)
        except (UnreadableError, RecursionError):
            continue
    return None


def is_unknown(text: str) -> bool:
    """Returns whether an unreadable text may be well formed: a command was merely not known."""
    try:
        parse_answer(text)
    except UnknownCommandError:
        return True
    except (UnreadableError, RecursionError):
        return False
    return False


def inner_text(text: str) -> str:
    """Returns what the boxes inside an answer hold, where there are any."""
    for _ in range(3):
        if "boxed" not in text:
            break
        text = extract_answer(text) or ""
    return text


def _candidates(text: str) -> list[str]:
    segments = (
        list(_SEGMENT.finditer(text)) if "$" in text or "\\(" in text or "\\[" in text else []
    )
    if segments:
        outside = _WORD.findall(_SEGMENT.sub(" ", text))
        if any(_is_prose(word) for word in outside):
            lead = _LEAD.match(text) if len(text) < 2000 else None
            if lead and lead.end() >= segments[-1].end():
                return [text[lead.end() :], _TAIL.sub("", text[lead.end() :])]
            last = next(group for group in segments[-1].groups() if group is not None)
            return [last, last.rsplit("=", 1)[-1]]
        return [text]
    candidates = [text]
    tail = _LEAD.match(text) if len(text) < 2000 else None
    if tail:
        candidates.append(text[tail.end() :])
        candidates.append(_TAIL.sub("", text[tail.end() :]))
    return [*_only_number(text), *candidates]


def _only_number(text: str) -> list[str]:
    """Returns the number of a sentence that holds exactly one and does not take it back."""
    words = {word.lower() for word in _WORD.findall(text)}
    numbers = _NUMBER.findall(text)
    if len(numbers) != 1 or len(text) > 400 or words & _DENIALS or _OPERATORS.search(text):
        return []
    is_sentence = sum(_is_prose(word) for word in words) >= 1 and " " in text.strip()
    return (
        [numbers[0].replace(",", ".") if numbers[0].count(",") == 1 else numbers[0]]
        if is_sentence
        else []
    )


_NUMBER = re.compile(r"(?<![\w.,+*/^=<>-])-?[0-9]+(?:[.,][0-9]+)*(?:\s?\\?%)?(?![\w+*/^=<>(\[])")
_OPERATORS = re.compile(r"[=+*/^<>(){}\[\]|]|\\(?!%)")
_DENIALS_TEXT = """
    not no never cannot neither wrong less more least most than about approximately between or if
    unknown impossible except without false
"""
_DENIALS = frozenset(_DENIALS_TEXT.split())


def _is_prose(word: str) -> bool:
    lower = word.lower()
    return lower not in _JOINTS and not is_unit(lower) and (len(lower) > 2 or lower in PROSE)
