"""The response that a problem's reference solution is: what replays, prefixes and roll-ins write.

One function for every source: families and GSM8K keep the answer line out of `solution`, a file may
have it inside. Whether a step states the answer is the extraction rule's decision
(`reason_env.verify`), so that the reference never says its answer twice and never leaves it out.
"""

from reason_env.errors import ConfigError
from reason_env.problem import Problem, ScoredProblem
from reason_env.verify import extract_answer

ANSWER_MARK = "####"
"""Opens the answer line, as in GSM8K."""


def answer_line(problem: Problem) -> str:
    r"""Returns `#### <answer>`; line breaks of the answer become spaces, as in LaTeX.

    An answer that a scorer takes to the letter (a grid, say) stands in a box if the line would
    change it.

    >>> answer_line(Problem(problem_id="toy/train/0", question="12*3=?", answer="36"))
    '#### 36'
    """
    line = f"{ANSWER_MARK} {' '.join(problem.answer.split())}"
    if isinstance(problem, ScoredProblem) and extract_answer(line) != problem.answer:
        return "\\boxed{" + problem.answer + "}"
    return line


def reference_response(problem: Problem, delimiter: str = "\n") -> str:
    r"""Returns the solution's steps, each ended by `delimiter`, then the answer line.

    The answer line is left out where the last step states the answer already. The text ends without
    the delimiter: the end token follows. Without a solution it is the answer line alone.

    >>> p = Problem(problem_id="t/train/0", question="2*3*4=?", answer="24", solution=("2*3=6",))
    >>> reference_response(p)
    '2*3=6\n#### 24'

    Args:
        problem: Whose reference is written.
        delimiter: The codec's `step_delimiter`; not empty.

    Raises:
        ConfigError: The delimiter is empty.
    """
    if not delimiter:
        raise ConfigError("delimiter must not be empty, got ''; pass the codec's step_delimiter")
    steps = [step.removesuffix(delimiter) for step in problem.solution]
    if not steps or not _states(steps[-1], problem.answer):
        steps.append(answer_line(problem))
    return delimiter.join(steps)


def _states(step: str, answer: str) -> bool:
    extracted = extract_answer(step)
    return extracted is not None and _plain(extracted) == _plain(answer)


def _plain(answer: str) -> str:
    return "".join(answer.split()).replace(",", "")
