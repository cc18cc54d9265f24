"""Decides two answer texts in this process where it can: the tiers before the worker."""

import re

from reason_env.verdict import Outcome
from reason_env.verify.extraction import extract_answer
from reason_env.verify.literals import read_number, same_digits, trimmed
from reason_env.verify.options import GradeOptions

MAX_ANSWER_CHARACTERS = 10_000
"""A longer answer is compared as text only."""

_SPACE = re.compile(r"\s+")


def compare(response: str, reference: str, options: GradeOptions) -> tuple[Outcome, str] | None:
    """Returns the outcome for two answer texts and its reason, or None if a worker has to decide."""
    gold = reference_answer(reference)
    if not gold.strip():
        return Outcome.INCORRECT, "the reference is empty"
    if same_digits(trimmed(response), trimmed(gold)):
        return Outcome.CORRECT, "the same integer"
    if len(response) > MAX_ANSWER_CHARACTERS or len(gold) > MAX_ANSWER_CHARACTERS:
        return Outcome.INCORRECT, "longer than an answer may be"
    left, right = read_number(response), read_number(gold)
    if left is not None and right is not None:
        return (Outcome.CORRECT if left == right else Outcome.INCORRECT), "exact numbers"
    if not _is_balanced(gold) or not _is_balanced(response):
        return Outcome.INCORRECT, "unbalanced braces"
    if _SPACE.sub("", response) == _SPACE.sub("", gold):
        return Outcome.CORRECT, "the same text"
    return None


def reference_answer(reference: str) -> str:
    r"""Returns the answer that a reference holds: itself, or what its box or `####` line says.

    >>> reference_answer(r"so $\boxed{7}$"), reference_answer("1+1=2\n#### 2"), reference_answer("x")
    ('7', '2', 'x')
    """
    if "boxed" in reference or "####" in reference:
        return extract_answer(reference) or ""
    return reference


def _is_balanced(text: str) -> bool:
    depth = 0
    for mark in re.findall(r"\\.|[{}]", text, re.DOTALL):
        depth += (mark == "{") - (mark == "}")
        if depth < 0:
            return False
    return depth == 0
