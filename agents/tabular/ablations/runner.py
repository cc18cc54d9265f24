"""Run settings over seeds, in parallel; write their tables and figures. Prints nothing."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from reason_env.agents.tabular.ablations import figures
from reason_env.agents.tabular.ablations.rows import Row, write_csv
from reason_env.agents.tabular.ablations.settings import setting
from reason_env.errors import ConfigError

OnSeed = Callable[[str, int, int], None]
"""(setting, finished seeds, total seeds)."""


def run_setting(
    name: str,
    *,
    num_seeds: int | None = None,
    num_workers: int = 1,
    on_seed: OnSeed | None = None,
) -> list[Row]:
    """Run a setting; return its rows in the order of the seeds.

    Args:
        name: One of `settings.SETTINGS`.
        num_seeds: Number of seeds 0, 1, ...; the setting's default if None.
        num_workers: Processes; 1 runs in this process.
        on_seed: Called after each seed.

    Raises:
        UnknownNameError: There is no such setting.
        ConfigError: A count is less than 1.
    """
    total = setting(name).num_seeds if num_seeds is None else num_seeds
    for what, count in (("num_seeds", total), ("num_workers", num_workers)):
        if count < 1:
            raise ConfigError(f"{what} must be at least 1, got {count}; raise it")
    rows_of_seed: dict[int, list[Row]] = {}
    for done, (seed, rows) in enumerate(_finished(name, total, num_workers), start=1):
        rows_of_seed[seed] = rows
        if on_seed is not None:
            on_seed(name, done, total)
    return [row for seed in range(total) for row in rows_of_seed[seed]]


def write_run(name: str, rows: list[Row], directory: Path) -> list[Path]:
    """Write `<name>.csv`, and `<name>.png` if matplotlib is installed; return their paths."""
    table, picture = directory / f"{name}.csv", directory / f"{name}.png"
    write_csv(rows, table)
    if not figures.has_matplotlib():
        return [table]
    figures.write(setting(name).draw, rows, picture)
    return [table, picture]


def _finished(name: str, total: int, num_workers: int) -> Iterator[tuple[int, list[Row]]]:
    if num_workers == 1:
        for seed in range(total):
            yield _run_seed(name, seed)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        for future in as_completed([pool.submit(_run_seed, name, seed) for seed in range(total)]):
            yield future.result()


def _run_seed(name: str, seed: int) -> tuple[int, list[Row]]:
    return seed, setting(name).run(seed)
