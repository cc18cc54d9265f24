"""Three iterations of every method on GSM8K: does each command end well, do its tokens add up?

    python -m benchmarks.methods.gsm8k_rows DIR [--model smollm2] [--methods srpo lte]

where DIR holds train.jsonl and test.jsonl of GSM8K. Each method is one `reason-env train` with few
and short episodes, so that all of them take minutes. The shipped model reads no prose and solves
nothing here; that every method does its work all the same, and counts it, is what is tested.

Checked of each run: the command ends with status 0, three iterations are written, every number is
finite, the tokens of the roles add up to those of an iteration, and those of the iterations, with
what measurements and tests of updates sampled, to the run's total.
"""

import contextlib
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.faults.kills import SMALL
from reason_env.agents.methods import method_names
from reason_env.cli import main as reason_env

ITERATIONS = 3
RUN = (
    "--size", "8", "--max-prompt-tokens", "1500", "--problems-per-iteration", "2",
    "--iterations", str(ITERATIONS), "--learning-rate", "1e-5",
    "--eval.num-problems", "1", "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
)  # fmt: skip
MODELS: dict[str, tuple[str, ...]] = {
    "base": ("--max-tokens", "48"),
    "smollm2": ("--template", "gsm8k-fewshot", "--num-examples", "1", "--max-tokens", "24",
                "--precision", "bf16-mixed"),
}  # fmt: skip
"""Model -> its further flags."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GSM8KRows:
    """Which methods run, and on which model."""

    directory: tyro.conf.Positional[Path]
    """Holds train.jsonl and test.jsonl."""
    model: str = "base"
    """base or smollm2."""
    methods: tuple[str, ...] = (*method_names(), "cpi")
    """The methods to run."""


def main(given: GSM8KRows) -> dict[str, Row]:
    """Run the methods in turn; return what each generated and trained."""
    found: dict[str, Row] = {}
    for name in given.methods:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            rows = trained(given, name, Path(folder))
            found[name] = checked(name, rows) | {"seconds": round(time.monotonic() - began, 1)}
        print(name, json.dumps(found[name]), flush=True)
    return found


def trained(given: GSM8KRows, name: str, folder: Path) -> list[Row]:
    """Train by one method; return the rows of its metrics."""
    words = [
        "train", name, *SMALL.get(name, ()), "--problems", f"gsm8k:{given.directory}",
        "--model", given.model, *RUN, *MODELS[given.model], "--out", str(folder / "run"),
    ]  # fmt: skip
    log = folder / "log"
    with log.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        reason_env(words)
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def checked(name: str, rows: list[Row]) -> Row:
    """Check that a run's numbers add up; return its sums."""
    iterations = [row for row in rows if row["iteration"]]
    assert [row["iteration"] for row in iterations] == [1, 2, 3], f"{name}: three iterations"
    for row in rows:
        wrong = [key for key, value in row.items() if not _is_finite(value)]
        assert not wrong, f"{name}: {wrong[0]} is not finite"
    for row in iterations:
        sampled = row["rollout/sampled_tokens"]
        parts = [value for key, value in row.items() if key.startswith("rollout/sampled_tokens/")]
        assert not parts or sum(parts) == sampled, f"{name}: tokens of the roles"
        assert 0 <= row["rollout/discarded_tokens"] <= sampled, f"{name}: discarded tokens"
    total = sum(_sampled(row) for row in rows)
    assert iterations[-1]["rollout/sampled_tokens_total"] == total, f"{name}: the run's total"
    return {
        "generated": total,
        "trained": sum(row.get("update/tokens") or 0 for row in iterations),
        "updates": iterations[-1]["update/num_updates_total"],
    }


def _sampled(row: Row) -> int:
    keys = ("rollout/sampled_tokens", "rollout/preparation_tokens", "cpi/tokens_advantage")
    return sum(row.get(key) or 0 for key in keys)


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


if __name__ == "__main__":
    main(tyro.cli(GSM8KRows))
