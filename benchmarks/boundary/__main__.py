"""`python -m benchmarks.boundary`: measure, run what is missing, find the boundaries, draw the map.

    python -m benchmarks.boundary --published                    # tables and picture
    python -m benchmarks.boundary --publish --write              # run, and write what is published
    python -m benchmarks.boundary --seed 2021                    # one seed alone, on another core

A killed command goes on where it stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.boundary import runs
from benchmarks.boundary.constants import write
from benchmarks.boundary.figure import draw
from benchmarks.boundary.points import points_of
from benchmarks.boundary.rule import boundaries
from benchmarks.boundary.sweep import DESIGN, LEAST_UPDATES, read_design, write_design
from benchmarks.boundary.table import agreement, tables
from benchmarks.boundary.twin import twin_row, worlds
from benchmarks.claims.registry import check_older
from benchmarks.claims.rows import Row, read_rows, write_rows
from benchmarks.claims.runs import make_folder
from reason_env.errors import ReasonEnvError

FIGURE = Path("docs/figures/boundary.png")


def main(words: Sequence[str]) -> None:
    """Run the sweep, or draw what is published."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boundary", description=__doc__)
    parser.add_argument("--out", type=Path, default=runs.OUT)
    parser.add_argument("--figure", type=Path, default=FIGURE, help="where the picture goes")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--design", action="store_true", help="write design.json")
    kinds.add_argument("--published", action="store_true", help="draw the published rows")
    kinds.add_argument("--twin", action="store_true", help="write the twin's rows: ten minutes")
    kinds.add_argument("--seed", type=int, help="run one seed alone, and draw nothing")
    parser.add_argument("--publish", action="store_true", help="write the published rows")
    parser.add_argument(
        "--write", action="store_true", help="write the probe's constants and the page's tables"
    )
    given = parser.parse_args(words)
    if given.publish and (given.design or given.published or given.twin or given.seed is not None):
        parser.error("--publish takes the rows of a run of the sweep")
    if given.write and not (given.publish or given.published):
        parser.error("--write takes what is published; give --publish or --published, too")
    try:
        if not (given.design or given.twin or given.seed is not None):
            make_folder(given.figure.parent)
        if given.design:
            write_design()
            print(f"{DESIGN}: commit it before its runs")
        elif given.twin:
            write_rows(runs.TWIN, [twin_row(world) for world in worlds()])
        elif given.seed is not None:
            check_older(DESIGN, [])
            make_folder(given.out)
            runs.run(read_design(), given.out, [given.seed])
        elif given.published:
            _show(read_rows(runs.NUMBERS), read_rows(runs.ROWS), given)
        else:
            _run(given)
    except ReasonEnvError as error:
        raise SystemExit(f"error: {error}") from error


def _run(given: argparse.Namespace) -> None:
    sweep = read_design()
    check_older(DESIGN, [])
    make_folder(given.out)
    numbers = runs.numbers(sweep, given.out)
    runs.run(sweep, given.out)
    found = runs.rows(sweep, given.out)
    rows = runs.whole(sweep, found)
    runs.check_rows(sweep, rows)
    for cell, why in runs.left_out(found).items():
        print(f"{cell}: left out, {why}; a cell needs {LEAST_UPDATES} of each arm")
    known = {row["cell"] for row in rows}
    numbers = [row for row in numbers if row["cell"] in known]
    if given.publish:
        check_older(DESIGN, [row["started"] for row in (*numbers, *rows)])
        write_rows(runs.NUMBERS, numbers)
        write_rows(runs.ROWS, rows)
    _show(numbers, rows, given)


def _show(numbers: list[Row], rows: list[Row], given: argparse.Namespace) -> None:
    points = points_of(numbers, rows)
    found = boundaries(points)
    twin = read_rows(runs.TWIN)
    print(tables(points, found))
    for method, correlation in agreement(points, twin).items():
        print(f"{method}: rank correlation with the nearest cells of the twin {correlation:+.2f}")
    if given.write:
        write(points, found)
    draw(points, found, given.figure, twin)
    print(given.figure)


if __name__ == "__main__":
    main(sys.argv[1:])
