"""Problems as programs that evaluate models put them: a prompt, and what grades the reply."""

from collections.abc import Iterator
from dataclasses import dataclass

from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.problems import load_problems, reference_response
from reason_env.state import ReasonState, read_template


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One problem, as it is put to a model."""

    problem: Problem
    prompt: str | list[dict[str, str]]
    """The prompt; messages of a chat where the template has them."""
    demonstration: str
    """The reference solution as a response."""
    grading: str
    """What counts as an answer and what is forgiven, by name."""


def questions(
    problems: str, *, split: str, size: int | None, template: str, grading: str | None
) -> Iterator[Question]:
    """Yield a question for each problem of a source.

    Args:
        problems: A family, gsm8k:PATH, hub:NAME, or a file.
        split: Split of the problems.
        size: Number of problems; None for all of a file, or the family's default.
        template: How problems are put to the model.
        grading: What counts as an answer; None for the template's.

    Raises:
        ConfigError: The template shows examples.
    """
    found = read_template(template)
    if not found.is_complete:
        raise ConfigError(
            f"the template must have no examples to draw, got {found.name!r}; use one without, "
            "such as boxed"
        )
    for problem in load_problems(problems, split=split, size=size):
        state = ReasonState(problem=problem, codec=ByteCodec())
        is_chat = found.prompt.kind == "chat"
        yield Question(
            problem=problem,
            prompt=found.prompt.messages(state) if is_chat else found.prompt.text(state),
            demonstration=reference_response(problem, layout=found.layout),
            grading=found.grading if grading is None else grading,
        )
