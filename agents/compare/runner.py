"""compare: runs arms over seeds in processes of one thread each, so that any kill can be gone on.

    config.json            the CompareConfig; once it is there, the directory is a comparison
    runs/<source>/<arm>/   seed_0.json (config), seed_0/ (run directory), seed_0.log (what it
                           printed), seed_0.end.json (how it ended)
    comparison.json        what `reason_env.agents.compare.summary` found
    evaluations/           of policies before training, which the arms of a seed share
    report.html            what `reason_env.agents.report.report` shows

Each run is a `reason-env train` of its own, started from its config or resumed by its own means, so
whatever ends this process, finished runs stay and others go on from their last checkpoint. A run
holds a lock for as long as its process lives: if only the parent was killed, the next one finds the
lock taken, and waits for that run instead of starting a second writer.

A run that fails is written down with its exit status and does not end the others; it is tried again
when the comparison is run again. Not covered: other systems than POSIX; several machines.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reason_env.agents.compare.config import CompareConfig, slug
from reason_env.agents.compare.run import Run, RunProcess, Status, locked, tokens_of
from reason_env.agents.runs import config_json, differences, write_text
from reason_env.agents.train import TrainConfig
from reason_env.errors import CheckpointError, shown

TRAIN = "from reason_env.cli import main; main()"
"""The program of a run; its arguments are those of `reason-env`."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has changed in one run."""

    run: Run
    status: Status
    tokens: int
    """Generated so far."""
    pass_at_1: float | None
    """Of its last evaluation."""


OnProgress = Callable[[Progress], None]


class Comparison:
    """The directory of one comparison. Made by `open_or_create`; `run` does the work."""

    def __init__(self, path: Path, config: CompareConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def open(cls, path: str | Path) -> "Comparison":
        """Returns the comparison in a directory.

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
        return cls(path, config)

    @classmethod
    def open_or_create(cls, path: str | Path, config: CompareConfig) -> "Comparison":
        """Returns the comparison in a directory, which may hold the same one from before.

        Raises:
            CheckpointError: It holds something else.
        """
        path = Path(path)
        text = config_json.dump(config)
        file = path / "config.json"
        if file.is_file() and (path / "runs").is_dir():
            # Read as a config: a setting that is newer than the directory has its default there.
            there = config_json.load(CompareConfig, file.read_text(encoding="utf-8"))
            _check_equal(path, json.loads(config_json.dump(there)), json.loads(text))
            return cls(path, config)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CheckpointError(
                f"a comparison must have a directory of its own, got '{path}' that holds something "
                "else; give another --out"
            )
        (path / "runs").mkdir(parents=True)
        write_text(file, text)
        return cls(path, config)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, in the order in which they start: seed by seed, so that pairs end together."""
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
        """Runs what is not finished, at most `workers` processes at once.

        Args:
            workers: At least 1.
            on_progress: Told when a run starts, evaluates, goes on and ends.
            program: Python source that takes the arguments of `reason-env train`.

        Raises:
            CheckpointError: Another process is at it.
        """
        with locked(self.path / ".lock") as handle:
            if handle is None:
                raise CheckpointError(
                    f"a comparison must be run by one process, got '{self.path}' that another is "
                    "running; wait for it"
                )
            waiting = [run for run in self.runs if not run.is_finished]
            active: list[RunProcess] = []
            try:
                while waiting or active:
                    while waiting and len(active) < workers:
                        run = waiting.pop(0)
                        config = self._run_config(run)
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

    def _run_config(self, run: Run) -> TrainConfig:
        """Returns a run's config; the arms of a seed share the evaluation before training."""
        config = self.config.run_config(run.source, run.arm, run.seed)
        folder = config.eval.cache_dir or str(self.path / "evaluations")
        return replace(config, eval=replace(config.eval, cache_dir=folder))


def num_cores() -> int:
    """Returns the processor cores that this process may use."""
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
    """Refuses other settings than the directory's, and names the first that differ."""
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
        f"{more}; go on with the old one by --resume {path}, or give another --out"
    )
