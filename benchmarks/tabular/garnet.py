"""Repeats Scherrer's comparison of approximate policy iteration schemes and checks its findings.

    python -m benchmarks.tabular.garnet                            # nine cells, n_S = 50, 30 seeds
    python -m benchmarks.tabular.garnet --num-states 50 100 200      # all 27 cells
    python -m benchmarks.tabular.garnet --reading constant           # another reading of his noise
    python -m benchmarks.tabular.garnet --rows runs/garnet_50.csv    # check rows of an earlier run

Gaps are normalised; Scherrer's are 100 times as large. A finding is a sentence of his section 4 and
our measure for it, averaged over cells.

Source: Scherrer 2014, arXiv 1405.2878; see `agents/tabular/ablations/scherrer.py`.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reason_env.agents.tabular.ablations import SETTINGS, Row, run_setting, write_run
from reason_env.agents.tabular.ablations.scherrer import ARMS, BRANCHING, NUM_STATES, READINGS
from reason_env.agents.tabular.ablations.settings import garnet_name

Table = dict[tuple[int, int], dict[str, float]]


def table(rows: list[Row], column: str = "last_gap") -> Table:
    """Compute the mean of a column by (branching, num_actions) and arm."""
    values: dict[tuple[int, int], dict[str, list[float]]] = {}
    for row in rows:
        cell = int(row["branching"]), int(row["num_actions"])
        arms = values.setdefault(cell, {arm: [] for arm in ARMS})
        arms[str(row["arm"])].append(float(row[column]))
    return {
        cell: {arm: float(np.mean(values[cell][arm])) for arm in ARMS} for cell in sorted(values)
    }


def findings(rows: list[Row]) -> Iterator[tuple[str, str, bool]]:
    """Yield (finding, measurement, whether it holds) for rows of one size."""
    gaps, deviations = table(rows), table(rows, "run_deviation")
    gap, spread = _over_cells(gaps), _over_cells(deviations)
    worst = [max(cell, key=cell.__getitem__) for cell in gaps.values()]
    yield (
        "Garnet: API is worst on average",
        f"mean gap {_shown(gap)}; worst in {worst.count('API')} of {len(worst)} cells",
        max(gap, key=gap.__getitem__) == "API",
    )
    if max(spread.values()) > 0:
        most = [max(cell, key=cell.__getitem__) for cell in deviations.values()]
        yield (
            "Garnet: API varies most between runs",
            f"deviation {_shown(spread)}; most in {most.count('API')} of {len(most)} cells",
            max(spread, key=spread.__getitem__) == "API",
        )
        yield (
            "Garnet: PSDP varies less between runs than CPI+ and CPI(0.1)",
            f"{spread['PSDP']:.4f} against {spread['CPI+']:.4f} and {spread['CPI(0.1)']:.4f}",
            spread["PSDP"] < min(spread["CPI+"], spread["CPI(0.1)"]),
        )
    steps = max(arms["CPI+"] for arms in table(rows, "num_steps").values())
    yield (
        "Garnet: CPI+ stops within 20 steps",
        f"the slowest cell takes {steps:.1f} on average",
        steps <= 20,
    )
    similar = ("CPI+", "CPI(0.1)", "PSDP")
    values = [gap[arm] for arm in similar]
    yield (
        "Garnet: CPI+, CPI(0.1) and PSDP have similar final gaps on average (within 10 %)",
        ", ".join(f"{arm} {gap[arm]:.3f}" for arm in similar),
        max(values) <= 1.1 * min(values),
    )
    yield (
        "Garnet: API(0.1) is slightly worse than CPI(0.1) (by 0 to 10 %)",
        f"{gap['API(0.1)']:.3f} against {gap['CPI(0.1)']:.3f}",
        0 <= gap["API(0.1)"] - gap["CPI(0.1)"] <= 0.1 * gap["CPI(0.1)"],
    )
    best = [min(cell, key=cell.__getitem__) for cell in gaps.values()]
    counted = ", ".join(f"{arm} {best.count(arm)}" for arm in dict.fromkeys(best))
    yield (
        "Garnet: PSDP is best on average",
        f"best by cell: {counted}; means above",
        min(gap, key=gap.__getitem__) == "PSDP",
    )
    order = [gap[arm] for arm in ("API", "NSPI(5)", "NSPI(10)", "NSPI(30)", "PSDP")]
    yield (
        "Garnet: NSPI(m) interpolates between API = NSPI(1) and PSDP as m grows",
        " > ".join(f"{value:.3f}" for value in order),
        order == sorted(order, reverse=True),
    )
    others = ("API(0.1)", "CPI+", "CPI(0.1)")
    yield (
        "Garnet: NSPI(30) is better than API(0.1), CPI+ and CPI(0.1)",
        f"{gap['NSPI(30)']:.3f} against {', '.join(f'{gap[arm]:.3f}' for arm in others)}",
        gap["NSPI(30)"] < min(gap[arm] for arm in others),
    )
    width = {
        branching: float(
            np.mean(
                [np.ptp(list(arms.values())) for (b, _), arms in gaps.items() if b == branching]
            )
        )
        for branching in BRANCHING
    }
    yield (
        "Garnet: differences vanish with branching",
        ", ".join(f"b = {branching}: {value:.3f}" for branching, value in width.items()),
        width[1] > width[2] > width[10],
    )


def _over_cells(cells: Table) -> dict[str, float]:
    return {arm: float(np.mean([arms[arm] for arms in cells.values()])) for arm in ARMS}


def _shown(values: dict[str, float]) -> str:
    return ", ".join(f"{arm} {value:.3f}" for arm, value in values.items())


def read(path: Path) -> list[Row]:
    """Read the rows of a CSV file that `reason-env tabular garnet_...` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def report(rows: list[Row], title: str) -> None:
    """Print the table of one size and its findings."""
    seeds = len({int(row["seed"]) for row in rows})
    print(f"{title}, {seeds} seeds; gap over the last ten of 100 iterations")
    print(f"{'b':>3}{'n_A':>5}" + "".join(f"{arm:>10}" for arm in ARMS))
    for (branching, num_actions), gap in table(rows).items():
        print(f"{branching:3}{num_actions:5}" + "".join(f"{gap[arm]:10.4f}" for arm in ARMS))
    for finding, measured, holds in findings(rows):
        print(f"{'holds' if holds else 'does NOT hold':13}  {finding}: {measured}")


def main(argv: list[str]) -> int:
    """Print a table and the findings for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--num-states", type=int, nargs="+", default=[50], choices=NUM_STATES)
    parser.add_argument("--reading", default="value", choices=list(READINGS))
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="directory for CSV and figure")
    parser.add_argument("--rows", type=Path, nargs="+", help="CSV files to read; nothing is run")
    given = parser.parse_args(argv)
    tables: list[Path] = given.rows or []
    sizes: list[int] = [] if tables else given.num_states
    for path in tables:
        report(read(path), path.stem)
    for num_states in sizes:
        name = garnet_name(num_states, given.reading)
        if name not in SETTINGS:
            parser.error(f"reading {given.reading} is run with 50 states, got {num_states}")
        began = time.monotonic()
        rows = run_setting(name, num_seeds=given.seeds, num_workers=given.workers)
        report(rows, f"{name} in {time.monotonic() - began:.0f} s")
        if given.out:
            write_run(name, rows, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
