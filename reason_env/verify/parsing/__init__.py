"""Answer text to trees: normalising, tokens and the grammar."""

from reason_env.verify.parsing.literals import read_number, same_digits, trimmed
from reason_env.verify.parsing.normalizing import UnreadableError, normalized
from reason_env.verify.parsing.quantities import without_unit
from reason_env.verify.parsing.reading import is_unknown, read
from reason_env.verify.parsing.texts import choice, choice_value, is_text, same_words, says, special

__all__ = [
    "UnreadableError",
    "choice",
    "choice_value",
    "is_text",
    "is_unknown",
    "normalized",
    "read",
    "read_number",
    "same_digits",
    "same_words",
    "says",
    "special",
    "trimmed",
    "without_unit",
]
