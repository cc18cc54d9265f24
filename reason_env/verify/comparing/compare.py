"""Compares two answer texts in this process: the tiers that need no worker.

Runs tiers from cheapest to most expensive: equal digits, exact numbers, words, trees. A worker must
decide if the reference is well formed but contains an unknown command, or if the identity tests
cannot decide an integral, sum, limit or matrix. A response that the reader cannot parse is
incorrect.
"""

import re

from reason_env.verdict import Outcome
from reason_env.verify.comparing.answers import Comparison
from reason_env.verify.comparing.naming import WorkBudgetError
from reason_env.verify.extraction import extract_answer
from reason_env.verify.options import GradeOptions
from reason_env.verify.parsing import (
    UnreadableError,
    choice,
    choice_value,
    clock,
    has_phrase,
    is_text,
    is_unknown,
    matches_sentence,
    normalized,
    read,
    read_number,
    same_clock,
    same_currency,
    same_digits,
    same_letters,
    same_phrase,
    same_words,
    special,
    trimmed,
)
from reason_env.verify.tree import has_op

MAX_ANSWER_CHARACTERS = 10_000
"""Longer answers are compared as digits only."""

Decision = tuple[Outcome, str]

_OVER_BUDGET: Decision = (Outcome.TIMEOUT, "over the budget of work")
_SYMBOLIC = ("sum", "prod", "int", "lim", "deriv", "matrix")
"""Operations that the worker can evaluate and this process cannot."""


def compare(  # noqa: PLR0911 - one tier per line
    response: str, reference: str, options: GradeOptions
) -> Decision | None:
    """Compare two answer texts; return outcome and reason, or None if a worker must decide."""
    gold = reference_answer(reference)
    if not gold.strip():
        return Outcome.INCORRECT, "the reference is empty"
    if not same_currency(response, gold):
        return Outcome.INCORRECT, "another currency"
    if same_digits(trimmed(response), trimmed(gold)):
        return Outcome.CORRECT, "the same integer"
    if len(response) > MAX_ANSWER_CHARACTERS or len(gold) > MAX_ANSWER_CHARACTERS:
        return Outcome.INCORRECT, "longer than an answer may be"
    left, right = read_number(response), read_number(gold, is_reference=True)
    if left is not None and left == right:
        return Outcome.CORRECT, "exact numbers"
    if left is not None and right is not None and not _may_differ_in_form(response, gold):
        return Outcome.INCORRECT, "exact numbers"
    return _as_text(response, gold, options) or _as_trees(response, gold, options)


def reference_answer(reference: str) -> str:
    r"""Extract the answer from a reference with a box or a `####` line; return others unchanged.

    >>> reference_answer(r"so $\boxed{7}$"), reference_answer("1+1=2\n#### 2")
    ('7', '2')
    """
    if "boxed" in reference or "####" in reference:
        return extract_answer(reference, is_reference=True) or ""
    return reference


def _may_differ_in_form(response: str, gold: str) -> bool:
    """Decide whether unequal numbers may still be equal answers: lists, roundings, percentages."""
    return any(mark in text for text in (response, gold) for mark in (",", ".", "%"))


def _as_text(response: str, gold: str, options: GradeOptions) -> Decision | None:
    if not response.isascii():
        try:
            normalized(response)
        except UnreadableError:
            return Outcome.INCORRECT, "characters that an answer may not hold"
    if special(gold) and special(gold) == special(response):
        return Outcome.CORRECT, "the same phrase"
    decision = _as_choice(response, gold, options) or _as_clock(response, gold)
    if decision is not None:
        return decision
    if (is_text(gold) and same_words(response, gold)) or matches_sentence(response, gold):
        return Outcome.CORRECT, "the same words"
    return None


def _as_choice(response: str, gold: str, options: GradeOptions) -> Decision | None:
    """Compare letters of a multiple choice, and the values after them if both have one."""
    if same_letters(response, gold):
        return Outcome.CORRECT, "the same choices"
    letter, value = choice(gold), choice_value(gold)
    found = choice(response)
    if letter and letter == found:
        mine = choice_value(response)
        return compare(mine, value, options) if mine and value else _SAME_CHOICE
    return compare(response, value, options) if value and not found else None


_SAME_CHOICE: Decision = (Outcome.CORRECT, "the same choice")


def _as_clock(response: str, gold: str) -> Decision | None:
    """Compare times of day, such as 6:10, which are not ratios."""
    expected = clock(gold)
    if expected is None:
        return None
    is_equal = same_clock(response, expected)
    return (Outcome.CORRECT if is_equal else Outcome.INCORRECT), "a time of day"


def _as_trees(response: str, gold: str, options: GradeOptions) -> Decision | None:
    right = read(gold, is_reference=True)
    if right is None:
        return _unread_reference(response, gold)
    if "," in gold and _same_signs(response, gold):
        return Outcome.CORRECT, "the same text"
    left = read(response)
    if left is None:
        return Outcome.INCORRECT, "not readable as an answer"
    try:
        same = Comparison(options).same(left, right)
        if same and not _conditions_agree(response, gold, options):
            same = False
    except (WorkBudgetError, RecursionError):
        return _OVER_BUDGET
    if same is None:
        is_symbolic = has_op(left, *_SYMBOLIC) or has_op(right, *_SYMBOLIC)
        return None if is_symbolic else _OVER_BUDGET
    return (Outcome.CORRECT, "equal") if same else (Outcome.INCORRECT, "not equal")


def _conditions_agree(response: str, gold: str, options: GradeOptions) -> bool:
    """Decide whether the relations after "if" or "when" agree; a response may omit them."""
    found, expected = _CONDITION.search(response), _CONDITION.search(gold)
    if found is None or expected is None:
        return True
    mine, theirs = read(found[1].strip(" ${}.")), read(expected[1].strip(" ${}."))
    if mine is None or theirs is None or "rel" not in (mine.op, theirs.op):
        return True
    return Comparison(options).same(mine, theirs) is not False


_CONDITION = re.compile(r"\b(?:if|when|whenever|where|for)\b[\s}$]*(.+)$", re.DOTALL)


def _unread_reference(response: str, gold: str) -> Decision | None:
    same = _same_signs(response, gold)
    if (same and (is_text(gold) or is_unknown(gold))) or same_phrase(response, gold):
        return Outcome.CORRECT, "the same text"
    # The worker's reader takes one formula out of a sentence, so sentences are not for it.
    is_formula = is_unknown(gold) and not has_phrase(gold) and not has_phrase(response)
    return None if is_formula else (Outcome.INCORRECT, "other words")


def _same_signs(response: str, gold: str) -> bool:
    """Decide whether two texts differ in their spaces alone."""
    return "".join(response.split()) == "".join(gold.split())
