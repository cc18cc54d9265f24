"""`reason-env problems list | show`: lists problem sources, shows problems of one."""

from dataclasses import dataclass

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
        seed: int = 0
        """Seed of a family's problems."""
        count: int = 3
        """Number of problems to show, from the first."""

    given = parsed(Show, words[2:], prog=f"problems show {words[1]}")
    problems = load_problems(words[1], split=given.split, levels=given.levels, seed=given.seed)
    for problem in problems[: given.count]:
        out.print(tables.problem_text(problem))
        out.print()
    out.print(
        Text(f"{tables.counted(len(problems), 'problem')}, content hash {problems.content_hash}")
    )
