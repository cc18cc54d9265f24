r"""Extracts the final answer from a response in one scan, linear in its length; never raises.

The last `\boxed{...}` or `\fbox{...}` counts, also without braces (`\boxed 7`). If the last box is
open, there is no answer: neither another number of the text nor an earlier box replaces it. Boxes
that only names, units, commas, "and" or "or" separate form one list, unless they are equal. Without
a box, the last `####` line counts, then the value in the sentence after the last "final answer";
options may put markers before boxes, and name others.
Text inside `<think>...</think>` or after an unclosed `<think>` is ignored; so is the text before a
`</think>` that the prompt opened.
"""

import collections
import re
from typing import NamedTuple

from reason_env.verify.options import DEFAULT, GradeOptions
from reason_env.verify.parsing import is_unit, value_of_sentence

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_BOX_OR_BRACE = re.compile(
    r"\\+(?:boxed|fbox)\s*\{"
    r"|\\+(?:boxed|fbox)(?:[ \t]+(?=-?[0-9A-Za-z])|(?=[0-9]))(?P<bare>-?[0-9][0-9.,]*[0-9]|-?[0-9]"
    r"|[A-Za-z](?![A-Za-z]))"
    r"|\\.|[{}]",
    re.DOTALL,
)
_GAP_PIECE = re.compile(
    r"[\s$,;~]+|\\[\]\[(),;!: ]|\\q?quad\b|\\(?:text|mbox|mathrm)\s*\{([^{}]{0,40})\}"
    r"|[A-Za-z](?:_\{?\w{1,4}\}?)?\s?=|([A-Za-z]+)"
)
_LABEL = re.compile(r"(?<![A-Za-z\\])([A-Za-z](?:_\{?\w{1,4}\}?)?)\s*=\s*\$?\s*$")
_REFERENCE_GAP = re.compile(r"[^A-Za-z0-9]*|(?!.*\d).*\b(?:and|or)\b.*", re.DOTALL)
_PERCENT = re.compile(r"[\s$]{0,3}(?:\\?%|percent\b|pct\b)")
_UNIT = re.compile(
    r"[\s$]{0,3}(\\(?:mathrm|text)\s*\{[~\s\\,]*([A-Za-z]+)[^{}]{0,30}\}(?:\^\{?-?[0-9]\}?)?)"
)
_ENDS_IN_CONNECTIVE = re.compile(r"\b(?:and|or)[\s$~}]*(?:[A-Za-z]\s?=\s*)?\$?$")
_CONNECTIVE = re.compile(r",|;|\b(?:and|or)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z<*\[]|\s*$)|<\||[\u3002\u0964]")
_CONCLUSION = re.compile(
    r"\b(?:therefore|thus|hence|so|donc|ainsi|par cons\u00e9quent|la r\u00e9ponse est)\b[,:]?\s"
    r"|(?:\u56e0\u6b64|\u6240\u4ee5|\u7efc\u4e0a|\u7b54\u6848[\u662f\u4e3a]?|\u7b54[:\uff1a])[,:\uff0c\uff1a]?"
    r"|(?:\u0625\u0630\u0646|\u0644\u0630\u0644\u0643|\u0648\u0628\u0627\u0644\u062a\u0627\u0644\u064a"
    r"|\u0627\u0644\u062c\u0648\u0627\u0628|\u0627\u0644\u0625\u062c\u0627\u0628\u0629)[\u060c:]?\s"
    r"|(?:\u0907\u0938\u0932\u093f\u090f|\u0905\u0924\u0903|\u0905\u0924:|\u0909\u0924\u094d\u0924\u0930)[,:]?\s",
    re.IGNORECASE,
)
"""Words before a conclusion: English, French, Chinese, Arabic, Hindi."""
_REASON = re.compile(
    r"(?:option|choice)?\s*\(?([A-J])\)?(?:[.*$]*$|[,;]?\s+(?:because|since|as)\b)", re.IGNORECASE
)
_OTHER_CHOICE = re.compile(r"(?<![\w$\\])[A-J](?![\w'])")
_LONE_CHOICE = re.compile(r"\\text\{\(?[A-J]\)?\}|\(?[A-J][.:)]\s[^\n]{1,200}")
_MAX_GAP = 60
"""Characters between two boxes of one list."""


def extract_answer(
    response: str, options: GradeOptions = DEFAULT, *, is_reference: bool = False
) -> str | None:
    r"""Extract the text of the final answer; None if there is none.

    In a reference, any punctuation may join two boxes, the last box may be unclosed, and a percent
    sign or a unit after the box belongs to it.

    >>> extract_answer(r"First \boxed{3}. No: \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    >>> extract_answer("3 + 4 = 7\n#### 7")
    '7'
    >>> extract_answer(r"<think>\boxed{7}</think> I do not know.") is None
    True
    """
    text = _outside_thoughts(response)
    found = _stated(text, options, is_reference)
    if options.choices:
        return _choice(found if found else text if found is None else "", is_alone=found is None)
    return found or None


def _stated(text: str, options: GradeOptions, is_reference: bool) -> str | None:
    """Find the answer where the options say that it stands; "" if it stands there unreadably."""
    first = -1
    if options.boxes != "never":
        first, other = text.find("\\boxed"), text.find("\\fbox")
        if other >= 0:
            first = min(first, other) if first >= 0 else other
    if first >= 0 and options.boxes == "first":
        return _boxed(text, first, is_reference) or ""
    for marker in options.markers:
        answer = _after_marker(text, marker)
        if answer is not None:
            is_sentence = marker != "####" and not marker.startswith("<") and not options.choices
            return value_of_sentence(answer) if is_sentence else answer
    if first >= 0:
        return _boxed(text, first, is_reference) or ""
    return _conclusion(text) if options.conclusion else None


def _after_marker(text: str, marker: str) -> str | None:
    if marker == "####":
        return _after_hashes(text)
    return _in_tag(text, marker) if marker.startswith("<") else _after_phrase(text, marker)


def _in_tag(text: str, tag: str) -> str | None:
    """Take what the last tag holds: its last box, or else all of it, to the end if unclosed."""
    last = _last_match(re.compile(re.escape(tag), re.IGNORECASE), text)
    if last is None:
        return None
    end = re.compile(re.escape(f"</{tag[1:]}"), re.IGNORECASE).search(text, last.end())
    inner = text[last.end() : end.start() if end else len(text)].strip()
    box = inner.find("\\boxed")
    return inner if box < 0 else _boxed(inner, box, is_reference=False) or ""


def _choice(text: str, *, is_alone: bool) -> str | None:
    r"""Reduce an answer to its choice letter, if it names one; with `is_alone`, None otherwise.

    >>> _choice("(C), because 7 is odd", is_alone=False), _choice("A or B", is_alone=False)
    ('C', 'A or B')
    >>> _choice("C. 12", is_alone=True), _choice("A dog has 4 legs.", is_alone=True)
    ('C. 12', None)
    """
    text = text.strip(" \t\r\n*$")
    reason = _REASON.match(text)
    if reason and not _OTHER_CHOICE.search(text, reason.end()):
        return reason[1].upper()
    return None if is_alone and not _LONE_CHOICE.fullmatch(text) else text or None


def _outside_thoughts(text: str) -> str:
    if "think" not in text and "THINK" not in text and "Think" not in text:
        return text
    pieces: list[str] = []
    start, hidden = 0, False
    for tag in _THINK.finditer(text):
        if not tag[1] and not hidden:
            pieces.append(text[start : tag.start()])
        hidden = not tag[1]
        start = tag.end()
    if not hidden:
        pieces.append(text[start:])
    return "\n".join(pieces)


class _Box(NamedTuple):
    """Where a box begins, its content, and where it ends."""

    start: int
    left: int
    right: int
    end: int


def _boxed(text: str, first: int, is_reference: bool) -> str | None:
    stack: list[int] = []
    boxes: list[_Box] = []
    for token in _BOX_OR_BRACE.finditer(text, first):
        mark = token[0]
        if token["bare"]:
            boxes.append(_Box(token.start(), *token.span("bare"), token.end()))
        elif mark == "{":
            stack.append(-1)
        elif mark == "}":
            start = stack.pop() if stack else -1
            if start >= 0:
                left = text.index("{", start) + 1
                boxes.append(_Box(start, left, token.start(), token.end()))
        elif len(mark) > 2:
            stack.append(token.start())
    is_open = bool(stack) and max(stack) >= 0 and (not boxes or max(stack) > boxes[-1].start)
    if boxes and not is_open:
        return _joined(text, boxes, is_reference).strip() or None
    return _unclosed(text, is_reference)


def _unclosed(text: str, is_reference: bool) -> str | None:
    r"""Take the content of an unclosed box: up to an escaped brace, or all of it in a reference."""
    at = max(text.rfind("boxed{"), text.rfind("fbox{"))
    rest = text[text.index("{", at) + 1 :] if at >= 0 else ""
    end = rest.find("\\}")
    if end >= 0 and "{" not in rest[:end]:
        return rest[:end].strip() or None
    return rest.strip() or None if is_reference else None


def _joined(text: str, boxes: list[_Box], is_reference: bool) -> str:
    """Join the last box with the boxes before it that belong to one list."""
    last = boxes[-1]
    if len(boxes) == 1:
        return text[last.left : last.right] + (_belonging(text, last) if is_reference else "")
    parts = [last]
    for box in reversed(boxes[:-1]):
        if box.start >= parts[-1].start:
            continue
        gap = text[box.end : parts[-1].start]
        if len(gap) > _MAX_GAP or not _is_list_gap(gap, is_reference):
            break
        parts.append(box)
    parts.reverse()
    values = [text[box.left : box.right].strip() for box in parts]
    if is_reference:
        values[-1] += _belonging(text, last)
    if len(set(values)) == 1:
        return values[0]
    names = [_LABEL.search(text, max(0, box.start - _MAX_GAP), box.start) for box in parts]
    if all(names):
        values = [f"{name[1]}={value}" for name, value in zip(names, values, strict=True) if name]
    return ", ".join(values)


def _belonging(text: str, box: _Box) -> str:
    """Take the percent sign or the unit after a box."""
    if _PERCENT.match(text, box.end):
        return "" if "%" in text[box.left : box.right] else r"\%"
    unit = _UNIT.match(text, box.end)
    return unit[1] if unit and is_unit(unit[2]) else ""


def _is_list_gap(gap: str, is_reference: bool) -> bool:
    if is_reference and _REFERENCE_GAP.fullmatch(gap):
        return True
    if _ENDS_IN_CONNECTIVE.search(gap) and not _SENTENCE_END.search(gap):
        return True
    at = 0
    while at < len(gap):
        piece = _GAP_PIECE.match(gap, at)
        if piece is None or not all(map(_is_list_word, (piece[1] or piece[2] or "").split())):
            return False
        at = piece.end()
    return bool(_CONNECTIVE.search(gap))


def _is_list_word(word: str) -> bool:
    return word.lower() in ("and", "or", ",", ";") or is_unit(word)


def _after_hashes(text: str) -> str | None:
    at = text.rfind("####")
    if at < 0:
        return None
    end = text.find("\n", at)
    return text[at + 4 : end if end >= 0 else len(text)].strip(" \t\r*#")


def _after_phrase(text: str, phrase: str) -> str | None:
    pattern = re.escape(phrase).replace(r"\ ", r"\s+").replace(":", r"[ \t*_]{0,8}[:\uff1a]")
    last = _last_match(re.compile(pattern, re.IGNORECASE), text)
    if last is None:
        return None
    rest = text[last.end() :].lstrip(" *_:\n\r\t")
    rest = re.sub(r"^(?:is\b|was\b)?\s*:?\s*", "", rest)
    return _first_sentence(rest)


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = collections.deque(pattern.finditer(text), maxlen=1)
    return last.pop() if last else None


def _first_sentence(rest: str) -> str:
    line = rest.split("\n\n", 1)[0]
    line = line if line.startswith(("\\[", "$$")) else line.split("\n", 1)[0]
    end = _SENTENCE_END.search(line)
    return (line[: end.start()] if end else line).strip(" *\t\n")


def _conclusion(text: str) -> str | None:
    last = _last_match(_CONCLUSION, text)
    return value_of_sentence(_first_sentence(text[last.end() :])) or None if last else None
