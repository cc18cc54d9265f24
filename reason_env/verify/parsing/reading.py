r"""Parses the text of an answer into a tree, also if a sentence surrounds it.

Words around mathematics (`The roots are $3$ and $5$`) become text, and the grammar decides what
they mean: a subject, a tag that belongs to the answer, a condition, a unit. Only if the grammar
cannot read the whole text of a response, the part after its last "is" counts, unless the sentence
has another number before that part which it does not deny, or denies the answer. Of several
sentences, the last one that speaks of the answer is read.
"""

import functools
import re

from reason_env.verify.parsing.grammar import parse_answer
from reason_env.verify.parsing.literals import has_decimal_comma, number_in_words
from reason_env.verify.parsing.normalizing import MAX_CHARACTERS
from reason_env.verify.parsing.sentences import SEGMENT, WORD, after_copula, is_prose
from reason_env.verify.parsing.units import is_unit
from reason_env.verify.parsing.unreadable import UnknownCommandError, UnreadableError
from reason_env.verify.parsing.words import (
    CONDITION,
    COPULAS,
    FILLERS,
    FUNCTIONS,
    GREEK,
    POWERS,
    PROSE,
    WORDS,
)
from reason_env.verify.tree import Node

_BOX = re.compile(r"\\+(?:boxed|fbox)\s*\{")
_RUN = re.compile(r"[A-Za-z][A-Za-z'-]*\.?(?:\s+[A-Za-z][A-Za-z'-]*\.?)*")
_PLAIN_RUN = re.compile(r"(?<![\\A-Za-z])[A-Za-z][A-Za-z'-]+\.?(?:\s+[A-Za-z][A-Za-z'-]+\.?)*")
_PRICE = re.compile(r"\s*[A-Za-z]{3,}\s*:\s*([0-9]+,[0-9]{2})\s*[$\u20ac]")
"""A price with a decimal comma, after a colon."""
_PRODUCT = re.compile(
    r"(?:^|(?<=[-+*/^=(\[<>|])|(?<=[\^}tc]\{)|(?<=[-+*/=<>] )|(?<=[0-9])(?!in))(?<!text\{)"
    r"(?!^\w\w\s*$)(at|an|as|be|by|if|in|is|it|no|of|on|so|to|we)(?![A-Za-z])"
    r"(?=\s?[-+*/^=)}\]<>|!_]|\s*[.$]?$|(?<=\{\w\w)\s*\\)"
)
"""A word of English that is a product of two letters where it stands: `u + at`, `e^{in}`."""
_TWO_LETTERS = re.compile(r"[a-z][a-z]")
_WORDS_FIRST = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+){1,12}")
_SENTENCES = re.compile(r"(?<=[.!?$])\s+(?=[A-Z])")
_CLOSED = PROSE | FILLERS | COPULAS | CONDITION
_MATHEMATICS = FUNCTIONS | GREEK | frozenset(WORDS) | frozenset(POWERS)


@functools.lru_cache(maxsize=4096)
def read(text: str, *, is_reference: bool = False) -> Node | None:
    r"""Parse an answer; None if the text is not readable as mathematics.

    >>> read("Therefore $x \\geq 5$ is the solution.").value
    '>='
    >>> read("The roots are $3$ and $5$").op
    'list'
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
    r"""Write boxes inside an answer as groups (`-\boxed{7}` is -7, not 7), `at` as a product."""
    text = _BOX.sub("{", text) if "box" in text else text
    if len(text) > MAX_CHARACTERS or not _TWO_LETTERS.search(text):
        return text
    return _PRODUCT.sub(lambda found: " ".join(found[1]), text)


def _candidates(text: str, is_reference: bool) -> list[str]:
    if is_reference and "," in text and has_decimal_comma(text):
        return [text.replace(",", ".")]
    if len(sentences := _SENTENCES.split(text)) > 1:
        sign = "answer" if is_reference else "final answer"
        text = next((s for s in reversed(sentences) if sign in s.lower()), text)
    segments = list(SEGMENT.finditer(text)) if "$" in text or "\\(" in text or "\\[" in text else []
    if segments:
        outside = WORD.findall(SEGMENT.sub(" ", text))
        is_sentence = any(is_prose(word) for word in outside)
        if not is_sentence:
            return [text]
        after = [] if is_reference else after_copula(text)
        is_last = after and len(after[0]) <= len(text) - segments[-1].start()
        return [_with_text_around(segments, text), *(after if is_last else ())]
    if not is_reference and (price := _PRICE.match(text)):
        return [price[1].replace(",", ".")]
    text = _with_digits(text)
    words = {word.lower() for word in WORD.findall(text)}
    if "\\" in text or not words & _CLOSED:
        return [text]
    return [_PLAIN_RUN.sub(_as_text, text), *([] if is_reference else after_copula(text))]


def _with_digits(text: str) -> str:
    """Write the number at the beginning of a text in digits: `seven apples`."""
    if not _WORDS_FIRST.fullmatch(text):
        return text
    words = text.split(" ")
    for count in range(len(words) - 1, 0, -1):
        value = number_in_words(" ".join(words[:count]))
        if value is not None and is_unit(words[count]):
            return " ".join([str(value), *words[count:]])
    return text


def _with_text_around(segments: list[re.Match[str]], text: str) -> str:
    r"""Write a sentence as mathematics with `\text{}` around the words outside dollar signs."""
    pieces: list[str] = []
    end = 0
    for segment in segments:
        pieces.append(_gap(text[end : segment.start()]))
        pieces.append(next(group for group in segment.groups() if group is not None))
        end = segment.end()
    return " ".join([*pieces, _gap(text[end:])])


def _gap(text: str) -> str:
    return text if "\\" in text else _RUN.sub(lambda run: f"\\text{{{run[0]}}}", text)


def _as_text(run: re.Match[str]) -> str:
    r"""Wrap words in `\text{}`, but not names that mathematics knows, at either end of the run."""
    words = run[0].split()
    if all(word.lower().strip(".") in _MATHEMATICS or is_unit(word) for word in words):
        return run[0]
    if any(word in FUNCTIONS for word in words):
        return run[0]
    return f"\\text{{{run[0]}}}"
