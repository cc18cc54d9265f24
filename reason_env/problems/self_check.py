"""Whether a reference answer grades as correct against itself and refuses mutated copies."""

import re

from reason_env.errors import shown
from reason_env.problems.mutants import Mutant, mutants
from reason_env.verify import GradeOptions, decide, extract_answer, grade, is_gradable


def why_ungradable(answer: str, options: GradeOptions | str = "strict") -> str:
    """Say why an answer does not grade as correct against itself; "" if it does."""
    # An answer with the marker of an answer line is a whole solution, not an answer.
    if "####" not in answer and is_gradable(answer, options):
        return ""
    return f"answer must grade as correct against itself, got {shown(answer)}"


def why_long(answer: str) -> str:
    """Say that an answer is a text that no response repeats; "" if it is none.

    >>> why_long("all positive integers divisible by 3")
    ''
    """
    count = len(_WORD.findall(answer))
    if count < MAX_WORDS:
        return ""
    return (
        f"answer must be a final answer, got {shown(answer, 80)}: a response has to repeat its "
        f"{count} words; take what it states with columns={{'answer': 'stated(COLUMN)'}}"
    )


_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
MAX_WORDS = 8
"""Words of an answer that is a text."""


def why_lenient(
    answer: str, options: GradeOptions | str = "strict", *, with_workers: bool = False
) -> str:
    """Say which mutated copy of an answer grades as correct; "" if all are refused.

    Args:
        answer: The reference.
        options: How answers are compared.
        with_workers: Whether copies that only a worker can decide are tried, too.
    """
    mutant = accepted_mutant(answer, options, with_workers=with_workers)
    if mutant is None:
        return ""
    return (
        f"answer must refuse another {mutant.kind}, got {shown(answer)}, which accepts "
        f"{shown(mutant.text)}"
    )


def accepted_mutant(
    answer: str, options: GradeOptions | str = "strict", *, with_workers: bool = False
) -> Mutant | None:
    r"""Give the first mutated copy that grades as correct; None if all are refused.

    Of a reference with a box, its content is mutated.

    >>> accepted_mutant("12") is None
    True
    """
    own = extract_answer(answer, is_reference=True) if "boxed" in answer else answer
    for mutant in mutants(own or answer):
        verdict = decide(mutant.text, answer, options)
        if verdict is None and with_workers:
            verdict = grade("\\boxed{" + mutant.text + "}", answer, options)
        if verdict is not None and verdict.is_correct:
            return mutant
    return None
