"""Scherrer's comparison of approximate policy iteration schemes, and his findings as checks.

    python -m benchmarks.garnet                              # nine cells, n_S = 50, 30 seeds
    python -m benchmarks.garnet --num-states 50 100 200      # all 27 cells
    python -m benchmarks.garnet --out runs/garnet --workers 2

Source: Scherrer 2014, arXiv 1405.2878; where its details were not at hand, see
`agents/tabular/scherrer.py`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reason_env.agents.tabular.ablations import Row
from reason_env.agents.tabular.runner import run_setting, write_run
from reason_env.agents.tabular.scherrer import ARMS, BRANCHING, NUM_ACTIONS, NUM_STATES


def table(rows: list[Row], column: str = "last_gap") -> dict[tuple[int, int], dict[str, float]]:
    """Returns the mean of a column by (branching, num_actions) and arm."""
    return {
        (branching, num_actions): {
            arm: float(
                np.mean(
                    [
                        float(row[column])
                        for row in rows
                        if (row["branching"], row["num_actions"], row["arm"])
                        == (branching, num_actions, arm)
                    ]
                )
            )
            for arm in ARMS
        }
        for branching in BRANCHING
        for num_actions in NUM_ACTIONS
    }


def findings(rows: list[Row]) -> Iterator[tuple[str, str, bool]]:
    """Yields (finding, measured, holds) for one size."""
    gaps = table(rows)
    low = [cell for cell in gaps if cell[0] < 10]
    worst = sum(max(gaps[cell], key=gaps[cell].__getitem__) == "API" for cell in low)
    yield "Garnet: API is worst (branching 1, 2)", f"in {worst} of {len(low)} cells", worst == 6
    best = [min(gap, key=gap.__getitem__) for gap in gaps.values()]
    counted = ", ".join(f"{arm} {best.count(arm)}" for arm in dict.fromkeys(best))
    yield "Garnet: PSDP is best", f"best arm by cell: {counted}", best.count("PSDP") >= 5
    looped = ("API", "NSPI(5)", "NSPI(10)", "NSPI(30)", "PSDP")
    order = [float(np.mean([gaps[cell][arm] for cell in low])) for arm in looped]
    yield (
        "Garnet: more memory is better, API = NSPI(1) < NSPI(5..30) < PSDP",
        " > ".join(f"{arm} {gap:.3f}" for arm, gap in zip(looped, order, strict=True)),
        order == sorted(order, reverse=True),
    )
    spread = {
        branching: float(
            np.mean([np.ptp(list(gap.values())) for (b, _), gap in gaps.items() if b == branching])
        )
        for branching in BRANCHING
    }
    yield (
        "Garnet: differences vanish with branching",
        ", ".join(f"b = {branching}: {gap:.3f}" for branching, gap in spread.items()),
        spread[1] > spread[2] > spread[10],
    )
    wobble = table(rows, "last_deviation")
    most = sum(max(wobble[cell], key=wobble[cell].__getitem__) == "API" for cell in low)
    yield (
        "Garnet: API oscillates most (branching 1, 2)",
        f"in {most} of {len(low)} cells",
        most >= 5,
    )


def main(argv: list[str]) -> int:
    """Prints a table and the findings for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--num-states", type=int, nargs="+", default=[50], choices=NUM_STATES)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="directory for CSV and figure")
    given = parser.parse_args(argv)
    for num_states in given.num_states:
        began = time.monotonic()
        name = f"garnet_{num_states}"
        rows = run_setting(name, num_seeds=given.seeds, num_workers=given.workers)
        seconds = time.monotonic() - began
        print(f"n_S = {num_states}, {given.seeds} seeds, {seconds:.0f} s; gap after 100 iterations")
        print(f"{'b':>3}{'n_A':>5}" + "".join(f"{arm:>10}" for arm in ARMS))
        for (branching, num_actions), gap in table(rows).items():
            print(f"{branching:3}{num_actions:5}" + "".join(f"{gap[arm]:10.4f}" for arm in ARMS))
        for finding, measured, holds in findings(rows):
            print(f"{'holds' if holds else 'does NOT hold':13}  {finding}: {measured}")
        if given.out:
            write_run(name, rows, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
