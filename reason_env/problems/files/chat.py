r"""Takes questions out of chat prompts: lists of messages with a role and a text.

The question is the last message of the user. What comes before it (a system message, examples) is
left out, because a template says how problems are put to a model. For the same reason the
instruction that all prompts of a set share is cut off their questions, if it is about the form of
the answer: "... within \boxed{}.", "Answer: $Answer ...". Of a set of one question, the sentences
at its beginning and its end are cut if they name such a form.

Not covered: an instruction that differs from row to row.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reason_env.problems.files.table import as_written

_ROLES = ("role", "from")
_TEXTS = ("content", "value", "text")
_USERS = frozenset(("user", "human", "prompter"))
_INSTRUCTION = re.compile(
    r"boxed|step[- ]by[- ]step|final answer|own line|####|<answer>|<think>|answer:", re.IGNORECASE
)
_FORM = re.compile(
    r"\\boxed|step[- ]by[- ]step|own line|####|<answer>|<think>|\banswer:", re.IGNORECASE
)
"""What a sentence about the form of the answer names, and the sentences of problems do not."""
_PART_END = re.compile(r"\n\s*\n\s*|\n(?=\S)|(?<=[.!?])[ \t]+(?=\S)")


def is_message(value: object) -> bool:
    """Decide whether a value is a message: an object with a role and a text.

    >>> is_message({"role": "user", "content": "1+1"}), is_message({"question": "1+1"})
    (True, False)
    """
    if not isinstance(value, Mapping):
        return False
    keys = cast("Mapping[str, object]", value)
    return any(role in keys for role in _ROLES)


def messages_of(value: object) -> list[Mapping[str, Any]] | None:
    """Read a list of messages, also if it is written as JSON; None for any other value."""
    value = as_written(value)
    if not isinstance(value, list) or not value:
        return None
    items = cast("list[object]", value)
    return cast("list[Mapping[str, Any]]", items) if all(map(is_message, items)) else None


def user_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Take the text of the user's last message.

    >>> user_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1"}])
    '1+1'
    """
    for message in reversed(messages):
        role = next((message[name] for name in _ROLES if name in message), "")
        if str(role).lower() in _USERS:
            return _text(next((message[name] for name in _TEXTS if name in message), None))
    return None


def _text(content: object) -> str | None:
    """The text of a message, whose content may be a list of parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    listed = cast("list[object]", content)
    dicts = [cast("Mapping[str, object]", part) for part in listed if isinstance(part, Mapping)]
    parts = [_text(part.get("text")) for part in dicts]
    return "\n".join(part for part in parts if part is not None)


def shared_instruction(questions: Sequence[str]) -> tuple[str, str]:
    r"""Find the instruction that all questions begin with, and the one they end in; "" for none.

    >>> shared_instruction(["2+2=? Put it in \\boxed{}.", "3+4=? Put it in \\boxed{}."])
    ('', ' Put it in \\boxed{}.')
    """
    different = set(questions)
    if len(different) == 1:
        return _own_instruction(questions[0])
    begin = _instruction_before(_common(list(different)))
    rest = [question[len(begin) :] for question in different]
    end = _common([text[::-1] for text in rest])[::-1]
    before = "".join(text[-len(end) - 1 : len(text) - len(end)] for text in rest)
    end = _instruction_after(end, is_part=end[:1].isspace() or before.isspace())
    is_all = any(len(text) <= len(end) for text in rest)
    return ("", "") if is_all else (begin, end)


def _own_instruction(question: str) -> tuple[str, str]:
    r"""Find the sentences about the answer's form before and after one question.

    >>> _own_instruction("Think step by step. Find 2+2. Put it in \\boxed{}.")
    ('Think step by step. ', 'Put it in \\boxed{}.')
    """
    cuts = [0, *(found.end() for found in _PART_END.finditer(question)), len(question)]
    parts = [question[begin:end] for begin, end in itertools.pairwise(cuts)]
    before = len(list(itertools.takewhile(_FORM.search, parts)))
    after = len(list(itertools.takewhile(_FORM.search, reversed(parts))))
    if before + after >= len(parts):
        return "", ""
    return "".join(parts[:before]), "".join(parts[len(parts) - after :])


def _common(texts: Sequence[str]) -> str:
    """The longest text that all of them begin with."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((at for at, (a, b) in pairs if a != b), min(len(first), len(last)))]


def _instruction_before(shared: str) -> str:
    """Cut a shared beginning after its last sentence about the answer's form."""
    ends = [found.end() for found in _PART_END.finditer(shared)]
    for begin, end in reversed(list(zip([0, *ends], ends, strict=False))):
        if _INSTRUCTION.search(shared, begin, end):
            return shared[:end]
    return ""


def _instruction_after(shared: str, *, is_part: bool) -> str:
    """Cut a shared end before its first sentence about the answer's form.

    Args:
        shared: The end.
        is_part: Whether it begins between words.
    """
    starts = [found.start() for found in _PART_END.finditer(shared)]
    starts = [0, *starts] if is_part and 0 not in starts else starts
    for begin, end in zip(starts, [*starts[1:], len(shared)], strict=False):
        if _INSTRUCTION.search(shared, begin, end):
            return shared[begin:]
    return ""
