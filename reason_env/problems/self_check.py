"""Whether a reference answer refuses mutated copies of itself."""

from reason_env.errors import shown
from reason_env.problems.mutants import Mutant, mutants
from reason_env.verify import GradeOptions, decide, grade


def accepted_mutant(
    answer: str, options: GradeOptions | str = "strict", *, with_workers: bool = False
) -> Mutant | None:
    r"""Give the first mutated copy that grades as correct; None if all are refused.

    >>> accepted_mutant("12") is None
    True

    Args:
        answer: The reference.
        options: How answers are compared.
        with_workers: Whether copies that only a worker can decide are tried, too.
    """
    for mutant in mutants(answer):
        verdict = decide(mutant.text, answer, options)
        if verdict is None and with_workers:
            verdict = grade("\\boxed{" + mutant.text + "}", answer, options)
        if verdict is not None and verdict.is_correct:
            return mutant
    return None


def too_lenient(answer: str, mutant: Mutant) -> str:
    """Say what is wrong with a reference that accepts a mutated copy."""
    return f"answer must refuse another {mutant.kind}, got {shown(answer)}, which accepts " + shown(
        mutant.text
    )
