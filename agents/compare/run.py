"""One run of a comparison: its files, and the process that writes them.

    seed_0.json       the TrainConfig
    seed_0/           the run directory
    seed_0.log        output of its processes
    seed_0.lock       locked while a process runs
    seed_0.end.json   exit status; absent until the run has ended

Not covered: other systems than POSIX.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_env.agents.runs import config_json, locked, read_lines, write_text
from reason_env.agents.train import TrainConfig
from reason_env.env import trusted_modules

Status = Literal["waiting", "running", "finished", "failed"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_READ_S = 0.5
_ENDING_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a comparison, and the paths of its files."""

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
        """Output of its processes."""
        return self.path.with_suffix(".log")

    @property
    def config_file(self) -> Path:
        """The TrainConfig."""
        return self.path.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """Locked while its process runs."""
        return self.path.with_suffix(".lock")

    @property
    def end_file(self) -> Path:
        """Exit status; absent until the run has ended."""
        return self.path.with_suffix(".end.json")

    @property
    def end(self) -> dict[str, Any] | None:
        """`{"status": ..., "exit_status": ...}`; None if it has not ended."""
        if not self.end_file.is_file():
            return None
        return json.loads(self.end_file.read_text(encoding="utf-8"))

    @property
    def is_finished(self) -> bool:
        """True if its process ended with exit status 0."""
        end = self.end
        return end is not None and end["status"] == "finished"

    def metrics(self) -> list[dict[str, Any]]:
        """Read the rows so far, also while the run is going on."""
        return [row for _, row in read_lines(self.path / "metrics.jsonl")]

    def log_tail(self, lines: int = 5) -> str:
        """Read the last lines of the log."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-lines:])


class RunProcess:
    """A run with its process: ours, or one whose parent was killed, which is waited for."""

    def __init__(self, run: Run, config: TrainConfig, program: str) -> None:
        self.run = run
        self.program = program
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self._read_at, self._size = 0.0, -1
        run.folder.mkdir(parents=True, exist_ok=True)
        run.end_file.unlink(missing_ok=True)
        write_text(run.config_file, config_json.dump(self.config))
        self._start()

    def poll(self) -> Status:
        """Check on the process; when it has ended, write the end file and return the status."""
        if self.process is None:
            self._start()
            return "running"
        code = self.process.poll()
        if code is None:
            return "running"
        _close(self.process)
        status: Status = "finished" if code == 0 else "failed"
        end = {"status": status, "exit_status": code}
        write_text(self.run.end_file, json.dumps(end))
        return status

    def has_news(self) -> bool:
        """Check for new metrics since the last call, at most twice a second."""
        now = time.monotonic()
        file = self.run.path / "metrics.jsonl"
        if now - self._read_at < _READ_S or not file.is_file():
            return False
        size = file.stat().st_size
        self._read_at, changed, self._size = now, size != self._size, size
        return changed

    def stop(self) -> None:
        """Terminate our process and wait for it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _close(self.process)

    def _start(self) -> None:
        """Start the process, unless an earlier one still holds the lock."""
        run = self.run
        with locked(run.lock) as handle:
            if handle is None:
                return
            # RunDir writes config.json last: without it there is nothing to resume.
            can_resume = (run.path / "config.json").is_file()
            arguments = (
                ["--resume", str(run.path)]
                if can_resume
                else ["--from-config", str(run.config_file), "--out", str(run.path)]
            )
            if trusted := trusted_modules():
                arguments += ["--trust", ",".join(trusted)]
            with run.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", self.program, "train", self.config.name, *arguments],
                    # Nothing is written: the child sees its end when this process is gone.
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | dict.fromkeys(THREADS, "1"),
                    # The child inherits the handle and so holds the lock until it ends.
                    pass_fds=(handle,),
                )


def end_with_parent(grace_s: float = _ENDING_S) -> None:
    """End this process, as SIGTERM does, once the one that started it is gone; for a run's process.

    Its standard input is a pipe that only the parent holds open. A process that does not end within
    `grace_s` seconds is killed.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="parent").start()


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count the tokens that a run has generated for training."""
    return max((int(row.get("rollout/sampled_tokens_total") or 0) for row in rows), default=0)
