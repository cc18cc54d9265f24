"""One worker process and its pipes: spawns it, sends jobs, kills it if it does not reply.

Installs no signal handler in the caller.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Literal

from reason_env.verdict import Outcome

WALL_S = 30.0
"""Wall-clock seconds for one job, after which the worker is killed; the last resort.

The worker limits the CPU time of a job itself. This limit leaves room for a busy machine.
"""
START_S = 120.0
"""Wall-clock seconds in which a worker must start."""
MAX_REPLY_BYTES = 65536

Reply = tuple[Outcome, str]
Tier = Literal["ours", "math_verify"]
"""`ours`: sympy and math-verify, each for what it can decide. `math_verify`: math-verify alone."""
Scored = tuple[Outcome, str, float | None]
"""Outcome, reason and score."""

SYMBOLIC = "symbolic"
"""The program of workers that compare answers; other programs have the name of their scorer."""
FIXED = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Environment variables of a scorer's process: the order of Python sets of strings is the same in
each, so that generators draw the same entries; and no thread pool takes address space."""

SILENT, DIED = "the worker did not answer in time", "the worker died"
NO_START, NOT_STARTED = "the worker did not start", "no worker could be started"
LOST = frozenset({SILENT, DIED, NO_START, NOT_STARTED})
"""Reasons of replies that say nothing about the answer: its worker was lost."""
_RAN_OUT: Scored = (Outcome.TIMEOUT, SILENT, None)
_DIED: Scored = (Outcome.ERROR, DIED, None)


class Worker:
    """One spawned process and its pipes; for one thread at a time."""

    def __init__(self, program: str = SYMBOLIC) -> None:
        """Spawn the process for `program` without waiting until it is ready."""
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reason_env.verify.workers.worker", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            close_fds=True,
            start_new_session=True,
            env=os.environ | path | ({} if program == SYMBOLIC else FIXED),
        )
        self._buffer = b""
        self._is_ready = False
        self._job_id = 0

    def compare(self, response: str, reference: str, tier: Tier = "ours") -> Reply:
        """Compare two answers; TIMEOUT or ERROR, and a dead process, if it does not reply."""
        outcome, reason, _ = self._ask({"tier": tier, "response": response, "reference": reference})
        return outcome, reason

    def score(self, response: str, entry: str) -> Scored:
        """Score a response; fails as `compare` does."""
        return self._ask({"tier": "score", "response": response, "entry": entry})

    def _ask(self, job: dict[str, Any]) -> Scored:
        if not self._is_ready:
            self._is_ready = bool(self._line(START_S))
            if not self._is_ready:
                self.kill()
                return (Outcome.ERROR, NO_START, None)
        self._job_id += 1
        try:
            self._write((json.dumps(job | {"id": self._job_id}) + "\n").encode())
        except OSError:
            self.kill()
            return _DIED
        return self._answer()

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def kill(self) -> None:
        """Kill the process and its children, and reap it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> Scored:
        while True:
            line = self._line(WALL_S)
            if not line:
                self.kill()
                return _RAN_OUT if line is None else _DIED
            message = json.loads(line)
            if message["id"] == self._job_id:
                return Outcome(message["outcome"]), str(message["reason"]), message.get("score")
            # A job that died after its reply is reported a second time; ignore that.
            if message["id"] > self._job_id:
                self.kill()
                return _DIED

    def _write(self, data: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None, "the worker has a standard input"
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) or 0 :]

    def _line(self, limit_s: float) -> bytes | None:
        """Read the next line; empty if the process ended, None after `limit_s` seconds."""
        pipe = self._process.stdout
        assert pipe is not None, "the worker has a standard output"
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._buffer:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0 or not poller.poll(left_ms):
                return None
            piece = os.read(pipe.fileno(), MAX_REPLY_BYTES)
            if not piece or len(self._buffer) > MAX_REPLY_BYTES:
                return b""
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line
