"""Three iterations of every method on GSM8K: does each command end well, do its tokens add up?

    python -m benchmarks.methods.gsm8k_rows DIR [--model smollm2] [--methods srpo lte]

where DIR holds train.jsonl and test.jsonl of GSM8K. Each method is one `reason-env train` with few
and short episodes, so that all of them take minutes. The shipped model reads no prose and solves
nothing here; that every method does its work all the same, and counts it, is what is tested.

Two methods begin at own successes, and refuse a model that has none in one line.

Checked of each other run: the command ends with status 0, three iterations are written, every
number is finite, the tokens of the roles add up to those of an iteration, and those of the
iterations, with what measurements and tests of updates sampled, to the run's total.
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
    "base": (),
    "smollm2": ("--template", "gsm8k-fewshot", "--num-examples", "1", "--precision", "bf16-mixed"),
}
"""Model -> its further flags."""
MAX_TOKENS = {"base": 48, "smollm2": 24}
WHOLE_TOKENS = {"base": 400, "smollm2": 200}
"""Model -> the budget of a response; the second holds a reference solution."""
WHOLE = ("sft", "adaback")
"""Methods whose responses begin as a reference solution, or are one."""
NEED_SUCCESS = ("prefixrl", "failure-prefix")
"""Methods that refuse problems of which the policy never solves one, in one line."""
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
            try:
                rows = trained(given, name, Path(folder))
            except SystemExit:
                own = {"refused": refusal(name, Path(folder))}
            else:
                own = checked(name, rows)
            found[name] = own | {"seconds": round(time.monotonic() - began, 1)}
        print(name, json.dumps(found[name]), flush=True)
    return found


def trained(given: GSM8KRows, name: str, folder: Path) -> list[Row]:
    """Train by one method; return the rows of its metrics."""
    budget = (WHOLE_TOKENS if name in WHOLE else MAX_TOKENS)[given.model]
    words = [
        "train", name, *SMALL.get(name, ()), "--problems", f"gsm8k:{given.directory}",
        "--model", given.model, *RUN, *MODELS[given.model],
        "--max-tokens", str(budget), "--out", str(folder / "run"),
    ]  # fmt: skip
    with (
        (folder / "log").open("w", encoding="utf-8") as log,
        (folder / "errors").open("w", encoding="utf-8") as errors,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(errors),
    ):
        reason_env(words)
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def refusal(name: str, folder: Path) -> str:
    """Return the line in which a method refused the problems."""
    line = (folder / "errors").read_text(encoding="utf-8").strip().splitlines()[-1]
    assert name in NEED_SUCCESS, f"{name}: {line}"
    assert "got none among" in line, f"{name}: {line}"
    return line


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
