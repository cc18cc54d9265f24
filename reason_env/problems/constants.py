r"""Constant answers that earn more than their share of a problem set.

A policy that says one answer to every problem earns the reward of the problems whose answer that
is: its honest share. What it earns beyond that is a hole in the grader, which training finds:
`[1,0)`, for example, where every reversed pair counts as the same empty interval. The probe grades
the likeliest constants against every reference of a set: its own most frequent answers, and answers
that graders have been seen to take for others.

The honest share is counted without the grader: references of the same number or the same text,
after units, names (`x =`) and spacing are taken off, which the grader takes off too. Lists may be
in any order. A constant that is reported may still be right: `\frac{1}{\sqrt{2}}` is
`\frac{\sqrt{2}}{2}`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from reason_env.problem import Problem, ScoredReference
from reason_env.verify import GradeOptions, decide, extract_answer, grade_many

NUM_CONSTANTS = 200
MAX_SCORED = 50
"""Problems of a set that only its own scorer can grade, milliseconds each, that are probed."""
DEGENERATE: tuple[str, ...] = (
    "0", "1", "-1", "2", "3", "5", "10", "100", "1/2", "0.1", "1.5", "i", "e", r"\pi", r"\infty",
    r"-\infty", "x", "y", "n", "k", "t", "C", "x+C", "[1,0)", "(1,0)", "(0,1)", "[0,1]", "(0,0)",
    "(1,2)", "1,2", "{}", r"\emptyset", r"\varnothing", "1<x<0", r"x \ne x", "1=1", "0=0",
    "x=x", "5:5", "1:1", "x-x", "0/0", "1/0", "0!", r"\sqrt{-x^2-1}", r"\pm 1", r"\mathbb{R}",
    r"(-\infty,\infty)", "True", "False", "yes", "no", "none", "all", "any", "A", "B", "D", "E",
    "nan", "inf", "undefined", "DNE", "no solution", r"\text{cm}", "1 cm", r"\$1", r"2^{-1007}",
    "1e-300", r"\begin{pmatrix}0\\0\end{pmatrix}", r"\lfloor x \rfloor", "|x|", "...", "?",
    "multiples of 1",
)  # fmt: skip
"""Answers that graders take for others: empty sets, identities, tiny values, bare names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantShare:
    """What one constant answer earns."""

    constant: str
    earned: int
    """Problems on which it is graded correct."""
    honest: int
    """Problems whose reference it is."""
    examples: tuple[str, ...]
    """References on which it is correct although it is another answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantProbe:
    """The shares of all constants."""

    shares: tuple[ConstantShare, ...]
    num_problems: int
    """Problems that the constants were said to."""
    num_undecided: int
    """Pairs of constant and reference that only a worker can decide, and which were not tried."""

    @property
    def above(self) -> tuple[ConstantShare, ...]:
        """The constants that earn more than their honest share, the worst first."""
        found = [share for share in self.shares if share.examples]
        return tuple(sorted(found, key=lambda share: share.honest - share.earned))

    @property
    def best(self) -> ConstantShare:
        """The constant that earns most."""
        return max(self.shares, key=lambda share: share.earned)


def canonical(answer: str) -> object:
    r"""Give the value of an answer as far as it can be read without the grader.

    >>> canonical("1,000 cm") == canonical("1000"), canonical(r"x=\frac12") == canonical("50%")
    (True, True)
    >>> canonical("2, 1") == canonical("1,2"), canonical("(2,1)") == canonical("(1,2)")
    (True, False)
    """
    if "boxed" in answer or "####" in answer:
        answer = extract_answer(answer, is_reference=True) or answer
    text = _TEXT.sub(r" \1", answer.strip().replace("$", " ").replace("\\!", ""))
    text = _NAME.sub("", _SPACING.sub(" ", text).replace("dfrac", "frac").replace("tfrac", "frac"))
    text = text.strip().rstrip(".").strip()
    number = _number(text)
    if number is not None:
        return number
    if "," in text and not re.search(r"[()\[\]{}]", text):
        return tuple(sorted(str(canonical(part)) for part in text.split(",") if part.strip()))
    return "".join(text.split()).lower()


_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:left|right)\b|\\[ ,;:~]|~")
_NAME = re.compile(r"^\s*[A-Za-z](?:_\{?\w+\}?)?\s*(?:=|\\in\b)\s*(?=\S)")
_FRACTION = re.compile(r"(-?)\\frac\s*\{?(\d+?)\}?\s*\{?(\d+)\}?|(-?)(\d+)/(\d+)")
_DECIMAL = re.compile(r"(-?)(\d{1,3}(?:,\d{3})+|\d*)(\.\d+)?")
_UNIT = re.compile(r"(?<![\\A-Za-z])\s*(?:\^?\{?\\circ\}?|°|[A-Za-z][A-Za-z .²³/^0-9{}()]*)$")


def _number(text: str) -> Fraction | None:
    """Read a number, with a percent sign or a unit."""
    text = text.removeprefix("\\ ").strip()
    bare = _UNIT.sub("", text)
    is_percent = bare.endswith("%")
    bare = bare.removesuffix("%").removesuffix("\\").strip()
    share = 100 if is_percent else 1
    found = _FRACTION.fullmatch(bare)
    if found:
        sign, above, below = [part for part in found.groups() if part is not None]
        return None if int(below) == 0 else Fraction(int(f"{sign}{above}"), int(below)) / share
    found = _DECIMAL.fullmatch(bare)
    if not found or not (found[2] or found[3]) or len(bare) > 60:
        return None
    return Fraction(f"{found[1]}{found[2].replace(',', '') or 0}{found[3] or ''}") / share


def likeliest(answers: Iterable[str], count: int = NUM_CONSTANTS) -> list[str]:
    """Give the constants to try: the degenerate ones, and the most frequent answers of a set.

    >>> likeliest(["7", "8", "8", "1"], len(DEGENERATE) + 1)[-1]
    '8'
    """
    constants = list(dict.fromkeys(DEGENERATE))[:count]
    known = {canonical(constant) for constant in constants}
    for answer, _ in Counter(answers).most_common():
        if len(constants) == count:
            break
        value = canonical(answer)
        if value not in known:
            known.add(value)
            constants.append(answer)
    return constants


def probe_constants(
    problems: Sequence[Problem],
    options: GradeOptions | str = "strict",
    *,
    count: int = NUM_CONSTANTS,
) -> ConstantProbe:
    """Grade the likeliest constants against every problem, each said as a final answer.

    Args:
        problems: A whole set; of one whose scorer runs in a worker, the first `MAX_SCORED` count.
        options: How answers are compared.
        count: Number of constants.
    """
    constants = likeliest((problem.answer for problem in problems), count)
    scored = [problem for problem in problems if isinstance(problem.reference, ScoredReference)]
    if (
        scored
        and len(scored) == len(problems)
        and decide("0", scored[0].reference, options) is None
    ):
        problems = problems[:MAX_SCORED]
    values = [canonical(constant) for constant in constants]
    groups = Counter((problem.answer, problem.reference) for problem in problems)
    earned, honest = [0] * len(constants), [0] * len(constants)
    examples: list[list[str]] = [[] for _ in constants]
    undecided = 0
    for (answer, reference), number in groups.items():
        value = canonical(answer)
        for at, correct in enumerate(_graded(constants, reference, options)):
            honest[at] += number * (values[at] == value)
            undecided += number * (correct is None)
            if correct:
                earned[at] += number
                if values[at] != value and len(examples[at]) < 3:
                    examples[at].append(answer)
    shares = zip(constants, earned, honest, examples, strict=True)
    return ConstantProbe(
        shares=tuple(
            ConstantShare(constant=constant, earned=won, honest=own, examples=tuple(others))
            for constant, won, own, others in shares
        ),
        num_problems=len(problems),
        num_undecided=undecided,
    )


def _graded(
    constants: Sequence[str], reference: str | ScoredReference, options: GradeOptions | str
) -> list[bool | None]:
    """Whether each constant is correct; None if only a worker can decide about a text."""
    verdicts = [decide(constant, reference, options) for constant in constants]
    if isinstance(reference, ScoredReference) and None in verdicts:
        boxed = ["\\boxed{" + constant + "}" for constant in constants]
        return [
            verdict.is_correct
            for verdict in grade_many([(response, reference) for response in boxed], options)
        ]
    return [None if verdict is None else verdict.is_correct for verdict in verdicts]
