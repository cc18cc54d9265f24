"""A pool of worker processes that every thread can use and that no comparison can block.

Workers are spawned and not forked, because a fork would break the threads and devices of a trainer.
The pool installs no signal handler. It kills and replaces a worker that does not reply within the
wall-clock limit (the last resort: a worker limits the CPU time of its jobs itself). A worker that
is lost says nothing about the answer: the job runs again in another one, `TRIES` times in all, and
only then has the verdict ERROR or TIMEOUT, with a warning. A forked copy of the caller starts its
own workers. The exit of the interpreter kills the workers; if the caller is killed, they end
because their standard input closes.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from reason_env.verdict import Outcome
from reason_env.verify.workers.process import (
    LOST,
    NOT_STARTED,
    SYMBOLIC,
    Reply,
    Scored,
    Tier,
    Worker,
)

TRIES = 3
"""Workers that a job may lose before it is given up."""
PAUSE_S = 0.5
"""Seconds before the second try, if no process could be started; twice as many before the third."""
_log = logging.getLogger(__name__)


class WorkerPool:
    """At most `size` workers, started at the first use and kept for later ones."""

    def __init__(self, size: int, program: str = SYMBOLIC) -> None:
        """Create a pool without workers for `program`."""
        self.size = size
        self._program = program
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    def compare(self, response: str, reference: str, tier: Tier = "ours") -> Reply:
        """Run a comparison in the next free worker."""

        def ask(worker: Worker) -> Scored:
            return (*worker.compare(response, reference, tier), None)

        outcome, reason, _ = self._run(ask)
        return outcome, reason

    def score(self, response: str, entry: str) -> Scored:
        """Score a response in the next free worker."""
        return self._run(lambda worker: worker.score(response, entry))

    def _run(self, ask: Callable[[Worker], Scored]) -> Scored:
        """Run a job, again in another worker if one is lost."""
        reply = self._try(ask)
        for tried in range(1, TRIES):
            if reply[1] not in LOST:
                return reply
            if reply[1] == NOT_STARTED:
                time.sleep(tried * PAUSE_S)
            reply = self._try(ask)
        if reply[1] in LOST:
            _log.warning(
                "an answer has the outcome %s after %d tries, because %s; the machine may lack "
                "memory or processes",
                reply[0].value,
                TRIES,
                reply[1],
            )
        return reply

    def _try(self, ask: Callable[[Worker], Scored]) -> Scored:
        with self._slots:
            try:
                worker = self._take()
            except OSError:
                return (Outcome.ERROR, NOT_STARTED, None)
            try:
                return ask(worker)
            finally:
                self._give_back(worker)

    def close(self) -> None:
        """Kill every worker."""
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
            worker = Worker(self._program)
            self._all.add(worker)
            return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if worker not in self._all:
                return
            if worker.is_alive:
                self._idle.append(worker)
                return
            self._all.discard(worker)
            # Replace it while no caller waits; if that fails, the next call reports it.
            with contextlib.suppress(OSError):
                fresh = Worker(self._program)
                self._all.add(fresh)
                self._idle.append(fresh)


class _Shared:
    """The pools of this process; a forked copy forgets them and does not kill their workers."""

    pools: ClassVar[dict[str, WorkerPool]] = {}
    lock = threading.Lock()


def shared_pool(program: str = SYMBOLIC) -> WorkerPool:
    """Return the pool for `program` that all callers in this process share."""
    with _Shared.lock:
        if program not in _Shared.pools:
            size = max(1, min(4, os.cpu_count() or 1))
            _Shared.pools[program] = WorkerPool(size, program)
        return _Shared.pools[program]


def close_shared_pool() -> None:
    """Kill the workers of this process; the next comparison starts others."""
    with _Shared.lock:
        pools, _Shared.pools = _Shared.pools, {}
    for pool in pools.values():
        pool.close()


def _forget() -> None:
    _Shared.pools, _Shared.lock = {}, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
atexit.register(close_shared_pool)
