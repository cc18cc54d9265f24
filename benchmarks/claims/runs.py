"""The runs of designs and the measurements without training.

    FOLDER/gates/HASH.json            what gates measured; claims with the same gates share it
    FOLDER/CLAIM/DESIGN/seed_N.json   a row of a claim that is measured without training
    FOLDER/runs/HASH/                 one run: a comparison of one arm and one seed
    FOLDER/evaluations/               evaluations before training

A run's folder is the hash of what its design says of it. Claims whose designs have the same run, an
arm at the same learning rate on the same problems, share it: it is run once.

Processes work through all runs, one after the other, so Python starts once a process and not once
a run. A killed command goes on where it stopped. Seeds whose rows are published are not run again.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.claims.design import UNTRAINED, Design, Plan
from benchmarks.claims.gates import GROUP_SIZE, OwnFigures, Precondition, measured
from benchmarks.claims.rows import Row, in_order, row_of
from reason_env.agents.compare import (
    THREADS,
    Comparison,
    Run,
    Status,
    end_with_parent,
    run_here,
)
from reason_env.agents.probe import Subject
from reason_env.agents.runs import write_text
from reason_env.agents.train import build_session, estimate
from reason_env.errors import ConfigError, TrainingError

OUT = Path("runs/designs")
ESTIMATE_S = 3.0
"""Seconds of sampling and of training from which the time of a run is foreseen."""
WORK = "import sys; from benchmarks.claims.runs import work; work(sys.argv[1:])"
EVALUATIONS = "evaluations"
Measure = Callable[[Subject, int], Mapping[str, float]]
"""(model and problems, seed) -> the figures of a row, without training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run of a design."""

    design: Design
    label: str
    """Of the arm."""
    comparison: Comparison
    """Of this run alone."""

    @property
    def run(self) -> Run:
        """The run and its files."""
        return self.comparison.runs[0]


def planned(design: Design, out: Path, known: Sequence[Row] = ()) -> list[Planned]:
    """Open or create the runs of a design, seed by seed, but for those that have a row."""
    done = {(row["arm"], row["seed"]) for row in known}
    found: list[Planned] = []
    for seed in design.seeds:
        for label in design.arms:
            if (label, seed) not in done:
                comparison = Comparison.open_or_create(
                    out / "runs" / design.run_hash(label, seed),
                    design.single(label, seed, out / "experts"),
                    evaluations=out / EVALUATIONS,
                )
                found.append(Planned(design=design, label=label, comparison=comparison))
    return found


def precondition(plan: Plan, own: OwnFigures | None, out: Path) -> Precondition:
    """Measure the gates of a plan, once."""
    file = out / "gates" / f"{plan.gates_hash}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        found = measured(plan, own)
        write_text(file, json.dumps(found.to_dict(), indent=2))
    return Precondition.from_dict(json.loads(file.read_text(encoding="utf-8")))


def unfinished(all_runs: Sequence[Planned]) -> list[Planned]:
    """List the runs that are not finished; one that several claims share, once."""
    found = {own.comparison.path: own for own in all_runs if not own.run.is_finished}
    return list(found.values())


def run_seconds(design: Design, out: Path) -> dict[str, float]:
    """Return the seconds of a run of each arm: those of the pilot, or measured now.

    A pilot has none before it; each of its arms is measured once, whatever its learning rates.
    """
    known: dict[str, float] = {}
    for label, own in design.arms.items():
        if own.run_s == 0 and own.text not in known:
            config = design.single(label, design.seeds[0], out / "experts")
            session = build_session(config.run_config(config.sources[0], "arm", design.seeds[0]))
            known[own.text] = estimate(session, seconds=ESTIMATE_S).run_s
    return {label: own.run_s or known[own.text] for label, own in design.arms.items()}


def expected_hours(left: Sequence[Planned], out: Path, *, workers: int) -> float:
    """Foresee how long some runs take.

    Args:
        left: Runs.
        out: The folder of all runs.
        workers: Processes, each on a core of its own.
    """
    designs = {own.design.content_hash: own.design for own in left}
    seconds = {name: run_seconds(design, out) for name, design in designs.items()}
    return sum(seconds[own.design.content_hash][own.label] for own in left) / 3600 / workers


def run(left: Sequence[Planned], out: Path, *, workers: int) -> None:
    """Run what is not finished.

    Raises:
        TrainingError: A process ended with an error, or a run failed.
    """
    folders = [str(own.comparison.path) for own in left]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(out / EVALUATIONS), *folders],
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
    failed = unfinished(left)
    if any(codes) or failed:
        logs = ", ".join(str(own.run.log) for own in failed[:3])
        raise TrainingError(
            f"every run must finish, got exit statuses {codes} and {len(failed)} unfinished runs; "
            f"see {logs or 'the messages above'}, and run the command again"
        )


def work(words: Sequence[str]) -> None:
    """Work through comparisons in this process, and print a line for each run that ends.

    Args:
        words: The folder of evaluations, then those of the comparisons.
    """
    end_with_parent()
    evaluations, *folders = map(Path, words)
    opened = [Comparison.open(folder, evaluations=evaluations) for folder in folders]
    run_here(opened, on_end=_say)


def _say(run: Run, status: Status) -> None:
    row = row_of(run, run.arm, "") if status == "finished" else None
    what = "failed" if row is None else f"{row['pass_at_1']:.3f} in {row['seconds']:.0f} s"
    print(f"{run.path.parents[3].name}, {run.source}, seed {run.seed}: {what}", flush=True)


def measure(design: Design, own: Measure, out: Path) -> None:
    """Measure what is missing of a claim without training, seed by seed."""
    for seed in design.seeds:
        file = _measured_file(design, seed, out)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            started, clock = datetime.now(UTC), time.perf_counter()
            subject = Subject(session=build_session(design.untrained(seed)), again=GROUP_SIZE)
            figures = own(subject, seed)
            if not all(map(math.isfinite, figures.values())):
                raise TrainingError(
                    f"the figures of {design.claim!r} must be finite, got {dict(figures)} for seed "
                    f"{seed}; mend its `measure`"
                )
            row: Row = {
                "design": design.content_hash,
                "arm": UNTRAINED,
                "seed": seed,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - clock, 1),
                **figures,
            }
            write_text(file, json.dumps(row))


def _measured_file(design: Design, seed: int, out: Path) -> Path:
    return out / design.claim / design.content_hash / f"seed_{seed}.json"


def make_folder(path: Path) -> None:
    """Make the folder that is to hold what is measured, before anything is.

    Raises:
        ConfigError: The system refuses it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"'{path}' must be a folder, or one that can be made, got: {error.strerror}; give "
            "another one"
        ) from error


def rows(design: Design, out: Path, known: Sequence[Row] = ()) -> list[Row]:
    """Return the rows that are there, known ones included, one for each arm and seed."""
    if design.arms:
        more = [
            row_of(own.run, own.label, design.content_hash)
            for own in planned(design, out, known)
            if own.run.is_finished
        ]
    else:
        done = {row["seed"] for row in known}
        files = [_measured_file(design, seed, out) for seed in design.seeds if seed not in done]
        more = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return in_order([*known, *more])
