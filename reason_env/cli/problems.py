"""`reason-env problems list | show`: where problems come from, and what they are."""

from dataclasses import dataclass

from rich.text import Text

from reason_env.cli import tables
from reason_env.cli.flags import out, parsed
from reason_env.errors import ConfigError
from reason_env.problems import load_problems, problem_sources


def run(words: list[str]) -> None:
    """Lists sources, or shows problems of one."""
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
        """Shows problems with their references."""

        split: str = "train"
        levels: tuple[int, int] | None = None
        """Lowest and highest level, both included."""
        seed: int = 0
        """Chooses a family's problems."""
        count: int = 3
        """How many to show, from the first."""

    given = parsed(Show, words[2:], prog=f"problems show {words[1]}")
    problems = load_problems(words[1], split=given.split, levels=given.levels, seed=given.seed)
    for problem in problems[: given.count]:
        out.print(tables.problem_text(problem))
        out.print()
    out.print(Text(f"{len(problems)} problems, content hash {problems.content_hash}"))
