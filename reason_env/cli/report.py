"""`reason-env report DIR...`: writes report.html for a comparison, or for run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.text import Text

from reason_env.agents.report import write_report
from reason_env.cli.flags import out, parsed
from reason_env.errors import ConfigError


def run(words: list[str]) -> None:
    """Write the report of the named directories."""

    @dataclass(frozen=True, kw_only=True)
    class Report:
        """Write report.html, a self-contained file, for one comparison or for run directories."""

        paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
        """One directory of `compare`, or directories of `train`."""
        out: Path | None = None
        """The file; None: report.html in the first directory."""
        episodes: int = 2000
        """Maximum number of episodes to embed; 0: none."""

    given = parsed(Report, words, prog="report")
    if not given.paths:
        raise ConfigError(
            "report must name a directory, got none; for example: reason-env report runs/grpo-chain"
        )
    target = given.out or given.paths[0] / "report.html"
    with out.status("writing the report ..."):
        path = write_report(given.paths, target, num_episodes=given.episodes)
    out.print(Text(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)"))
