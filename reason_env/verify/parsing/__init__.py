"""From the text of an answer to its tree: normalisation, tokens, grammar."""

from reason_env.verify.parsing.clocks import clock, same_clock
from reason_env.verify.parsing.literals import read_number, same_currency, same_digits, trimmed
from reason_env.verify.parsing.normalizing import normalized
from reason_env.verify.parsing.quantities import (
    read_unit,
    same_tag,
    turns,
    units_agree,
    with_letters_as_unit,
    without_unit,
)
from reason_env.verify.parsing.reading import is_unknown, read
from reason_env.verify.parsing.sentences import value_of_sentence
from reason_env.verify.parsing.texts import (
    choice,
    choice_value,
    has_phrase,
    is_text,
    matches_sentence,
    same_letters,
    same_phrase,
    same_words,
    special,
)
from reason_env.verify.parsing.units import is_unit
from reason_env.verify.parsing.unreadable import UnreadableError

__all__ = [
    "UnreadableError",
    "choice",
    "choice_value",
    "clock",
    "has_phrase",
    "is_text",
    "is_unit",
    "is_unknown",
    "matches_sentence",
    "normalized",
    "read",
    "read_number",
    "read_unit",
    "same_clock",
    "same_currency",
    "same_digits",
    "same_letters",
    "same_phrase",
    "same_tag",
    "same_words",
    "special",
    "trimmed",
    "turns",
    "units_agree",
    "value_of_sentence",
    "with_letters_as_unit",
    "without_unit",
]
