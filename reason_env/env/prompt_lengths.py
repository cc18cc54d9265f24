"""Which prompts are too long, exact in tokens, without encoding every prompt.

No tokenizer gives a text more tokens than it has bytes. One prompt's tokens and the bytes of
another question therefore bound the other prompt; only where that bound is over the limit is the
prompt encoded. 7,500 problems of which none comes near the limit take a few milliseconds.

Not covered: guidance, which lengthens a prompt; a reset checks it.
"""

from collections.abc import Iterable

from reason_env.codec import Codec
from reason_env.problem import Problem
from reason_env.state import PromptTemplate, ReasonState

_SEAM_TOKENS = 16
"""Tokens that the text around a question may gain from another question."""


def long_prompts(
    prompt: PromptTemplate, problems: Iterable[Problem], codec: Codec, limit: int
) -> dict[str, int]:
    r"""Problem id -> tokens of the prompt, for each prompt of more than `limit` tokens.

    >>> from reason_env import ByteCodec, Problem
    >>> questions = ("2+2=?", "one hundred and two minus two", "3*4=?")
    >>> problems = [
    ...     Problem(problem_id=f"t/{row}", question=text, answer="4")
    ...     for row, text in enumerate(questions)
    ... ]
    >>> long_prompts(PromptTemplate(), problems, ByteCodec(), 30)
    {'t/1': 31}
    """
    given = list(problems)

    def count(problem: Problem) -> int:
        return len(prompt.token_ids(ReasonState(problem=problem, codec=codec)))

    # The prompt of an example's own question shows another example, and says nothing about others.
    shown = {example.question for example in prompt.examples}
    usual = [problem for problem in given if problem.question not in shown] or given
    room = limit - count(min(usual, key=lambda problem: len(problem.question))) - _SEAM_TOKENS
    copies = max(1, prompt.question.count("{question}"))
    found: dict[str, int] = {}
    for problem in given:
        question = problem.question
        if copies * len(question.encode("utf-8", "replace")) > room or question in shown:
            num_tokens = count(problem)
            if num_tokens > limit:
                found[problem.problem_id] = num_tokens
    return found


def other_ids(found: dict[str, int]) -> str:
    """The ids of all problems but the longest one, for a message; empty if there are none.

    >>> other_ids({"t/0": 9, "t/1": 12, "t/2": 10})
    " (and 2 more: 't/2', 't/0')"
    """
    others = sorted(found, key=lambda name: -found[name])[1:]
    if not others:
        return ""
    listed = ", ".join(map(repr, others[:_MAX_NAMED]))
    return f" (and {len(others)} more: {listed}{', ...' if len(others) > _MAX_NAMED else ''})"


_MAX_NAMED = 5
