"""Choices of a question: read from the forms that data sets give them, each with a letter.

A list (`choices`, `options`) may hold texts or objects with a text and a label; an object may map
letters to texts or hold one list of each; a text may name the letters (`a ) 5 , b ) 6`). Where a
table has a column with the right answer and columns with wrong ones, as GPQA and SciQ, the choices
are those in an order that depends on their texts alone, and the answer is the right one's letter.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

from reason_env.problems.files.table import as_list, as_mapping

LETTERS = "ABCDEFGHIJ"
_LETTERED = re.compile(r"\(?[A-J][).:]\s*\S")
_IN_TEXT = re.compile(r"(?:^|,)\s*\(?([A-Ja-j])\s?[).:]\s*(.*?)\s*(?=,\s*\(?[A-Ja-j]\s?[).:]|$)")
_QUOTED = re.compile(r"\[\s*(?:'[^']*'|\"[^\"]*\")(?:,?\s*(?:'[^']*'|\"[^\"]*\"))*\s*\]")


def choices_of(value: object) -> list[str] | None:
    """Read the choices of a question, each with its letter; None if a value is something else.

    More choices than there are letters are none: a question without some of them is another one.

    >>> choices_of(["7", "A) 8"]), choices_of({"text": ["7", "8"], "label": ["1", "2"]})
    (['A) 7', 'B) A) 8'], ['1) 7', '2) 8'])
    >>> choices_of(["A)7", "B)8"]), choices_of({"A": "7", "B": 8}), choices_of("a ) 7 , b ) 8, 9")
    (['A)7', 'B)8'], ['A) 7', 'B) 8'], ['A) 7', 'B) 8, 9'])
    >>> choices_of("['7' '8']"), choices_of([{"label": "A", "text": "7"}])
    (['A) 7', 'B) 8'], ['A) 7'])
    """
    held = as_mapping(value)
    if held is not None:
        return _of_mapping(held)
    if isinstance(value, str):
        return _of_text(value.strip())
    items = as_list(value)
    if not items:
        return None
    objects = [held for held in map(as_mapping, items) if held is not None]
    if objects:
        labels = [held.get("label") for held in objects]
        texts = [held.get("text") for held in objects]
        is_all = len(objects) == len(items) and None not in labels and None not in texts
        return _labelled(labels, texts) if is_all else None
    texts = [str(item).strip() for item in items]
    return texts if all(map(_LETTERED.match, texts)) else _labelled(LETTERS, texts)


def _of_mapping(held: Mapping[str, object]) -> list[str] | None:
    labels, texts = as_list(held.get("label")), as_list(held.get("text"))
    if labels is not None and texts is not None:
        return _labelled(labels, texts) if texts else None
    letters = [name.upper() for name in held]
    is_lettered = len(held) >= 2 and letters == list(LETTERS[: len(held)])
    return _labelled(letters, list(held.values())) if is_lettered else None


def _of_text(text: str) -> list[str] | None:
    """Read choices in a text with their letters, or as Python writes a list of texts."""
    if _QUOTED.fullmatch(text):
        found = re.findall(r"'([^']*)'|\"([^\"]*)\"", text)
        return _labelled(LETTERS, [single or double for single, double in found])
    pairs = _IN_TEXT.findall(text) if _IN_TEXT.match(text) else []
    letters = "".join(letter for letter, _ in pairs).upper()
    is_whole = len(pairs) >= 2 and letters == LETTERS[: len(pairs)]
    return _labelled(letters, [choice for _, choice in pairs]) if is_whole else None


def _labelled(labels: Sequence[object], texts: Sequence[object]) -> list[str] | None:
    if len(texts) > len(labels):
        return None
    return [f"{label}) {str(text).strip()}" for label, text in zip(labels, texts, strict=False)]


def letters_of(answers: Sequence[object], choices: Sequence[object]) -> list[str] | None:
    """Map answers to letters if each is the index of one of its choices, or its letter.

    Indices are whole numbers of JSON and Parquet. They begin at 0; or at 1, if none is 0, one is
    the number of choices, and none is itself a choice.

    >>> letters_of([0, 1], [["7", "8"]] * 2), letters_of([2, 1], [["7", "8"]] * 2)
    (['A', 'B'], ['B', 'A'])
    >>> letters_of(["b"], [["7", "8"]]), letters_of([7], [["7", "8"]])
    (['B'], None)
    >>> letters_of([2], [["2", "1"]]) is None
    True

    Args:
        answers: Of each row.
        choices: Of each row.
    """
    written = [choices_of(value) or [] for value in choices]
    pairs = list(zip(answers, map(len, written), strict=True))
    if all(isinstance(answer, str) for answer in answers):
        letters = [str(answer).strip().upper() for answer in answers]
        is_all = all(
            one in tuple(LETTERS[:count]) for one, (_, count) in zip(letters, pairs, strict=True)
        )
        return letters if is_all else None
    are_values = any(
        any(line.partition(" ")[2] == str(answer) for line in lines)
        for answer, lines in zip(answers, written, strict=True)
    )
    for first in (0,) if are_values else (0, 1):
        if all(type(answer) is int and first <= answer < count + first for answer, count in pairs):
            return [LETTERS[int(str(answer)) - first] for answer in answers]
    return None


def with_wrong(question: str, right: str, wrong: Sequence[str]) -> tuple[str, str]:
    r"""Write the right and the wrong answers after a question; give it and the right letter.

    >>> with_wrong("3+4?", "7", ["8", "9"])
    ('3+4?\nA) 8\nB) 9\nC) 7', 'C')
    """

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{question}\0{text}".encode("utf-8", "surrogatepass")).digest()

    texts = sorted((right, *wrong), key=rank)
    lines = _labelled(LETTERS, texts) or texts
    return "\n".join((question, *lines)), LETTERS[texts.index(right)]
