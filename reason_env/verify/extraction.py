r"""Extracts the final answer from a response in one scan, linear in its length; never raises.

The last complete `\boxed{...}` or `\fbox{...}` counts. If boxes are opened and none is complete,
there is no answer: another number of the text never replaces an unreadable box. Boxes joined by
"and", "or" or a comma form one list. Without a box, the last `####` line counts, then the last
"final answer is"; options may put markers before boxes, and name others. Text inside
`<think>...</think>` or after an unclosed `<think>` is ignored; so is the text before a `</think>`
that the prompt opened.

Not covered: boxes without braces (`\boxed 7`), answers announced in other languages.
"""

import collections
import re

from reason_env.verify.options import DEFAULT, GradeOptions

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_BOX_OR_BRACE = re.compile(r"\\+(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_GAP = re.compile(
    r"(?:[\s$,;]|\\[\]\[(),;!: ]|\\q?quad|\\(?:text|mbox|mathrm)\{[^{}]{0,40}\}"
    r"|[a-z](?:_\{?\w{1,4}\}?)?\s?=|[a-z]{1,12}\b){1,12}",
    re.IGNORECASE,
)
_REFERENCE_GAP = re.compile(r"[^A-Za-z0-9]*|(?!.*\d).*\b(?:and|or)\b.*", re.DOTALL)
_PERCENT = re.compile(r"[\s$]{0,3}(?:\\?%|percent\b|pct\b)")
_CONNECTIVE = re.compile(r",|;|\b(?:and|or)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z<*\[]|\s*$)|<\|")
_CONCLUSION = re.compile(r"\b(?:therefore|thus|hence|so)\b[,:]?\s", re.IGNORECASE)
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
    sign after the box belongs to it.

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
        boxes = (text.find("\\boxed"), text.find("\\fbox"))
        first = min((at for at in boxes if at >= 0), default=-1)
    if first >= 0 and options.boxes == "first":
        return _boxed(text, first, is_reference) or ""
    for marker in options.markers:
        answer = _after_marker(text, marker)
        if answer is not None:
            return answer
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


def _boxed(text: str, first: int, is_reference: bool) -> str | None:
    stack: list[int] = []
    boxes: list[tuple[int, int, int]] = []
    for token in _BOX_OR_BRACE.finditer(text, first):
        mark = token[0]
        if mark == "{":
            stack.append(-1)
        elif mark == "}":
            start = stack.pop() if stack else -1
            if start >= 0:
                boxes.append((start, text.index("{", start) + 1, token.start()))
        elif len(mark) > 2:
            stack.append(token.start())
    if boxes:
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


def _joined(text: str, boxes: list[tuple[int, int, int]], is_reference: bool) -> str:
    """Join the last box with the boxes before it that only commas or connectives separate."""
    start, left, right = boxes[-1]
    percent = _PERCENT.match(text, right + 1) if is_reference else None
    parts = [text[left:right] + (r"\%" if percent and "%" not in text[left:right] else "")]
    for before, inner, end in reversed(boxes[:-1]):
        if before >= start:
            continue
        gap = text[end + 1 : start]
        if len(gap) > _MAX_GAP or not _is_list_gap(gap, is_reference):
            break
        parts.append(text[inner:end])
        start = before
    return ", ".join(reversed(parts))


def _is_list_gap(gap: str, is_reference: bool) -> bool:
    if is_reference and _REFERENCE_GAP.fullmatch(gap):
        return True
    return bool(_GAP.fullmatch(gap) and _CONNECTIVE.search(gap))


def _after_hashes(text: str) -> str | None:
    at = text.rfind("####")
    if at < 0:
        return None
    end = text.find("\n", at)
    return text[at + 4 : end if end >= 0 else len(text)].strip(" \t\r*#")


def _after_phrase(text: str, phrase: str) -> str | None:
    pattern = re.escape(phrase).replace(r"\ ", r"\s+").replace(":", r"[ \t*_]{0,8}:")
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
    return _first_sentence(text[last.end() :]) or None if last else None
