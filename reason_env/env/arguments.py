"""Check the arguments of `ReasonEnv` and build the values that it holds."""

import inspect
import logging
import operator
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from reason_env.codec import Codec
from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.problem import ProblemSet
from reason_env.problems import has_split, load_problems, solution_budget
from reason_env.state import AUTO, PromptTemplate, Template, chosen_name, read_template

_log = logging.getLogger(__name__)
TRAIN = "train"
"""The split that examples are drawn from."""


def build(kind: Any, given: Any) -> Any:
    """Build a `kind` from its fields; return `given` itself if it already is one."""
    if isinstance(given, kind):
        return given
    if isinstance(given, Mapping):
        names = cast("Mapping[str, Any]", given)
        check_names(f"{kind.__name__} has no field", names, [item.name for item in fields(kind)])
    try:
        return kind(**(given or {}))
    except TypeError as error:
        raise ConfigError(
            f"{kind.__name__} must be given by its fields, got {shown(cast('object', given))}; "
            f"{error}"
        ) from error


def check_names(what: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raise for the first name that is not known, with the nearest one.

    >>> check_names("RewardConfig has no field", ["corect"], ["correct", "incorrect"])
    Traceback (most recent call last):
        ...
    reason_env.errors.ConfigError: RewardConfig has no field 'corect'; did you mean 'correct'?
    """
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigError(f"{what} {name!r}{did_you_mean(str(name), names)}")


def check_keywords(kind: Any, given: Iterable[str]) -> None:
    """Raise for the first keyword that a class does not take, with the nearest one.

    Raises:
        ConfigError: There is one.
    """
    parameters = inspect.signature(kind.__init__).parameters.values()
    if not any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters):
        names = [item.name for item in parameters if item.name != "self"]
        check_names(f"{kind.__name__} has no argument", given, names)


def load_problem_set(
    problems: str | Path | ProblemSet,
    split: str,
    size: int | None,
    levels: Sequence[int] | None,
    seed: int,
    *,
    columns: Mapping[str, str] | None,
    allow_ungradable: bool,
    drop_ungradable: bool = False,
    hold_out: float | None = None,
) -> ProblemSet:
    """Load the problems that a source names; a `ProblemSet` is returned as it is.

    Raises:
        ConfigError: An argument is malformed, or contradicts a given `ProblemSet`.
    """
    if isinstance(problems, ProblemSet):
        given = {
            "size": size,
            "levels": levels,
            "problem_seed": seed or None,
            "columns": columns or None,
            "allow_ungradable": allow_ungradable or None,
            "drop_ungradable": drop_ungradable or None,
            "hold_out": hold_out,
        }
        named = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        if named:
            raise ConfigError(
                f"{', '.join(given)} must be left out for a ProblemSet, got {', '.join(named)}; "
                "choose when the set is made"
            )
        return problems
    pair: tuple[int, int] | None = None
    if levels is not None:
        pair = _level_range(levels)
    return load_problems(
        str(problems),
        split=split,
        size=size,
        levels=pair,
        seed=seed,
        columns=columns,
        allow_ungradable=allow_ungradable,
        drop_ungradable=drop_ungradable,
        hold_out=hold_out,
    )


def _level_range(levels: Any) -> tuple[int, int]:
    """Read (lowest, highest) from any pair of whole numbers, a numpy array too.

    Raises:
        ConfigError: It is something else.
    """
    try:
        found = [operator.index(level) for level in levels]
    except TypeError:
        found = []
    if len(found) != 2 or isinstance(levels, Mapping | Set):
        raise ConfigError(
            f"levels must be (lowest, highest), got {shown(cast('object', levels))}; for one level "
            "write (4, 4)"
        )
    return found[0], found[1]


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
        is_split = has_split(str(problems), TRAIN) or choice.get("hold_out") is not None
        use = TRAIN if is_split else split
        # Every problem, so that the number of problems to sample does not decide the examples.
        every: dict[str, Any] = {**choice, "size": None}
        source = load_problem_set(problems, use, **every)
    return template.with_examples(tuple(source), source.content_hash)


def say_budget(problems: ProblemSet, codec: Codec, max_tokens: int, layout: str | None) -> None:
    """Warn, once in a process, of reference solutions that are longer than a response may be.

    Not for generated problems, whose lengths the levels decide.
    """
    line = solution_budget(problems, codec, max_tokens, layout=layout).line
    if line:
        _say_once(f"{problems.name}: {line}")


@lru_cache(maxsize=256)
def _say_once(line: str) -> None:
    _log.warning("%s", line)
