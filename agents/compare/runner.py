"""Run arms over seeds in single-threaded processes, so that a comparison survives any kill.

    config.json            the CompareConfig
    runs/<source>/<arm>/   the files of each run (`run.py`)
    evaluations/           cached evaluations before training, shared by the arms of a seed
    comparison.json        the numbers (`summary.py`)
    report.html            the report (`reason_env.agents.report`)

Each run is a `reason-env train` process, started from its config or resumed. If this process is
killed, its runs end too; the next comparison keeps finished runs and resumes the others from their
last checkpoint. A run holds a lock while its process lives: if one is still ending, the next
comparison waits for it instead of starting a second writer.

A failed run is recorded with its exit status and does not stop the others; running the comparison
again tries it again. The processes trust the modules that this one trusts. Not covered: systems
other than POSIX; several machines.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reason_env.agents.compare.config import CompareConfig, slug
from reason_env.agents.compare.run import Run, RunProcess, Status, tokens_of
from reason_env.agents.runs import config_json, differences, locked, write_text
from reason_env.agents.train import TrainConfig
from reason_env.errors import CheckpointError, shown

TRAIN = (
    "from reason_env.agents.compare import end_with_parent; end_with_parent(); "
    "from reason_env.cli import main; main()"
)
"""Python source of a run's process; its arguments are those of `reason-env`."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of one run after a change."""

    run: Run
    status: Status
    tokens: int
    """Tokens generated so far."""
    pass_at_1: float | None
    """The last evaluation; None before the first."""


OnProgress = Callable[[Progress], None]


class Comparison:
    """The directory of one comparison; `run` runs what is not finished."""

    def __init__(self, path: Path, config: CompareConfig, evaluations: Path | None = None) -> None:
        self.path = path
        self.config = config
        self.evaluations = evaluations or path / "evaluations"

    @classmethod
    def open(cls, path: str | Path, *, evaluations: Path | None = None) -> "Comparison":
        """Open the comparison in a directory.

        Args:
            path: Of the comparison.
            evaluations: Where evaluations before training are cached; None: in the directory.
                Several comparisons may share one.

        Raises:
            CheckpointError: There is none.
        """
        path = Path(path)
        file = path / "config.json"
        if not file.is_file() or not (path / "runs").is_dir():
            raise CheckpointError(
                f"a comparison must hold config.json and runs/, got '{path}' without; give the "
                "directory that `reason-env compare` wrote"
            )
        config = config_json.load(CompareConfig, file.read_text(encoding="utf-8"))
        return cls(path, config, evaluations)

    @classmethod
    def open_or_create(
        cls, path: str | Path, config: CompareConfig, *, evaluations: Path | None = None
    ) -> "Comparison":
        """Create a comparison in a directory, or open it if it has the same settings.

        Args:
            path: Of the comparison.
            config: Of the comparison.
            evaluations: As for `open`.

        Raises:
            CheckpointError: The directory holds something else.
        """
        path = Path(path)
        text = config_json.dump(config)
        file = path / "config.json"
        if file.is_file() and (path / "runs").is_dir():
            # Read as a config: a setting that the file lacks takes its default.
            known = config_json.load(CompareConfig, file.read_text(encoding="utf-8"))
            _check_equal(path, json.loads(config_json.dump(known)), json.loads(text))
            return cls(path, config, evaluations)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CheckpointError(
                f"a new comparison must have an empty directory, got '{path}', which holds other "
                "files; give another --out"
            )
        (path / "runs").mkdir(parents=True)
        write_text(file, text)
        return cls(path, config, evaluations)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs in starting order: seed by seed, so that the runs of a pair end together."""
        return tuple(
            Run(
                source=source,
                arm=arm,
                seed=seed,
                folder=self.path / "runs" / slug(source) / slug(arm),
            )
            for seed in self.config.seeds
            for source in self.config.sources
            for arm in self.config.arms
        )

    def run(
        self,
        *,
        workers: int,
        on_progress: OnProgress = lambda progress: None,
        program: str = TRAIN,
    ) -> None:
        """Run what is not finished, at most `workers` processes at once.

        Args:
            workers: At least 1.
            on_progress: Called when a run starts, writes metrics, and ends.
            program: Python source that takes the arguments of `reason-env train`.

        Raises:
            CheckpointError: Another process is running the comparison.
        """
        with locked(self.path / ".lock") as handle:
            if handle is None:
                raise CheckpointError(
                    f"a comparison must be run by one process, got '{self.path}', which another is "
                    "running; wait for it"
                )
            waiting = [run for run in self.runs if not run.is_finished]
            active: list[RunProcess] = []
            try:
                while waiting or active:
                    while waiting and len(active) < workers:
                        run = waiting.pop(0)
                        config = self.config_of(run)
                        active.append(RunProcess(run, config, program))
                        on_progress(_progress(run, "running"))
                    time.sleep(_POLL_S)
                    for own in list(active):
                        status = own.poll()
                        if status != "running":
                            active.remove(own)
                        if status != "running" or own.has_news():
                            on_progress(_progress(own.run, status))
            finally:
                for own in active:
                    own.stop()

    def config_of(self, run: Run) -> TrainConfig:
        """Build a run's config; the arms of a seed share the evaluation before training."""
        config = self.config.run_config(run.source, run.arm, run.seed)
        folder = config.eval.cache_dir or str(self.evaluations)
        return replace(config, eval=replace(config.eval, cache_dir=folder))


def num_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(run: Run, status: Status) -> Progress:
    rows = run.metrics()
    values = [row["eval/pass_at_1"] for row in rows if row.get("eval/pass_at_1") is not None]
    return Progress(
        run=run,
        status=status,
        tokens=tokens_of(rows),
        pass_at_1=values[-1] if values else None,
    )


def _check_equal(path: Path, old: Any, new: Any) -> None:
    """Raise if settings differ from the directory's, naming the first that do."""
    found = differences({"there": old, "given": new})
    if not found:
        return
    named = [
        f"{key} {shown(both['there'], 40) if 'there' in both else 'absent'} there and "
        f"{shown(both['given'], 40) if 'given' in both else 'absent'} here"
        for key, both in found.items()
    ]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    raise CheckpointError(
        f"a comparison must keep its settings, got others for '{path}': {', '.join(named[:3])}"
        f"{more}; continue the old one with --resume {path}, or give another --out"
    )
