"""`reason-env problems list | show | check`: lists sources, shows and checks problems of one."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from reason_env.agents.runs import model_directory
from reason_env.cli import tables
from reason_env.cli.flags import HELP_FLAGS, out, parsed
from reason_env.codec import Codec, load_codec
from reason_env.errors import ConfigError
from reason_env.problems import check_problems, load_problems, problem_sources

USAGE = """reason-env problems list             the sources, and how to name them
reason-env problems show SOURCE      problems with their solutions; --help lists its flags
reason-env problems check SOURCE     rows and constant answers that fail; status 1 if any does"""

SMOLLM2 = "smollm2"
SHIPPED = ("base", "late", "sealed")


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show problems with their reference solutions and answers."""

    split: str = "train"
    """Split of the problems."""
    levels: tuple[int, int] | None = None
    """Lowest and highest level, inclusive."""
    problem_seed: int = 0
    """Selects a family's problems, or those that hold_out selects."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Problem field -> column of a file: `--columns question problem answer final`."""
    allow_ungradable: bool = False
    """Keep rows whose reference answer does not grade as correct against itself."""
    drop_ungradable: bool = False
    """Drop those rows, and rows that hold a proof or no answer."""
    hold_out: int | float | None = None
    """Fraction or number of a file's questions that are its split "test"."""
    count: int = 3
    """Number of problems to show, from the first."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"count must be at least 0, got {self.count!r}")


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check every row: its columns, its answer against itself and changed copies of itself, what
    constant answers would earn, and whether reference solutions fit into a response.
    """

    split: str = "train"
    """Split of the problems."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Problem field -> column of a file: `--columns question problem answer final`."""
    grading: str = "strict"
    """What is forgiven: strict, gsm8k, math, text, dapo, r1, boxed or mcq, or several joined by
    +."""
    size: int | None = None
    """Number of generated problems, or of rows from the first; None for all."""
    constants: int = 200
    """Number of constant answers that are tried; 0 for none."""
    max_tokens: int = 256
    """Tokens of a response, for the reference solutions."""
    model: str = "base"
    """Model whose tokens are counted: base, smollm2, a run, a directory, a file or a hub name."""
    show: int = 20
    """Maximum number of rows, and of constants, to list."""

    def __post_init__(self) -> None:
        if self.show < 0:
            raise ConfigError(f"show must be at least 0, got {self.show!r}")


def run(words: list[str]) -> None:
    """List the sources, show problems of one, or check them."""
    if words[:1] in HELP_FLAGS or words[1:2] in HELP_FLAGS:
        out.print(Text(USAGE))
        return
    if not words or words[0] not in ("list", "show", "check"):
        raise ConfigError(
            "problems must be followed by list, show or check; "
            "for example: reason-env problems show chain --count 2"
        )
    if words[0] == "list":
        for source in problem_sources():
            out.print(Text(f"{source.usage:<20} {source.description}"))
        return
    if len(words) < 2 or words[1].startswith("-"):
        raise ConfigError(f"problems {words[0]} must name a source; see: reason-env problems list")
    if words[0] == "show":
        _show(words[1], words[2:])
    else:
        _check(words[1], words[2:])


def _show(source: str, flags: list[str]) -> None:
    given: Show = parsed(Show, flags, prog=f"problems show {source}")
    problems = load_problems(
        source,
        split=given.split,
        levels=given.levels,
        seed=given.problem_seed,
        columns=given.columns or None,
        allow_ungradable=given.allow_ungradable,
        drop_ungradable=given.drop_ungradable,
        hold_out=given.hold_out,
    )
    for problem in problems[: given.count]:
        out.print(tables.problem_text(problem))
        out.print()
    out.print(
        Text(f"{tables.counted(len(problems), 'problem')}, content hash {problems.content_hash}")
    )


def codec_of(model: str) -> Codec:
    """Load the tokens of a model; its weights only if they decide which those are."""
    if model in SHIPPED:  # without loading torch
        return load_codec("bytes")
    place = model_directory(model)
    if place == SMOLLM2 or Path(place).exists():
        from reason_env.agents.policy import load_model

        return load_model(place)[1]
    return load_codec(place)


def _check(source: str, flags: list[str]) -> None:
    given: Check = parsed(Check, flags, prog=f"problems check {source}")
    codec = codec_of(given.model)
    began = time.monotonic()
    with out.status("checking ..."):
        found = check_problems(
            source,
            split=given.split,
            columns=given.columns or None,
            options=given.grading,
            num_constants=given.constants,
            size=given.size,
            codec=codec,
            max_tokens=given.max_tokens,
        )
    for line in tables.check_lines(found, most=given.show):
        out.print(Text(line))
    if found.failed:
        out.print(tables.failed_table(found, most=given.show))
    out.print(Text(f"checked in {tables.duration_text(time.monotonic() - began)}"))
    if not found.passed:
        sys.exit(1)
