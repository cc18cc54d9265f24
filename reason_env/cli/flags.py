"""What every command shares: the console that it prints on, and how flags become a config."""

from collections.abc import Sequence
from typing import Any

import tyro
from rich.console import Console

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
