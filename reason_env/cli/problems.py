"""`reason-env problems list | show`: lists problem sources, shows problems of one."""

from dataclasses import dataclass, field

from rich.text import Text

from reason_env.cli import tables
from reason_env.cli.flags import HELP_FLAGS, out, parsed
from reason_env.errors import ConfigError
from reason_env.problems import load_problems, problem_sources

USAGE = """reason-env problems list             the sources, and how to name them
reason-env problems show SOURCE      problems with their solutions; --help lists its flags"""


def run(words: list[str]) -> None:
    """List the sources, or show problems of one."""
    if words[:1] in HELP_FLAGS or words[1:2] in HELP_FLAGS:
        out.print(Text(USAGE))
        return
    if not words or words[0] not in ("list", "show"):
        raise ConfigError(
            "problems must be followed by list or show; "
            "for example: reason-env problems show chain --count 2"
        )
    if words[0] == "list":
        for source in problem_sources():
            out.print(Text(f"{source.usage:<20} {source.description}"))
        return
    if len(words) < 2 or words[1].startswith("-"):
        raise ConfigError("problems show must name a source; see: reason-env problems list")

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
        hold_out: int | float | None = None
        """Fraction or number of a file's questions that are its split "test"."""
        count: int = 3
        """Number of problems to show, from the first."""

    given = parsed(Show, words[2:], prog=f"problems show {words[1]}")
    problems = load_problems(
        words[1],
        split=given.split,
        levels=given.levels,
        seed=given.problem_seed,
        columns=given.columns or None,
        allow_ungradable=given.allow_ungradable,
        hold_out=given.hold_out,
    )
    for problem in problems[: given.count]:
        out.print(tables.problem_text(problem))
        out.print()
    out.print(
        Text(f"{tables.counted(len(problems), 'problem')}, content hash {problems.content_hash}")
    )
