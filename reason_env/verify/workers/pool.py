"""A pool of worker processes that any thread may use and that nothing can block.

Workers are spawned, never forked from the caller, because a trainer holds threads and devices that
a fork would break. No signal handler is installed here. A worker that answers nothing until the
wall-clock limit (the last resort; the worker counts CPU time itself) gets SIGKILL and another one
takes its place. A forked copy of the caller starts workers of its own. At the exit of the
interpreter they are killed; if the caller is killed, their closed standard input ends them.
"""

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from typing import ClassVar

from reason_env.verdict import Outcome
from reason_env.verify.options import GradeOptions
from reason_env.verify.workers.process import SYMBOLIC, Reply, Scored, Tier, Worker


class WorkerPool:
    """At most `size` workers, started when first needed and kept warm."""

    def __init__(self, size: int, program: str = SYMBOLIC) -> None:
        """Makes an empty pool of workers for `program`; nothing is spawned yet."""
        self.size = size
        self._program = program
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    def compare(
        self, response: str, reference: str, options: GradeOptions, tier: Tier = "ours"
    ) -> Reply:
        """Runs one comparison in a worker, waiting for a free one."""

        def ask(worker: Worker) -> Scored:
            return (*worker.compare(response, reference, options, tier), None)

        outcome, reason, _ = self._asked(ask)
        return outcome, reason

    def score(self, response: str, entry: str) -> Scored:
        """Runs one scoring in a worker, waiting for a free one."""
        return self._asked(lambda worker: worker.score(response, entry))

    def _asked(self, ask: Callable[[Worker], Scored]) -> Scored:
        with self._slots:
            try:
                worker = self._take()
            except OSError as error:
                return (Outcome.ERROR, f"no worker could be started ({type(error).__name__})", None)
            try:
                return ask(worker)
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
            # The next one warms up while nobody waits; if none can start, the next call says so.
            with contextlib.suppress(OSError):
                fresh = Worker(self._program)
                self._all.add(fresh)
                self._idle.append(fresh)


class _Shared:
    """The pools of this process: made at first use, forgotten (not killed) in a forked copy."""

    pools: ClassVar[dict[str, WorkerPool]] = {}
    lock = threading.Lock()


def shared_pool(program: str = SYMBOLIC) -> WorkerPool:
    """Returns the pool for `program` that all callers of this process share."""
    with _Shared.lock:
        if program not in _Shared.pools:
            size = max(1, min(4, os.cpu_count() or 1))
            _Shared.pools[program] = WorkerPool(size, program)
        return _Shared.pools[program]


def close_shared_pool() -> None:
    """Kills the workers of this process; the next comparison starts new ones."""
    with _Shared.lock:
        pools, _Shared.pools = _Shared.pools, {}
    for pool in pools.values():
        pool.close()


def _forget() -> None:
    _Shared.pools, _Shared.lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_shared_pool)
