"""compare: runs arms over seeds in processes of one thread each, so that any kill can be gone on.

    config.json            the CompareConfig; once it is there, the directory is a comparison
    runs/<source>/<arm>/   seed_0.json (config), seed_0/ (run directory), seed_0.log (what it
                           printed), seed_0.end.json (how it ended)
    comparison.json        what `reason_env.agents.compare_summary` found
    report.html            what `reason_env.agents.report` shows

Each run is a `reason-env train` of its own, started from its config or resumed by its own means, so
whatever ends this process, finished runs stay and others go on from their last checkpoint. A run
holds a lock for as long as its process lives: if only the parent was killed, the next one finds the
lock taken, and waits for that run instead of starting a second writer.

A run that fails is written down with its exit status and does not end the others; it is tried again
when the comparison is run again. Not covered: other systems than POSIX; several machines.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_env.agents import config_json
from reason_env.agents.compare_config import CompareConfig, slug
from reason_env.agents.run_files import read_lines, write_text
from reason_env.errors import CheckpointError

Status = Literal["waiting", "running", "finished", "failed"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TRAIN = "from reason_env.cli import main; main()"
"""The program of a run; its arguments are those of `reason-env`."""
_POLL_S = 0.1
_READ_S = 0.5
_ENDING_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a comparison, and where its files are."""

    source: str
    arm: str
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.folder / f"seed_{self.seed}"

    @property
    def log(self) -> Path:
        """What its processes printed."""
        return self.path.with_suffix(".log")

    @property
    def config_file(self) -> Path:
        """Its TrainConfig."""
        return self.path.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """Locked by its process."""
        return self.path.with_suffix(".lock")

    @property
    def end_file(self) -> Path:
        """How it ended; absent before."""
        return self.path.with_suffix(".end.json")

    @property
    def end(self) -> dict[str, Any] | None:
        """`{"status": ..., "exit_status": ...}`; None while it has not ended."""
        if not self.end_file.is_file():
            return None
        return json.loads(self.end_file.read_text(encoding="utf-8"))

    @property
    def is_finished(self) -> bool:
        """True if its process ended well."""
        end = self.end
        return end is not None and end["status"] == "finished"

    def metrics(self) -> list[dict[str, Any]]:
        """Returns its rows so far; also while it is running."""
        return [row for _, row in read_lines(self.path / "metrics.jsonl")]

    def log_tail(self, lines: int = 5) -> str:
        """Returns the last lines of its log."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-lines:])


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
        if file.is_file():
            if file.read_text(encoding="utf-8") != text:
                raise CheckpointError(
                    f"a comparison must keep its settings, got other ones in '{path}'; go on with "
                    f"it by --resume {path}, or give another --out"
                )
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
        with _locked(self.path / ".lock") as handle:
            if handle is None:
                raise CheckpointError(
                    f"a comparison must be run by one process, got '{self.path}' that another is "
                    "running; wait for it"
                )
            waiting = [run for run in self.runs if not run.is_finished]
            active: list[_Active] = []
            try:
                while waiting or active:
                    while waiting and len(active) < workers:
                        run = waiting.pop(0)
                        active.append(_Active(run, self.config, program))
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


class _Active:
    """A run that has a process: ours, or one that outlived its parent."""

    def __init__(self, run: Run, config: CompareConfig, program: str) -> None:
        self.run = run
        self.program = program
        self.config = config.run_config(run.source, run.arm, run.seed)
        self.process: subprocess.Popen[bytes] | None = None
        self._read_at, self._num_rows = 0.0, -1
        run.folder.mkdir(parents=True, exist_ok=True)
        run.end_file.unlink(missing_ok=True)
        write_text(run.config_file, config_json.dump(self.config))
        self._start()

    def poll(self) -> Status:
        """Returns "running", or how the run ended, once that is written down."""
        if self.process is None:
            self._start()
            return "running"
        code = self.process.poll()
        if code is None:
            return "running"
        status: Status = "finished" if code == 0 else "failed"
        end = {"status": status, "exit_status": code}
        write_text(self.run.end_file, json.dumps(end))
        return status

    def has_news(self) -> bool:
        """Returns whether metrics were added since the last call; looks twice a second at most."""
        now = time.monotonic()
        file = self.run.path / "metrics.jsonl"
        if now - self._read_at < _READ_S or not file.is_file():
            return False
        size = file.stat().st_size
        self._read_at, changed, self._num_rows = now, size != self._num_rows, size
        return changed

    def stop(self) -> None:
        """Ends our process, and waits for it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _start(self) -> None:
        """Starts the process, unless one from before still has the lock."""
        run = self.run
        with _locked(run.lock) as handle:
            if handle is None:
                return
            # RunDir writes config.json last: without it there is nothing to resume.
            is_begun = (run.path / "config.json").is_file()
            how = (
                ["--resume", str(run.path)]
                if is_begun
                else ["--from-config", str(run.config_file), "--out", str(run.path)]
            )
            with run.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", self.program, "train", self.config.name, *how],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | dict.fromkeys(THREADS, "1"),
                    # The child keeps the lock's handle open, and with it the lock, until it ends.
                    pass_fds=(handle,),
                )


def num_cores() -> int:
    """Returns the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """Returns the tokens that a run has generated for training."""
    return max((int(row.get("rollout/sampled_tokens_total") or 0) for row in rows), default=0)


def _progress(run: Run, status: Status) -> Progress:
    rows = run.metrics()
    values = [row["eval/pass_at_1"] for row in rows if row.get("eval/pass_at_1") is not None]
    return Progress(
        run=run,
        status=status,
        tokens=tokens_of(rows),
        pass_at_1=values[-1] if values else None,
    )


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Yields the handle of a file that is locked meanwhile; None if another process has it.

    The lock belongs to the open file, so a child that inherits the handle has it too.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield handle
    finally:
        os.close(handle)
