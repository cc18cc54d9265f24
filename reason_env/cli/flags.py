"""What every command shares: the console that it prints on, and how flags become a config."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import tyro
from rich.console import Console

from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

Arguments = Sequence[str]
FLAT = tyro.conf.arg(name="")
"""Its fields are flags without a prefix."""
out = Console(soft_wrap=True)


def parsed(kind: Any, words: Arguments, *, prog: str, default: Any = None) -> Any:
    """Returns the config that the flags describe; tyro exits with status 2 on a wrong flag."""
    return tyro.cli(
        kind,
        args=list(words),
        prog=f"reason-env {prog}",
        default=kind() if default is None else default,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )


def check_spec_alone(words: Arguments) -> None:
    """Raises if a flag of the environment stands beside --env, also one that says the default.

    >>> check_spec_alone(["--env", "spec.json", "--seed", "1"])

    Raises:
        ConfigError: There is such a flag.
    """
    own = {item.name for item in fields(EnvConfig)}
    for word in words:
        name = word.partition("=")[0].removeprefix("--").partition(".")[0].replace("-", "_")
        if word.startswith("--") and name in own:
            raise ConfigError(
                f"an environment given as a spec must stand alone, got {name} too; change the "
                "spec's own arguments"
            )
