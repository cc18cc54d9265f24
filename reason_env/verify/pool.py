"""A pool of worker processes that any thread may use and that nothing can block.

Workers are spawned, never forked from the caller, because a trainer holds threads and devices that
a fork would break. No signal handler is installed here. A worker that answers nothing until the
wall-clock limit (the last resort; the worker counts CPU time itself) gets SIGKILL and another one
takes its place. A forked copy of the caller starts workers of its own. At the exit of the
interpreter they are killed; if the caller is killed, their closed standard input ends them.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import asdict

from reason_env.verdict import Outcome
from reason_env.verify.options import GradeOptions

WALL_S = 10.0
"""Wall-clock seconds of one comparison on a machine however busy: the last resort."""
START_S = 120.0
"""Wall-clock seconds in which a worker has to come up."""
MAX_REPLY_BYTES = 65536

Reply = tuple[Outcome, str]
_RAN_OUT: Reply = (Outcome.TIMEOUT, "the worker did not answer in time")
_DIED: Reply = (Outcome.ERROR, "the worker died")


class Worker:
    """One spawned process and its pipes; used by one thread at a time."""

    def __init__(self) -> None:
        """Spawns the process and does not wait for it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reason_env.verify.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            close_fds=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        self._buffer = b""
        self._is_ready = False
        self._job_id = 0

    def compare(self, response: str, reference: str, options: GradeOptions) -> Reply:
        """Returns what the process found; TIMEOUT or ERROR (and a dead process) if it found nothing."""
        if not self._is_ready:
            self._is_ready = self._line(START_S) is not None
            if not self._is_ready:
                self.kill()
                return (Outcome.ERROR, "the worker did not start")
        self._job_id += 1
        job = {"id": self._job_id, "response": response, "reference": reference}
        try:
            self._write((json.dumps(job | {"options": asdict(options)}) + "\n").encode())
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
        """Ends the process and its children with SIGKILL and reaps it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> Reply:
        line = self._line(WALL_S)
        if line is None:
            reply = _RAN_OUT if self.is_alive else _DIED
            self.kill()
            return reply
        message = json.loads(line)
        if message["id"] != self._job_id:
            self.kill()
            return _DIED
        return Outcome(message["outcome"]), str(message["reason"])

    def _write(self, data: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None, "the worker has a standard input"
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) or 0 :]

    def _line(self, limit_s: float) -> bytes | None:
        """Returns the next line of the process, or None if it ended or the limit passed."""
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
                return None
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


class WorkerPool:
    """At most `size` workers, started when first needed and kept warm."""

    def __init__(self, size: int) -> None:
        """Makes an empty pool; nothing is spawned yet."""
        self.size = size
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    def compare(self, response: str, reference: str, options: GradeOptions) -> Reply:
        """Runs one comparison in a worker, waiting for a free one."""
        with self._slots:
            worker = self._take()
            try:
                return worker.compare(response, reference, options)
            finally:
                self._give_back(worker)

    def warm_up(self) -> None:
        """Starts one worker without waiting for it."""
        self._give_back(self._take())

    def pids(self) -> list[int]:
        """Returns the process ids of the living workers."""
        with self._lock:
            return [worker.pid for worker in self._all if worker.is_alive]

    def close(self) -> None:
        """Kills every worker."""
        with self._lock:
            workers, self._all, self._idle = self._all, set(), []
        for worker in workers:
            worker.kill()

    def _take(self) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    return worker
                worker.kill()
                self._all.discard(worker)
            worker = Worker()
            self._all.add(worker)
            return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if worker not in self._all:
                return
            if not worker.is_alive:
                self._all.discard(worker)
                worker = Worker()
                self._all.add(worker)
            self._idle.append(worker)


class _Shared:
    """The pool of this process: made at first use, forgotten (not killed) in a forked copy."""

    pool: WorkerPool | None = None
    lock = threading.Lock()


def shared_pool() -> WorkerPool:
    """Returns the pool that all callers of this process share."""
    with _Shared.lock:
        if _Shared.pool is None:
            _Shared.pool = WorkerPool(size=max(1, min(4, os.cpu_count() or 1)))
        return _Shared.pool


def close_shared_pool() -> None:
    """Kills the workers of this process; the next comparison starts new ones."""
    with _Shared.lock:
        pool, _Shared.pool = _Shared.pool, None
    if pool is not None:
        pool.close()


def _forget() -> None:
    _Shared.pool, _Shared.lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_shared_pool)
