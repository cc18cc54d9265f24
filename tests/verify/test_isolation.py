import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from reason_env.verdict import Outcome, Verdict
from reason_env.verify import by_math_verify, grade, grade_many
from reason_env.verify import grading as grading_module
from reason_env.verify.options import DEFAULT
from reason_env.verify.workers import pool as pool_module
from reason_env.verify.workers import process as process_module
from reason_env.verify.workers import worker as worker_module
from reason_env.verify.workers.pool import WorkerPool, close_shared_pool, shared_pool
from reason_env.verify.workers.process import LOST, NOT_STARTED, SILENT, Reply, Worker
from reason_env.verify.workers.worker import MEMORY_BYTES

HARD = r"\int_0^1 x^2 \, dx"
HANGS = "9^{9^{9^9}}"


def run_python(code: str, limit_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=limit_s, check=False
    )


def pids(pool: WorkerPool) -> list[int]:
    return [worker.pid for worker in pool._all if worker.is_alive]


def test_importing_the_package_loads_no_algebra_system() -> None:
    code = (
        "import sys, reason_env.verify\n"
        "print(sorted({'sympy', 'math_verify', 'torch', 'mpmath', 'antlr4'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"


def test_a_worker_over_its_cpu_budget_is_a_timeout_and_the_pool_survives() -> None:
    pool = WorkerPool(size=1)
    try:
        pool.compare("x", "x")
        start = time.perf_counter()
        outcome, reason = pool.compare(r"\int_0^1 \frac{\sin^{13} x}{x^7+x^3+1}\, dx", "y")
        assert outcome in (Outcome.TIMEOUT, Outcome.INCORRECT), reason
        assert time.perf_counter() - start < 8.0
        assert pool.compare(r"\int_0^1 2x \, dx", r"\int_0^1 2t\, dt")[0] is Outcome.CORRECT
    finally:
        pool.close()


def test_a_killed_worker_is_replaced_and_the_comparison_runs_again() -> None:
    pool = WorkerPool(size=1)
    try:
        pool.compare("x", "x")
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        assert pool.compare("x+1", "x")[0] is Outcome.INCORRECT
        assert pids(pool) != [pid]
    finally:
        pool.close()


class LostWorker:
    """Stands for a worker: lost this often, before it answers."""

    is_alive = True
    lost: ClassVar[list[Reply]] = []
    num_asked: ClassVar[int] = 0

    def __init__(self, program: str) -> None:
        if self.lost and self.lost[0][1] == NOT_STARTED:
            type(self).num_asked += 1
            self.lost.pop(0)
            raise BlockingIOError

    def compare(self, response: str, reference: str, tier: str) -> Reply:
        type(self).num_asked += 1
        return self.lost.pop(0) if self.lost else (Outcome.CORRECT, "sympy")

    def kill(self) -> None:
        pass


@pytest.mark.parametrize("reason", sorted(LOST))
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_lost_worker_says_nothing_about_the_answer_until_three_are_lost(
    reason: str, times: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(pool_module, "Worker", LostWorker)
    monkeypatch.setattr(pool_module.time, "sleep", paused.append)
    outcome = Outcome.TIMEOUT if reason == SILENT else Outcome.ERROR
    monkeypatch.setattr(LostWorker, "lost", [(outcome, reason)] * times)
    monkeypatch.setattr(LostWorker, "num_asked", 0)
    reply = WorkerPool(size=1).compare("x", "x")
    assert LostWorker.num_asked == min(times + 1, 3)
    assert paused == ([0.5, 1.0][:times] if reason == NOT_STARTED else [])
    if times < 3:
        assert reply == (Outcome.CORRECT, "sympy")
        assert not caplog.text
    else:
        assert reply == (outcome, reason)
        assert f"has the outcome {outcome.value} after 3 tries, because {reason}" in caplog.text


def test_an_error_of_the_job_itself_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = (Outcome.ERROR, "the worker raised MemoryError")
    monkeypatch.setattr(pool_module, "Worker", LostWorker)
    monkeypatch.setattr(LostWorker, "lost", [reply])
    monkeypatch.setattr(LostWorker, "num_asked", 0)
    assert WorkerPool(size=1).compare("x", "x") == reply
    assert LostWorker.num_asked == 1


@pytest.mark.slow
def test_workers_that_are_killed_twice_change_no_verdict() -> None:
    grading_module.clear_cache()
    pairs = [(rf"\boxed{{{n * n + n % 2}}}", rf"\int_0^{{{n}}} 2t\,dt") for n in range(1, 30)]
    expected = grade_many(pairs)
    assert {verdict.outcome for verdict in expected} == {Outcome.CORRECT, Outcome.INCORRECT}
    grading_module.clear_cache()
    killed: set[int] = set()

    def kill() -> None:
        # All workers, and then all that replace them.
        for _ in range(2):
            while not (fresh := set(pids(shared_pool())) - killed):
                time.sleep(0.01)
            for pid in fresh:
                os.kill(pid, signal.SIGKILL)
            killed.update(fresh)

    killer = threading.Thread(target=kill)
    killer.start()
    assert grade_many(pairs) == expected
    killer.join()
    assert len(killed) >= 2


def test_grading_works_in_threads_and_in_asyncio() -> None:
    pairs = [(rf"\boxed{{{n * n}}}", rf"\int_0^{n} 2t\,dt") for n in range(1, 5)]
    seen: list[Outcome] = []
    threads = [threading.Thread(target=lambda p=p: seen.append(grade(*p).outcome)) for p in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [Outcome.CORRECT] * 4

    async def both() -> list[Outcome]:
        verdicts = await asyncio.gather(*(asyncio.to_thread(grade, *pair) for pair in pairs))
        return [verdict.outcome for verdict in verdicts]

    grading_module.clear_cache()
    assert asyncio.run(both()) == [Outcome.CORRECT] * 4


def test_a_forked_copy_of_the_caller_grades_with_separate_workers() -> None:
    grade(rf"\boxed{{{HARD}}}", "1/7")
    mine = pids(shared_pool())
    child = os.fork()
    if child == 0:
        grading_module.clear_cache()
        verdict = grade(r"\boxed{9}", r"\int_0^3 2t\,dt")
        own = len(pids(shared_pool())) == 1 and not set(pids(shared_pool())) & set(mine)
        close_shared_pool()
        os._exit(0 if verdict.is_correct and own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pids(shared_pool()) == mine


def test_the_interpreter_exits_at_once_with_warm_workers() -> None:
    code = (
        "from reason_env.verify.workers.pool import shared_pool\n"
        "print(shared_pool().compare('x', 'x')[0])"
    )
    done = run_python(code)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("correct", "", 0)


def test_workers_end_when_the_caller_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from reason_env.verify.workers.pool import shared_pool\n"
        "shared_pool().compare('x', 'x')\n"
        "print(*[worker.pid for worker in shared_pool()._all], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    (pid,) = map(int, run_python(code).stdout.split())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_grade_many_equals_grade_and_fills_its_cache() -> None:
    grading_module.clear_cache()
    pairs = [(r"\boxed{1}", "1"), (rf"\boxed{{{HARD}}}", r"\int_0^1 t^2\,dt"), ("none", "1")] * 2
    verdicts = grade_many(pairs)

    close_shared_pool()
    assert [grade(*pair) for pair in pairs] == verdicts
    assert [verdict.outcome for verdict in verdicts[:3]] == [
        Outcome.CORRECT,
        Outcome.CORRECT,
        Outcome.NO_ANSWER,
    ]


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.ERROR])
def test_timeouts_and_errors_are_not_cached(outcome: Outcome) -> None:
    grading_module.clear_cache()
    grading_module._CACHE.put(("a", "b", DEFAULT), Verdict(outcome))
    assert grading_module._CACHE.get(("a", "b", DEFAULT)) is None


SLOW = r"\int_0^1 \frac{\sin^{13} x}{x^7+x^3+1}\, dx"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_job_killed_in_the_middle_runs_again_in_its_worker() -> None:
    pool = WorkerPool(size=1)
    try:
        pool.compare("x", "x")
        (pid,) = pids(pool)
        deadline = time.monotonic() + 10
        while children(pid) and time.monotonic() < deadline:
            time.sleep(0.001)

        def kill_the_job() -> None:
            while not (jobs := children(pid)) and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(jobs[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_the_job)
        killer.start()
        reply = pool.compare(SLOW, "y")
        killer.join()
        assert reply[1] not in LOST
        assert pool.compare("x", "x")[0] is Outcome.CORRECT
        assert pids(pool) == [pid]
    finally:
        pool.close()


def test_a_job_that_crashes_is_an_error_and_is_not_tried_again() -> None:
    reason = "the job crashed (status 11)"
    assert worker_module._post_mortem(11) == {"outcome": Outcome.ERROR, "reason": reason}
    assert worker_module._post_mortem(9) == {"outcome": Outcome.ERROR, "reason": "the worker died"}
    assert reason not in LOST


def test_a_job_over_the_memory_limit_is_an_error_and_its_worker_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a slow processor the limit of CPU time comes before that of memory, which is meant here.
    code = "from reason_env.verify.workers import worker; worker.CPU_S = 20.0; worker.main()"
    begin = subprocess.Popen
    monkeypatch.setattr(
        process_module.subprocess,
        "Popen",
        lambda words, **options: begin([words[0], "-c", code, *words[3:]], **options),
    )
    pool = WorkerPool(size=1)
    try:
        outcome, reason = pool.compare("x" * (MEMORY_BYTES // 4), "y")
        assert (outcome, reason) == (Outcome.ERROR, "the worker raised MemoryError")
        (pid,) = pids(pool)
        assert pool.compare("x", "x")[0] is Outcome.CORRECT
        assert pids(pool) == [pid]
    finally:
        pool.close()


def test_math_verify_gives_none_if_it_runs_out_of_time() -> None:
    assert by_math_verify("$9^{9^{9^9}}$", "42") is None
    assert by_math_verify(r"$\boxed{42}$", "42") is True
    assert by_math_verify(r"$\boxed{41}$", "42") is False


def test_a_silent_worker_is_a_timeout_and_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    worker.compare("x", "x")
    monkeypatch.setattr(process_module, "WALL_S", 0.1)
    os.kill(worker.pid, signal.SIGSTOP)
    assert worker.compare("x", "x")[0] is Outcome.TIMEOUT
    assert not worker.is_alive


def test_a_reply_to_another_job_is_never_used() -> None:
    worker = Worker()
    worker.compare("x", "x")
    worker._buffer = b'{"id": 1, "outcome": "correct", "reason": "late"}\n'
    outcome, reason = worker.compare("x+1", "x")
    assert (outcome, reason) != (Outcome.CORRECT, "late")
    assert outcome is Outcome.INCORRECT
    worker._buffer = b'{"id": 99, "outcome": "correct", "reason": "early"}\n'
    assert worker.compare("x+1", "x") == (Outcome.ERROR, "the worker died")
    assert not worker.is_alive


def test_a_worker_that_died_between_two_jobs_is_an_error() -> None:
    worker = Worker()
    worker.compare("x", "x")
    os.kill(worker.pid, signal.SIGKILL)
    worker._process.wait()
    assert worker.compare("x", "x") == (Outcome.ERROR, "the worker died")


@pytest.mark.parametrize(
    ("program", "reason"),
    [("false", "the worker did not start"), ("no such program", "no worker could be started")],
)
def test_a_worker_that_cannot_start_is_an_error(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = WorkerPool(size=1)
    monkeypatch.setattr(pool_module, "PAUSE_S", 0.0)
    monkeypatch.setattr(sys, "executable", program)
    outcome, said = pool.compare("x", "x")
    pool.close()
    assert outcome is Outcome.ERROR
    assert said.startswith(reason)


def test_the_cache_keeps_the_most_recently_used_short_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = grading_module._Cache()
    monkeypatch.setattr(grading_module, "CACHE_PAIRS", 2)
    keys = [(name, "7", DEFAULT) for name in ("a", "b", "c", "d" * 2001)]
    verdict = Verdict(Outcome.INCORRECT)
    cache.put(keys[0], verdict)
    cache.put(keys[1], verdict)
    cache.get(keys[0])
    cache.put(keys[2], verdict)
    cache.put(keys[3], verdict)
    assert [cache.get(key) is verdict for key in keys] == [True, False, True, False]


def test_a_worker_returned_to_a_closed_pool_is_not_kept() -> None:
    pool = WorkerPool(size=1)
    worker = pool._take()
    pool.close()
    pool._give_back(worker)
    assert pids(pool) == []
