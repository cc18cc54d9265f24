"""What every command shares: the console that it prints on, and how flags become a config."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import tyro
from rich.console import Console

from reason_env.agents.runs import config_json
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

_log = logging.getLogger(__name__)
Arguments = Sequence[str]
FLAT = tyro.conf.arg(name="")
"""Its fields are flags without a prefix."""
out = Console(soft_wrap=True)


def parsed(kind: Any, words: Arguments, *, prog: str, default: Any = None) -> Any:
    """Read the config that the flags describe; tyro exits with status 2 on a wrong flag."""
    default = kind() if default is None else default
    renamed = config_json.renamed_keys(default, flat=FLAT)
    return tyro.cli(
        kind,
        args=[_current(word, renamed) for word in words],
        prog=f"reason-env {prog}",
        default=default,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )


def _current(word: str, renamed: Mapping[str, str]) -> str:
    """Replace the old spelling of a renamed flag, with a warning."""
    flag, equals, value = word.partition("=")
    key = flag.removeprefix("--").replace("-", "_")
    if not flag.startswith("--") or key not in renamed:
        return word
    current = f"--{renamed[key].replace('_', '-')}"
    _log.warning("the flag %s is now %s", flag, current)
    return current + equals + value


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
