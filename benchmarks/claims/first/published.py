"""Rows, one for each finished run of an experiment; and the published rows of docs/results.md.

The published rows are in `published/`, one JSON line a run, so that a reader can score the tables
again; a test checks the tables against them. This command writes them:

    python -m benchmarks.claims.first --publish
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.evaluated import evaluated
from benchmarks.claims.first.experiments import OUT, Preset, comparison, file_name

Row = dict[str, Any]
PUBLISHED = Path(__file__).parent / "published"


def rows(name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT) -> list[Row]:
    """Return one row for each finished run: arm, seed, tokens, first and last evaluation."""
    runs = comparison(name, preset, seeds=seeds, out=out).runs
    return [
        {"arm": run.arm, "seed": run.seed} | evaluated(run.metrics())
        for run in runs
        if run.is_finished
    ]


def published(name: str) -> list[Row]:
    """Read the published rows of an experiment, or of a claim that measures without training."""
    return [json.loads(line) for line in _file(name).read_text(encoding="utf-8").splitlines()]


def publish(name: str, found: Sequence[Row]) -> None:
    """Write the rows to `published/`, in the order of seeds."""
    PUBLISHED.mkdir(exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in sorted(found, key=lambda row: row["seed"])]
    _file(name).write_text("".join(lines), encoding="utf-8")


def _file(name: str) -> Path:
    return PUBLISHED / f"{file_name(name)}.jsonl"
