"""Compares two answer texts in this process: the tiers that need no worker.

Runs tiers from cheapest to most expensive: equal digits, exact numbers, words, trees. A worker must
decide if the reference is well formed but contains an unknown command, or if the identity tests
cannot decide an integral, sum, limit or matrix. A response that the reader cannot parse is
incorrect.
"""

from reason_env.verdict import Outcome
from reason_env.verify.comparing.answers import Comparison
from reason_env.verify.comparing.naming import WorkBudgetError
from reason_env.verify.extraction import extract_answer
from reason_env.verify.options import GradeOptions
from reason_env.verify.parsing import (
    UnreadableError,
    choice,
    choice_value,
    is_text,
    is_unknown,
    matches_sentence,
    normalized,
    read,
    read_number,
    same_digits,
    same_words,
    special,
    trimmed,
)
from reason_env.verify.tree import Node, has_op, number

MAX_ANSWER_CHARACTERS = 10_000
"""Longer answers are compared as digits only."""

Decision = tuple[Outcome, str]

_OVER_BUDGET: Decision = (Outcome.TIMEOUT, "over the budget of work")
_SYMBOLIC = ("sum", "prod", "int", "lim", "deriv", "matrix")
"""Operations that the worker can evaluate and this process cannot."""


def compare(response: str, reference: str, options: GradeOptions) -> Decision | None:
    """Compare two answer texts; return outcome and reason, or None if a worker must decide."""
    gold = reference_answer(reference)
    if not gold.strip():
        return Outcome.INCORRECT, "the reference is empty"
    if same_digits(trimmed(response), trimmed(gold)):
        return Outcome.CORRECT, "the same integer"
    if len(response) > MAX_ANSWER_CHARACTERS or len(gold) > MAX_ANSWER_CHARACTERS:
        return Outcome.INCORRECT, "longer than an answer may be"
    left, right = read_number(response), read_number(gold)
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
    letter = choice(gold)
    if letter and letter == choice(response):
        values = choice_value(response), choice_value(gold)
        if values[0] and values[1]:
            return compare(values[0], values[1], options)
        return Outcome.CORRECT, "the same choice"
    if (is_text(gold) and same_words(response, gold)) or matches_sentence(response, gold):
        return Outcome.CORRECT, "the same words"
    return None


def _as_trees(response: str, gold: str, options: GradeOptions) -> Decision | None:
    right = read(gold, is_reference=True)
    if right is None:
        return _unread_reference(response, gold)
    left = read(response)
    if left is None:
        return Outcome.INCORRECT, "not readable as an answer"
    try:
        same = Comparison(options).same(left, right)
        if same is False:
            same = _as_grouped(response, gold, left, right, options)
    except (WorkBudgetError, RecursionError):
        return _OVER_BUDGET
    if same is None:
        is_symbolic = has_op(left, *_SYMBOLIC) or has_op(right, *_SYMBOLIC)
        return None if is_symbolic else _OVER_BUDGET
    return (Outcome.CORRECT, "equal") if same else (Outcome.INCORRECT, "not equal")


def _as_grouped(
    response: str, gold: str, left: Node, right: Node, options: GradeOptions
) -> bool | None:
    """Compare again with `1,000,000` as a number, where the trees have a list."""
    if "," not in response + gold:
        return False
    values = read_number(response), read_number(gold)
    mine = left if values[0] is None else number(values[0])
    theirs = right if values[1] is None else number(values[1])
    return (mine, theirs) != (left, right) and Comparison(options).same(mine, theirs)


def _unread_reference(response: str, gold: str) -> Decision | None:
    same = "".join(response.split()) == "".join(gold.split())
    if same and (is_text(gold) or is_unknown(gold)):
        return Outcome.CORRECT, "the same text"
    return None if is_unknown(gold) else (Outcome.INCORRECT, "other words")
