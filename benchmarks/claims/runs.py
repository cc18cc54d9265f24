"""The runs of a design, and one row for each finished one.

    FOLDER/CLAIM/gates_HASH.json    what the gates measured
    FOLDER/CLAIM/DESIGN/seed_N/     the comparison of one seed (`reason_env.agents.compare`)

Processes work through all comparisons and take one run after the other, so Python starts once a
process and not once a run. A killed command goes on where it stopped; the arms of a seed share the
evaluation before training.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.design import LEAST_UPDATES, MOST_BUDGET_GAP, Design, Plan
from benchmarks.claims.evaluated import evaluated
from benchmarks.claims.gates import OwnFigures, Precondition, measured
from reason_env.agents.compare import (
    THREADS,
    Comparison,
    Run,
    Status,
    end_with_parent,
    preparation_tokens,
    run_here,
)
from reason_env.agents.runs import write_text
from reason_env.agents.train import build_session, estimate
from reason_env.errors import ConfigError, TrainingError

Row = dict[str, Any]
OUT = Path("runs/designs")
ESTIMATE_S = 3.0
"""Seconds of sampling and of training from which the time of a run is foreseen."""
WORK = "import sys; from benchmarks.claims.runs import work; work(sys.argv[1:])"


def folder_of(design: Design, out: Path) -> Path:
    """Return the folder of a design's runs."""
    return out / design.claim / design.content_hash


def comparisons(design: Design, out: Path) -> list[Comparison]:
    """Open or create the comparison of each seed."""
    folder = folder_of(design, out)
    return [
        Comparison.open_or_create(folder / f"seed_{seed}", design.comparison(seed))
        for seed in design.seeds
    ]


def precondition(claim: str, plan: Plan, own: OwnFigures | None, out: Path) -> Precondition:
    """Measure the gates of a plan, once."""
    file = out / claim / f"gates_{plan.gates_hash}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        found = measured(plan, own)
        write_text(file, json.dumps(found.to_dict(), indent=2))
    return Precondition.from_dict(json.loads(file.read_text(encoding="utf-8")))


def unfinished(designs: Sequence[Design], out: Path) -> list[tuple[Design, Run]]:
    """List the runs that are not finished."""
    return [
        (design, run)
        for design in designs
        for comparison in comparisons(design, out)
        for run in comparison.runs
        if not run.is_finished
    ]


def run_seconds(design: Design) -> dict[str, float]:
    """Return the seconds of a run of each arm: those of the pilot, or measured now.

    A pilot has none before it; each of its arms is measured once, whatever its learning rates.
    """
    known: dict[str, float] = {}
    config = design.comparison(design.seeds[0])
    for label, own in design.arms.items():
        if own.run_s == 0 and own.text not in known:
            session = build_session(config.run_config(config.sources[0], label, design.seeds[0]))
            known[own.text] = estimate(session, seconds=ESTIMATE_S).run_s
    return {label: own.run_s or known[own.text] for label, own in design.arms.items()}


def expected_hours(left: Sequence[tuple[Design, Run]], workers: int) -> float:
    """Foresee how long some runs take.

    Args:
        left: Runs, each with its design.
        workers: Processes, each on a core of its own.
    """
    designs = {design.content_hash: design for design, _ in left}
    seconds = {name: run_seconds(design) for name, design in designs.items()}
    return sum(seconds[design.content_hash][run.arm] for design, run in left) / 3600 / workers


def run(designs: Sequence[Design], out: Path, *, workers: int) -> None:
    """Run what is not finished.

    Raises:
        TrainingError: A process ended with an error, or a run failed.
    """
    folders = [str(own.path) for design in designs for own in comparisons(design, out)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, *folders],
            # Nothing is written: a process sees its end when this one is gone.
            stdin=subprocess.PIPE,
            env=os.environ | dict.fromkeys(THREADS, "1"),
        )
        for _ in range(workers)
    ]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.communicate()
    failed = unfinished(designs, out)
    if any(codes) or failed:
        logs = ", ".join(str(run.log) for _, run in failed[:3])
        raise TrainingError(
            f"every run must finish, got exit statuses {codes} and {len(failed)} unfinished runs; "
            f"see {logs or 'the messages above'}, and run the command again"
        )


def work(folders: Sequence[str]) -> None:
    """Work through comparisons in this process, and print a line for each run that ends."""
    end_with_parent()
    run_here([Comparison.open(folder) for folder in folders], on_end=_say)


def _say(run: Run, status: Status) -> None:
    row = row_of(run, "") if status == "finished" else None
    what = "failed" if row is None else f"{row['pass_at_1']:.3f} in {row['seconds']:.0f} s"
    claim = run.path.parents[5].name
    print(f"{claim}, seed {run.seed}, {run.arm}: {what}", flush=True)


def rows(design: Design, out: Path) -> list[Row]:
    """Return one row for each finished run."""
    return [
        row_of(run, design.content_hash)
        for comparison in comparisons(design, out)
        for run in comparison.runs
        if run.is_finished
    ]


def row_of(run: Run, design: str) -> Row:
    """Summarise a finished run.

    Args:
        run: Finished.
        design: Hash of its design.
    """
    metrics = run.metrics()
    facts = json.loads((run.path / "provenance.json").read_text(encoding="utf-8"))
    timings = (run.path / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    times = [json.loads(line) for line in timings]
    return {
        "design": design,
        "arm": run.arm,
        "seed": run.seed,
        "started": facts["started"],
        "seconds": round(
            sum(
                row.get(f"time/{what}_s") or 0.0 for row in times for what in ("iteration", "eval")
            ),
            1,
        ),
        "prepared_tokens": int(preparation_tokens(metrics)),
        "updates": _total(metrics, "update/num_updates"),
        "planned_updates": _total(metrics, "update/num_updates")
        + _total(metrics, "update/num_skipped"),
    } | evaluated(metrics)


def _total(metrics: Sequence[Row], name: str) -> int:
    return int(sum(row.get(name) or 0 for row in metrics))


def budget_gap(found: Sequence[Row]) -> float:
    """Compute the largest relative difference of generated tokens between arms of a seed.

    >>> row = lambda seed, tokens: {"seed": seed, "tokens": tokens}
    >>> round(budget_gap([row(0, 100), row(0, 104), row(1, 120), row(1, 117)]), 3)
    0.04
    """
    by_seed: dict[int, list[int]] = {}
    for row in found:
        by_seed.setdefault(row["seed"], []).append(row["tokens"])
    # Rounded, so that 3150 is within 5 % of 3000.
    return round(max(max(tokens) / min(tokens) - 1 for tokens in by_seed.values()), 9)


def check_rows(design: Design, found: Sequence[Row]) -> None:
    """Check that rows are those of a design: every run, its updates and equal budgets.

    Raises:
        ConfigError: They are not.
    """
    name = f"the rows of {design.claim!r}"
    others = {row["design"] for row in found} - {design.content_hash}
    if others:
        raise ConfigError(
            f"{name} must be of design {design.content_hash}, got rows of {min(others)}; publish "
            "the runs of the design that is committed"
        )
    wanted = sorted((label, seed) for label in design.arms for seed in design.seeds)
    pairs = sorted((row["arm"], row["seed"]) for row in found)
    if pairs != wanted:
        raise ConfigError(
            f"{name} must have each arm and seed once, got {len(pairs)} of {len(wanted)}; run the "
            "rest"
        )
    fewest = min(found, key=lambda row: row["planned_updates"])
    if fewest["planned_updates"] < LEAST_UPDATES:
        raise ConfigError(
            f"{name} must have at least {LEAST_UPDATES} updates, got "
            f"{fewest['planned_updates']} in {fewest['arm']!r} of seed {fewest['seed']}; make its "
            "iterations smaller in another design"
        )
    gap = budget_gap(found)
    if gap > MOST_BUDGET_GAP:
        raise ConfigError(
            f"{name} must have budgets within {MOST_BUDGET_GAP:.0%}, got a difference of "
            f"{gap:.1%}; make iterations smaller in another design"
        )
