"""One run of a comparison: where its files are, and the process that writes them.

    seed_0.json       its TrainConfig
    seed_0/           its run directory
    seed_0.log        what its processes printed
    seed_0.lock       locked for as long as one lives: a parent that was killed leaves no doubt
    seed_0.end.json   how it ended; absent before

Not covered: other systems than POSIX.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_env.agents.runs import config_json, read_lines, write_text
from reason_env.agents.train import TrainConfig

Status = Literal["waiting", "running", "finished", "failed"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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


class RunProcess:
    """A run that has a process: ours, or one that outlived its parent."""

    def __init__(self, run: Run, config: TrainConfig, program: str) -> None:
        self.run = run
        self.program = program
        self.config = config
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
        with locked(run.lock) as handle:
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


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """Returns the tokens that a run has generated for training."""
    return max((int(row.get("rollout/sampled_tokens_total") or 0) for row in rows), default=0)


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
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
