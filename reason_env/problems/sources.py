"""Loads problems from every source by name, and lists the sources.

A source is a name, or a name and its argument: `chain`, `gsm8k:PATH`, `hub:NAME`, `file:PATH`,
`mix:PARTS`, `reasoning_gym:NAME`; a path alone is a file. A family is imported at its first use, so
that importing this package stays cheap. An argument that a source does not use is an error.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import cast

from reason_env.errors import ConfigError, ProblemError, UnknownNameError, did_you_mean, shown
from reason_env.problem import ProblemSet
from reason_env.problems.families.family import Family
from reason_env.problems.families.mix import make_mix
from reason_env.problems.files import (
    RowFormat,
    RowOptions,
    Rows,
    Table,
    check_limit,
    converted,
    has_split_file,
    is_saved,
    problems_from_table,
    read_file,
    read_hub,
)
from reason_env.problems.held_out import check_hold_out, part_of
from reason_env.problems.reasoning_gym import load_reasoning_gym

GENERATORS = ("mix", "reasoning_gym")
"""Sources that generate problems and take an argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSource:
    """A source, as `reason-env problems list` shows it."""

    name: str
    """The text before the colon, or the whole name."""
    description: str
    """One line."""
    argument: str = ""
    """Placeholder for the text after the colon, in capitals; empty if the source takes none."""
    module: str = ""
    """The module of a family; empty for other sources."""

    @property
    def usage(self) -> str:
        """How to write the source on the command line.

        >>> [source.usage for source in problem_sources()][10:]
        ['mix:PARTS', 'gsm8k:PATH', 'file:PATH', 'hub:NAME[:CONFIG]', 'reasoning_gym:NAME']
        """
        return f"{self.name}:{self.argument}" if self.argument else self.name

    @property
    def is_generator(self) -> bool:
        """Whether it generates problems, rather than reading them."""
        return bool(self.module) or self.name in GENERATORS


_SOURCES: tuple[ProblemSource, ...] = (
    ProblemSource(
        name="chain",
        description="generated: a long chain of register operations with few critical steps",
        module="reason_env.problems.families.chain",
    ),
    ProblemSource(
        name="inverse",
        description="generated: inverse problems, easy to explain once the answer is known",
        module="reason_env.problems.families.inverse",
    ),
    ProblemSource(
        name="unlock",
        description="generated: a hard start of powers, and an easy rest",
        module="reason_env.problems.families.unlock",
    ),
    ProblemSource(
        name="precedence",
        description="generated: three expressions, and tempting wrong ways to read them",
        module="reason_env.problems.families.precedence",
    ),
    ProblemSource(
        name="equation",
        description="generated: a x + b - c = d, one term moved per step; fractions as answers",
        module="reason_env.problems.families.equation",
    ),
    ProblemSource(
        name="countdown",
        description="generated: reach a number with given digits; several right answers",
        module="reason_env.problems.families.countdown",
    ),
    ProblemSource(
        name="stories",
        description="generated: word problems in prose, for pretrained models",
        module="reason_env.problems.families.stories",
    ),
    ProblemSource(
        name="late",
        description="generated: 32 steps with letters that do not matter; products late can fail",
        module="reason_env.problems.families.late",
    ),
    ProblemSource(
        name="sealed",
        description="generated: a start that sampling never gets through, and an easy rest",
        module="reason_env.problems.families.sealed",
    ),
    ProblemSource(
        name="opposed",
        description="generated: easy questions that pay a wrong reading of precedence",
        module="reason_env.problems.families.opposed",
    ),
    ProblemSource(
        name="mix",
        description="generated: families by weight, as in mix:unlock@1-3+unlock@8-10*3",
        argument="PARTS",
    ),
    ProblemSource(
        name="gsm8k",
        description="GSM8K's own format: a .jsonl or .parquet file, or a directory of splits",
        argument="PATH",
    ),
    ProblemSource(
        name="file",
        description="your problems: .jsonl, .json, .csv, .tsv (also .gz) or .parquet; or the path",
        argument="PATH",
    ),
    ProblemSource(
        name="hub",
        description="a Hugging Face data set by name, or a local directory of one",
        argument="NAME[:CONFIG]",
    ),
    ProblemSource(
        name="reasoning_gym",
        description="generated: a set of reasoning-gym, verified by its own scorer",
        argument="NAME",
    ),
)


def problem_sources() -> list[ProblemSource]:
    """List every source that `load_problems` knows."""
    return list(_SOURCES)


def is_generated(name: str) -> bool:
    """Decide whether a source generates any number of problems, rather than reading them.

    >>> is_generated("chain"), is_generated("mix:unlock@1-3"), is_generated("mine.jsonl")
    (True, True, False)

    Raises:
        UnknownNameError: There is no such source.
        ConfigError: The argument is missing, or the source takes none.
    """
    source, _ = _parsed(name, None)
    return source.is_generator


def has_split(source: str, split: str) -> bool:
    """Whether a source has this split; a single file has none.

    >>> has_split("chain", "test"), has_split("problems.jsonl", "test")
    (True, False)
    """
    head, colon, argument = source.partition(":")
    is_file = bool(colon) and head in ("gsm8k", "file")
    if head in {known.name for known in problem_sources()} and not is_file:
        return True
    path = Path(argument if is_file else source)
    return (is_saved(path) and (path / split).is_dir()) or has_split_file(path, split)


def load_problems(
    name: str,
    path: str | Path | None = None,
    *,
    split: str = "train",
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    allow_ungradable: bool = False,
    drop_ungradable: bool = False,
    hold_out: float | None = None,
) -> ProblemSet:
    """Load or generate the problems of a source.

    Args:
        name: A family, `mix`, `gsm8k`, `file`, `hub` or `reasoning_gym` (the last five with an
            argument after a colon, or in `path`), or the path of a file.
        path: The argument of the last five, if it is not part of the name.
        split: The split. A single file is one split, for which this only determines the ids.
        size: Number of problems to generate; of a file or hub set, keep only the first `size`
            (after selecting `levels`).
        levels: (lowest, highest), both included.
        seed: Determines generated problems, or those that `hold_out` selects; otherwise 0 for a
            file or hub set.
        columns: Problem field -> column, for files and hub sets: a name, a path
            (`reward_model.ground_truth`), a join (`body+question`), or `boxed(solution)`; those
            left out are found by their names.
        allow_ungradable: Keep rows of a file or hub set whose answer does not grade as correct
            against itself; a warning lists them.
        drop_ungradable: Drop those rows, and rows that hold no answer or a proof; a warning lists
            them.
        hold_out: Fraction (below 1) or number of the questions of a single file or hub split that
            are the split "test"; the others are "train". None: the source's own splits.

    Raises:
        UnknownNameError: There is no such source; the message suggests the nearest name.
        ProblemError: The file, the data set or one of its rows cannot be used.
        ConfigError: An argument is out of its range, or the source does not use it.
    """
    check_limit(size, "size")
    if not hasattr(seed, "__index__"):
        raise ConfigError(f"seed must be an integer, got {shown(seed)}")
    if levels is not None and not 0 <= levels[0] <= levels[1]:
        raise ConfigError(
            f"levels must be (low, high) with 0 <= low <= high, got {levels!r}; "
            "both ends are included"
        )
    source, argument = _parsed(name, path)
    if source.is_generator:
        _check_unused(source, columns, allow_ungradable or drop_ungradable, hold_out)
        return _generated(source, argument, split=split, size=size, levels=levels, seed=seed)
    if seed != 0 and hold_out is None:
        raise ConfigError(
            f"seed must be 0 for {source.usage}, got {seed!r}; "
            "only generated families draw problems"
        )
    if hold_out is not None:
        _check_one_split(name, hold_out)
    options = RowOptions(
        columns=columns,
        row_format=_format(source),
        allow_ungradable=allow_ungradable,
        drop_ungradable=drop_ungradable,
    )
    own_split = split if hold_out is None else "train"
    limit = size if levels is None and hold_out is None else None
    table, set_name = _table(source, argument, own_split, limit)
    problems = problems_from_table(table, set_name=set_name, split=own_split, options=options)
    if hold_out is not None:
        problems = part_of(problems, split, hold_out=hold_out, seed=seed)
    if levels is not None:
        return _of_levels(problems, argument, levels, size)
    return ProblemSet(problems.name, problems.problems[:size], problems.checker)


def read_rows(
    name: str,
    *,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    size: int | None = None,
) -> tuple[Table, Rows] | None:
    """Read every row of a file or hub set, with those that are no problems; None of a generator.

    Args:
        name: As for `load_problems`.
        split: The split.
        columns: Problem field -> column.
        size: Read only the first `size` rows.

    Raises:
        ProblemError: The file or set cannot be read, or lacks a column.
    """
    check_limit(size, "size")
    source, argument = _parsed(name, None)
    if source.is_generator:
        return None
    table, set_name = _table(source, argument, split, size)
    options = RowOptions(columns=columns, row_format=_format(source))
    return table, converted(table, set_name=set_name, split=split, options=options)


def _check_one_split(name: str, hold_out: float) -> None:
    """Raise if a source already has a test split, which hold_out would contradict."""
    check_hold_out(hold_out)
    if not name.startswith("hub:") and has_split(name, "test"):
        raise ConfigError(
            f"hold_out must be None for {name!r}, which has a test split, got {hold_out!r}; leave "
            "it out, or name the training file"
        )


def _check_unused(
    source: ProblemSource,
    columns: Mapping[str, str] | None,
    has_ungradable: bool,
    hold_out: float | None,
) -> None:
    if hold_out is not None:
        raise ConfigError(
            f"hold_out must be None for {source.name!r}, which has disjoint splits, got "
            f"{hold_out!r}; leave it out"
        )
    if columns is not None:
        raise ConfigError(
            f"columns must be None for the family {source.name!r}, got {shown(dict(columns))}; "
            "they name the columns of files and hubs"
        )
    if has_ungradable:
        raise ConfigError(
            f"allow_ungradable and drop_ungradable must be False for the family {source.name!r}, "
            "got True; "
            "every answer of a family can be graded"
        )


def _generated(
    source: ProblemSource,
    argument: str,
    *,
    split: str,
    size: int | None,
    levels: tuple[int, int] | None,
    seed: int,
) -> ProblemSet:
    if source.name == "reasoning_gym":
        return load_reasoning_gym(argument, split=split, size=size, levels=levels, seed=seed)
    if source.name == "mix":
        if levels is not None:
            raise ConfigError(
                f"levels must be None for mix:{argument}, got {levels!r}; give each part its own, "
                "as in mix:unlock@1-3+unlock@8-10"
            )
        return make_mix(argument, split, size=size, seed=seed, make_family=_family)
    return _family(source.name, split, size, None if levels is None else tuple(levels), seed)


@lru_cache(maxsize=4, typed=True)
def _family(
    name: str, split: str, size: int | None, levels: tuple[int, int] | None, seed: int
) -> ProblemSet:
    """Generate a family's problems; copies of an environment share them, as they are immutable."""
    modules = {source.name: source.module for source in _SOURCES if source.module}
    if name not in modules:
        raise UnknownNameError(f"no family {name!r}{did_you_mean(name, modules)}")
    family = cast("Family", import_module(modules[name]))
    return family.make(split, size=size, levels=levels, seed=seed)


def _parsed(name: str, path: str | Path | None) -> tuple[ProblemSource, str]:
    table = {source.name: source for source in _SOURCES}
    head, colon, tail = name.partition(":")
    if head not in table:
        if not _is_path(name):
            raise UnknownNameError(
                f"no problem source {name!r}; for a file give its path{did_you_mean(head, table)}"
            )
        head, colon, tail = "file", ":", name
    source = table[head]
    if not source.argument:
        if colon or path is not None:
            raise ConfigError(
                f"problem source {head!r} must have no argument, got "
                f"{shown(tail if colon else str(path))}; leave it out"
            )
        return source, ""
    if bool(tail) == (path is not None):
        raise ConfigError(
            f"problem source {head!r} must have one argument, got {name!r} and path "
            f"{path if path is None else str(path)!r}; write {source.usage}"
        )
    return source, tail or str(path)


def _is_path(name: str) -> bool:
    # A wrong suffix or a missing file gets the message about files, not about sources.
    looks = Path(name).suffix[1:].isalnum() or "/" in name or os.sep in name
    return looks or (name != "" and Path(name).exists())


def _table(
    source: ProblemSource, argument: str, split: str, limit: int | None
) -> tuple[Table, str]:
    """Read the table of a file or hub set, and the name of the set."""
    if source.name == "hub":
        hub_name, colon, config = argument.rpartition(":")
        if not colon or Path(argument).is_dir():
            hub_name, config = argument, ""
        return read_hub(hub_name, config=config or None, split=split, limit=limit)
    if is_saved(Path(argument)):
        return read_hub(argument, split=split, limit=limit)
    table, set_name = read_file(Path(argument), split, limit)
    return table, "gsm8k" if source.name == "gsm8k" else set_name


def _format(source: ProblemSource) -> RowFormat:
    return "gsm8k" if source.name == "gsm8k" else "auto"


def _of_levels(
    problems: ProblemSet, argument: str, levels: tuple[int, int], size: int | None
) -> ProblemSet:
    found = sorted({problem.level for problem in problems} - {0})
    if not found:
        raise ProblemError(
            f"{argument} must have levels to be filtered by them, got none in {len(problems)} rows;"
            " leave levels out, or map a column to level"
        )
    kept = [problem for problem in problems if levels[0] <= problem.level <= levels[1]]
    if not kept:
        raise ProblemError(
            f"levels must leave at least one problem of {argument}, got {levels!r} where the rows "
            f"have {found[0]} to {found[-1]}; widen them"
        )
    return ProblemSet(problems.name, tuple(kept[:size]))
