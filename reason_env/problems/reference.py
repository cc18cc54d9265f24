"""Writes a problem's reference solution as a response, for replays, prefixes and roll-ins.

The solutions of families and GSM8K have no answer line; those of a file may have one. The
extraction of `reason_env.verify` decides whether the last step states the answer, so that the
response states it exactly once.
"""

from reason_env.errors import ConfigError
from reason_env.problem import Problem, ScoredProblem
from reason_env.verify import extract_answer

ANSWER_MARK = "####"
"""Begins the answer line, as in GSM8K."""
_BOX = "\\boxed{"


def answer_line(problem: Problem) -> str:
    r"""Write `#### <answer>`; line breaks of the answer become spaces, as in LaTeX.

    If the problem has a scorer and the line would change the answer (a grid, for example), write
    the answer in a box instead.

    >>> answer_line(Problem(problem_id="toy/train/0", question="12*3=?", answer="36"))
    '#### 36'
    """
    line = f"{ANSWER_MARK} {' '.join(problem.answer.split())}"
    if isinstance(problem, ScoredProblem) and extract_answer(line) != problem.answer:
        return "\\boxed{" + problem.answer + "}"
    return line


def reference_response(problem: Problem, delimiter: str = "\n", layout: str | None = None) -> str:
    r"""Write the steps of the solution, separated by `delimiter`, and then the answer.

    Omits the answer if the last step states it in the same form. Does not end in the delimiter,
    because the end token follows. Without a solution, writes only the answer.

    >>> p = Problem(problem_id="t/train/0", question="2*3*4=?", answer="24", solution=("2*3=6",))
    >>> reference_response(p)
    '2*3=6\n#### 24'
    >>> reference_response(p, layout="{solution}\nThe answer is \\boxed{{answer}}.\n\n")
    '2*3=6\nThe answer is \\boxed{24}.'

    Args:
        problem: The problem.
        delimiter: The codec's `step_delimiter`, not empty.
        layout: A response with {solution} and {answer} in their places; None for the answer line
            as a step of its own.

    Raises:
        ConfigError: The delimiter is empty.
    """
    if not delimiter:
        raise ConfigError("delimiter must not be empty, got ''; pass the codec's step_delimiter")
    steps = [step.removesuffix(delimiter) for step in problem.solution]
    is_stated = bool(steps) and _states(steps[-1], problem.answer)
    if layout is None:
        return delimiter.join(steps if is_stated else [*steps, answer_line(problem)])
    before, place, after = layout.partition("{solution}")
    if not place:
        return _with_answer(before, problem).strip()
    if is_stated:
        is_line = steps[-1].lstrip().startswith(ANSWER_MARK)
        if (ANSWER_MARK if is_line else _BOX) in after:
            after = ""
        elif is_line:
            steps.pop()
    text = before + delimiter.join(steps) + _with_answer(after, problem)
    return text.rstrip() if steps else text.strip()


def _with_answer(layout: str, problem: Problem) -> str:
    text = layout.replace(f"{ANSWER_MARK} {{answer}}", answer_line(problem))
    return text.replace("{answer}", problem.answer)


def _states(step: str, answer: str) -> bool:
    extracted = extract_answer(step)
    return extracted is not None and _plain(extracted) == _plain(answer)


def _plain(answer: str) -> str:
    return "".join(answer.split()).replace(",", "")
