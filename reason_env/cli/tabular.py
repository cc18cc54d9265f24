"""`reason-env tabular SETTING...`: exact ablations over seeds, as CSV files and figures."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from reason_env.agents.tabular.ablations import SETTINGS, run_setting, setting, write_run
from reason_env.cli.flags import out, parsed


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """Runs ablations of the theory on small MDPs with exact values."""

    seeds: int | None = None
    """Seeds of each setting; its own number if None."""
    workers: int = os.cpu_count() or 1
    """Processes."""
    out: Path = Path("runs/tabular")
    """Where <setting>.csv and <setting>.png go; they are written over."""


def run(words: list[str]) -> None:
    """Runs the settings that the words before the flags name; lists them if there is none."""
    names = [word for word in words if not word.startswith("-")]
    names = names[: next((i for i, word in enumerate(words) if word.startswith("-")), len(words))]
    given: Tabular = parsed(Tabular, words[len(names) :], prog="tabular SETTING...")
    if not names:
        for name, known in SETTINGS.items():
            out.print(Text(f"{name:<16} {known.about} ({known.num_seeds} seeds)"))
        return
    for name in names:
        setting(name)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    for name in names:
        with Progress(*columns, console=out) as progress:
            task = progress.add_task(name, total=None)
            rows = run_setting(
                name,
                num_seeds=given.seeds,
                num_workers=given.workers,
                on_seed=lambda _, done, total, p=progress, t=task: p.update(
                    t, completed=done, total=total
                ),
            )
        table, picture = write_run(name, rows, given.out)
        out.print(Text(f"{name}: {len(rows)} rows, {table}, {picture}"))
