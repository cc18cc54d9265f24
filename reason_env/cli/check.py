"""`reason-env check ENV_ID`: the quality suite on an environment, made as `gym.make` makes it."""

import sys
from dataclasses import dataclass

from rich.text import Text

from reason_env.check import check_env_id
from reason_env.cli.flags import out, parsed
from reason_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Check:
    """Puts an environment through the quality suite; exit status 1 if a check fails."""

    problems: str | None = None
    """Source of the problems; the environment's own if None."""
    num_problems: int = 20
    """Problems that are tried."""


def run(words: list[str]) -> None:
    """Checks the environment that the first word names."""
    if not words or words[0].startswith("-"):
        raise ConfigError("check must name an id; for example: reason-env check MathReason-v0")
    given: Check = parsed(Check, words[1:], prog="check ENV_ID")
    arguments = {} if given.problems is None else {"problems": given.problems}
    with out.status("checking ..."):
        report = check_env_id(words[0], num_problems=given.num_problems, **arguments)
    for name, word, detail in report.rows:
        out.print(Text(f"{word:<8} {name}{f': {detail}' if detail else ''}"))
    if not report.passed:
        sys.exit(1)
