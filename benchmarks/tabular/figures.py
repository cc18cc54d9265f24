"""Runs tabular ablations and draws the figures of docs/theory.md.

    python -m benchmarks.tabular.figures                          # all of them, about seven minutes
    python -m benchmarks.tabular.figures coverage chain --out runs/figures --csv

Writes each figure to `<setting>.png`; with `--csv` also its rows to `<setting>.csv`.
"""

import argparse
import sys
import time
from pathlib import Path

from reason_env.agents.tabular.ablations import SETTINGS, figures, run_setting, setting, write_run

SHOWN = [
    name
    for name in SETTINGS
    if not name.startswith("garnet") or name in ("garnet_50", "garnet_50_constant")
]


def main(argv: list[str]) -> int:
    """Write one figure per setting and print the time of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("settings", nargs="*", default=SHOWN, metavar="setting")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--seeds", type=int, help="number of seeds; each setting has a default")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(argv)
    for name in given.settings:
        began = time.monotonic()
        rows = run_setting(name, num_seeds=given.seeds, num_workers=given.workers)
        if given.csv:
            write_run(name, rows, given.out)
        else:
            figures.write(setting(name).draw, rows, given.out / f"{name}.png")
        print(f"{given.out / name}.png  {len(rows)} rows  {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
