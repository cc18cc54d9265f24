"""`reason-env check ENV_ID`: runs the quality suite on an environment that `gym.make` makes."""

import sys
from dataclasses import dataclass

from rich.text import Text

from reason_env.check import check_env_id
from reason_env.cli.flags import HELP_FLAGS, out, parsed, trust
from reason_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Check:
    """Run the quality suite on an environment; exit status 1 if a check fails."""

    problems: str | None = None
    """Problem source; None: the environment's default."""
    num_problems: int = 20
    """Number of problems to check."""
    trust: str | None = None
    """Modules, joined by commas, that ENV_ID may name (my_module:MyEnv-v0): their code runs."""


def run(words: list[str]) -> None:
    """Check the environment that the first word names."""
    if words[:1] in HELP_FLAGS:
        parsed(Check, words, prog="check ENV_ID")
    if not words or words[0].startswith("-"):
        raise ConfigError(
            "check must name an environment id; for example: reason-env check MathReason-v0"
        )
    trust(words)
    given: Check = parsed(Check, words[1:], prog="check ENV_ID")
    arguments = {} if given.problems is None else {"problems": given.problems}
    with out.status("checking ..."):
        report = check_env_id(words[0], num_problems=given.num_problems, **arguments)
    for name, status, detail in report.rows:
        out.print(Text(f"{status:<8} {name}{f': {detail}' if detail else ''}"))
    if not report.passed:
        sys.exit(1)
