"""`reason-env tabular SETTING...`: exact ablations over seeds, as CSV files and figures."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from reason_env.agents.tabular.ablations import (
    INSTALL_FIGURES,
    SETTINGS,
    has_matplotlib,
    run_setting,
    setting,
    write_run,
)
from reason_env.cli.flags import leading, out, parsed


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """Run ablations of the theory on small MDPs with exact values."""

    seeds: int | None = None
    """Seeds of each setting; None: the setting's default."""
    workers: int = os.cpu_count() or 1
    """Processes."""
    out: Path = Path("runs/tabular")
    """Directory of <setting>.csv and <setting>.png, which are overwritten."""


def run(words: list[str]) -> None:
    """Run the settings named before the flags; list all settings if there are none."""
    names = leading(words)
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
        paths = write_run(name, rows, given.out)
        out.print(Text(f"{name}: {len(rows)} rows, {', '.join(map(str, paths))}"))
    if not has_matplotlib():
        out.print(Text(f"no figures without matplotlib: {INSTALL_FIGURES}"))
