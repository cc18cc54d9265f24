"""Check the arguments of `ReasonEnv` and build the values that it holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from reason_env.codec import Codec
from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import has_split, load_problems
from reason_env.state import AUTO, PromptTemplate, Template, chosen_name, read_template
from reason_env.verify import PRESETS, GradeOptions

TRAIN = "train"
"""The split that examples are drawn from."""


def longest_problem(problems: ProblemSet) -> Problem:
    """The problem with the longest question, in bytes."""
    return max(problems, key=lambda problem: len(problem.question.encode("utf-8", "replace")))


def build(kind: Any, given: Any) -> Any:
    """Build a `kind` from its fields; return `given` itself if it already is one."""
    if isinstance(given, kind):
        return given
    try:
        return kind(**(given or {}))
    except TypeError as error:
        raise ConfigError(
            f"{kind.__name__} must be given by its fields, got {shown(given)}; {error}"
        ) from error


def load_problem_set(
    problems: str | Path | ProblemSet,
    split: str,
    size: int | None,
    levels: Sequence[int] | None,
    seed: int,
    *,
    columns: Mapping[str, str] | None,
    allow_ungradable: bool,
) -> ProblemSet:
    """Load the problems that a source names; a `ProblemSet` is returned as it is.

    Raises:
        ConfigError: An argument is malformed, or contradicts a given `ProblemSet`.
    """
    if isinstance(problems, ProblemSet):
        if size is not None or levels is not None or seed or columns or allow_ungradable:
            raise ConfigError(
                "size, levels, problem_seed, columns and allow_ungradable must be left out for a "
                f"ProblemSet, got {size!r}, {levels!r}, {seed!r}, {columns!r} and "
                f"{allow_ungradable!r}; choose when the set is made"
            )
        return problems
    pair: tuple[int, int] | None = None
    if levels is not None:
        if not isinstance(cast("object", levels), Sequence) or len(levels) != 2:
            raise ConfigError(f"levels must be (lowest, highest), got {shown(levels)}")
        pair = (int(levels[0]), int(levels[1]))
    return load_problems(
        str(problems),
        split=split,
        size=size,
        levels=pair,
        seed=seed,
        columns=columns,
        allow_ungradable=allow_ungradable,
    )


def load_template(
    template: str | Path | Mapping[str, Any] | Template | None,
    prompt: PromptTemplate | Mapping[str, Any] | None,
    codec: Codec,
) -> Template:
    """Read a template, or make one of a prompt; without either, it is that of version 0.1.

    Args:
        template: As for `read_template`; "auto" to choose by the codec.
        prompt: The prompt's texts alone; then `template` is None or "auto".
        codec: Decides what "auto" means.

    Raises:
        ConfigError: Both are given, or one is malformed.
        UnknownNameError: There is no such template.
    """
    if prompt is not None:
        if template not in (None, AUTO):
            raise ConfigError(
                f"prompt must be left out if a template is given, got template {shown(template)}; "
                "write the prompt's texts into the template"
            )
        own = build(PromptTemplate, prompt)
        return Template(name="custom", prompt=own, num_examples=own.num_examples)
    if template == AUTO:
        return read_template(chosen_name(codec))
    return read_template("ours" if template is None else template)


def with_examples(
    template: Template, problems: str | Path | ProblemSet, split: str, **choice: Any
) -> Template:
    """Draw the examples of a template, if it shows any that are not drawn yet.

    They come from the training split of the source, and from the source itself only if it has no
    such split.

    Args:
        template: The template.
        problems: As for `load_problem_set`.
        split: The split that is sampled from.
        choice: The further arguments of `load_problem_set`.
    """
    if template.is_complete:
        return template
    if isinstance(problems, ProblemSet):
        source = problems
    else:
        use = TRAIN if has_split(str(problems), TRAIN) else split
        source = load_problem_set(problems, use, **choice)
    return template.with_examples(tuple(source), source.content_hash)


def load_grade_options(given: str | GradeOptions | Mapping[str, Any]) -> GradeOptions:
    """Build grade options from a preset's name or from fields."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise ConfigError(
                f"grading must be one of {', '.join(PRESETS)}, got {given!r}"
                f"{did_you_mean(given, PRESETS)}"
            )
        return PRESETS[given]()
    return build(GradeOptions, given)
