"""From the text of an answer to its tree: normalisation, tokens, grammar."""

from reason_env.verify.parsing.literals import read_number, same_digits, trimmed
from reason_env.verify.parsing.normalizing import UnreadableError, normalized
from reason_env.verify.parsing.quantities import without_unit
from reason_env.verify.parsing.reading import is_unknown, read
from reason_env.verify.parsing.texts import (
    choice,
    choice_value,
    is_text,
    matches_sentence,
    same_words,
    special,
)

__all__ = [
    "UnreadableError",
    "choice",
    "choice_value",
    "is_text",
    "is_unknown",
    "matches_sentence",
    "normalized",
    "read",
    "read_number",
    "same_digits",
    "same_words",
    "special",
    "trimmed",
    "without_unit",
]
