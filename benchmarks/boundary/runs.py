"""The runs of the sweep in this process, one row each; a killed command goes on where it stopped.

    FOLDER/HASH/numbers.jsonl           a cell's numbers, one line a cell
    FOLDER/HASH/CELL/seed_N/            the comparison of a cell and a seed
    published/                          numbers, rows and the twin's rows, as published

Seeds come one after the other, and in each the families take turns, so that an unfinished sweep has
cells of all of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.boundary.numbers import measured
from benchmarks.boundary.sweep import LEAST_UPDATES, ROOM, Cell, Sweep
from benchmarks.claims.rows import Row, read_rows, row_of, write_rows
from reason_env.agents.compare import Comparison, run_here
from reason_env.errors import ConfigError

OUT = Path("runs/boundary")
NUMBERS, ROWS, TWIN = (ROOM / "published" / f"{name}.jsonl" for name in ("numbers", "rows", "twin"))
MOST_BUDGET_GAP = 0.10
"""Largest relative difference of the generated tokens of two arms of a cell and seed: an iteration
is a twenty-fifth of the budget, LTE's up to twice as much, and the last one begins below it."""


def numbers(sweep: Sweep, out: Path) -> list[Row]:
    """Measure the numbers of every cell, once."""
    file = out / sweep.content_hash / "numbers.jsonl"
    found = read_rows(file)
    known = {row["cell"] for row in found}
    for cell in in_turn(sweep.cells):
        if cell.name not in known:
            found.append(measured(sweep, cell))
            write_rows(file, found)
            print(f"{cell.name}: {found[-1]['figures'].get('success/pass_at_1')}", flush=True)
    return found


def run(sweep: Sweep, out: Path, seeds: Sequence[int] = ()) -> None:
    """Run what is not finished.

    Args:
        sweep: The sweep.
        out: Its folder.
        seeds: Those that are run; all of the sweep's if none are given.

    Raises:
        ConfigError: A seed is not one of the sweep's.
    """
    unknown = sorted(set(seeds) - set(sweep.seeds))
    if unknown:
        raise ConfigError(f"seed must be one of the sweep's {sweep.seeds}, got {unknown[0]}")
    for seed in seeds or sweep.seeds:
        for cell in in_turn(sweep.cells):
            own = comparison(sweep, cell, seed, out)
            run_here([own], on_end=lambda run, status, name=cell.name: _say(name, run, status))


def in_turn(cells: Sequence[Cell]) -> list[Cell]:
    """Order cells such that families take turns, each in its own order."""
    families: dict[str, list[Cell]] = {}
    for cell in cells:
        families.setdefault(cell.name.partition("-")[0], []).append(cell)
    places = {own.name: at for part in families.values() for at, own in enumerate(part)}
    return sorted(cells, key=lambda cell: places[cell.name])


def comparison(sweep: Sweep, cell: Cell, seed: int, out: Path) -> Comparison:
    """Open or create the comparison of a cell and a seed."""
    folder = out / sweep.content_hash / cell.name / f"seed_{seed}"
    return Comparison.open_or_create(folder, sweep.comparison(cell, seed))


def rows(sweep: Sweep, out: Path) -> list[Row]:
    """Return one row for each finished run."""
    return [
        {"cell": cell.name} | row_of(run, run.arm, sweep.content_hash)
        for cell in sweep.cells
        for seed in sweep.seeds
        for run in comparison(sweep, cell, seed, out).runs
        if run.is_finished
    ]


def check_rows(sweep: Sweep, found: Sequence[Row]) -> None:
    """Check that rows are whole pairs of the sweep, with their updates and equal budgets.

    Raises:
        ConfigError: They are not.
    """
    arms = {cell.name: set(cell.arms) for cell in sweep.cells}
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in found:
        if row["design"] != sweep.content_hash:
            raise ConfigError(
                f"rows must be of design {sweep.content_hash}, got {row['design']}; publish the "
                "runs of the design that is committed"
            )
        groups.setdefault((row["cell"], row["seed"]), []).append(row)
    for (name, seed), own in groups.items():
        labels = [row["arm"] for row in own]
        if set(labels) != arms[name] or len(labels) > len(arms[name]) or seed not in sweep.seeds:
            raise ConfigError(
                f"cell {name!r} of seed {seed} must have each of its arms once, got {labels}; run "
                "the rest"
            )
        fewest = min(own, key=lambda row: row["planned_updates"])
        if fewest["planned_updates"] < LEAST_UPDATES:
            raise ConfigError(
                f"an arm must have at least {LEAST_UPDATES} updates, got "
                f"{fewest['planned_updates']} of {fewest['arm']!r} in {name!r}, seed {seed}"
            )
        tokens = [row["tokens"] for row in own]
        # Rounded, so that 110 is within a tenth of 100.
        if round(max(tokens) / min(tokens) - 1, 9) > MOST_BUDGET_GAP:
            raise ConfigError(
                f"the arms of a cell must have budgets within {MOST_BUDGET_GAP:.0%}, got {tokens} "
                f"in {name!r}, seed {seed}"
            )


def whole(sweep: Sweep, found: Sequence[Row]) -> list[Row]:
    """Return the rows of cells and seeds whose arms are all there, without cells left out."""
    arms = {cell.name: set(cell.arms) for cell in sweep.cells}
    labels: dict[tuple[str, int], set[str]] = {}
    for row in found:
        labels.setdefault((row["cell"], row["seed"]), set()).add(row["arm"])
    short = left_out(found)
    return [
        row
        for row in found
        if labels[row["cell"], row["seed"]] == arms[row["cell"]] and row["cell"] not in short
    ]


def left_out(found: Sequence[Row]) -> dict[str, str]:
    """Return cell -> why it is left out: an arm had fewer updates than `LEAST_UPDATES`."""
    return {
        row["cell"]: f"{row['planned_updates']} updates of {row['arm']}, seed {row['seed']}"
        for row in found
        if row["planned_updates"] < LEAST_UPDATES
    }


def _say(cell: str, run: Any, status: str) -> None:
    row = row_of(run, run.arm, "") if status == "finished" else None
    what = "failed" if row is None else f"{row['first_pass_at_1']:.3f} -> {row['pass_at_1']:.3f}"
    spent = "" if row is None else f", {row['planned_updates']} updates, {row['seconds']:.0f} s"
    print(f"{cell}, seed {run.seed}, {run.arm}: {what}{spent}", flush=True)
