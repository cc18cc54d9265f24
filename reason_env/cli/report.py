"""`reason-env report DIR...`: report.html of a comparison, or of run directories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.text import Text

from reason_env.agents.report import write_report
from reason_env.cli.flags import out, parsed
from reason_env.errors import ConfigError


def run(words: list[str]) -> None:
    """Writes the report of the directories that the leading words name."""

    @dataclass(frozen=True, kw_only=True)
    class Report:
        """Writes report.html of one comparison, or of run directories: one file, no network."""

        paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
        """A directory that `compare` wrote, or directories that `train` wrote."""
        out: Path | None = None
        """The file; report.html in the first directory if None."""
        episodes: int = 2000
        """Most episodes to embed; 0 for none."""

    given = parsed(Report, words, prog="report")
    if not given.paths:
        raise ConfigError(
            "report must name a directory, got none; for example: reason-env report runs/grpo-chain"
        )
    target = given.out or given.paths[0] / "report.html"
    with out.status("writing the report ..."):
        path = write_report(given.paths, target, num_episodes=given.episodes)
    out.print(Text(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)"))
