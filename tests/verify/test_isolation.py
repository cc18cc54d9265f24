import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade, grade_many
from reason_env.verify import grading as grading_module
from reason_env.verify.options import DEFAULT
from reason_env.verify.pool import WorkerPool, close_shared_pool, shared_pool

HARD = r"\int_0^1 x^2 \, dx"
HANGS = "9^{9^{9^9}}"


def run_python(code: str, limit_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=limit_s, check=False
    )


def test_importing_the_package_loads_no_algebra_system() -> None:
    code = (
        "import sys, reason_env.verify\n"
        "print(sorted({'sympy', 'math_verify', 'torch', 'mpmath', 'antlr4'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"


def test_a_worker_over_its_cpu_budget_is_a_timeout_and_the_pool_lives_on() -> None:
    pool = WorkerPool(size=1)
    try:
        pool.compare("x", "x", DEFAULT)
        start = time.perf_counter()
        outcome, reason = pool.compare(r"\int_0^1 \frac{\sin^{13} x}{x^7+x^3+1}\, dx", "y", DEFAULT)
        assert outcome in (Outcome.TIMEOUT, Outcome.INCORRECT), reason
        assert time.perf_counter() - start < 8.0
        assert (
            pool.compare(r"\int_0^1 2x \, dx", r"\int_0^1 2t\, dt", DEFAULT)[0] is Outcome.CORRECT
        )
    finally:
        pool.close()


def test_a_killed_worker_is_an_error_and_the_next_comparison_gets_another() -> None:
    pool = WorkerPool(size=1)
    try:
        pool.compare("x", "x", DEFAULT)
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        assert pool.compare("x+1", "x", DEFAULT)[0] is Outcome.ERROR
        assert pool.compare("x", "x", DEFAULT)[0] is Outcome.CORRECT
        assert pool.pids() != [pid]
    finally:
        pool.close()


def test_grading_works_in_threads_and_in_asyncio() -> None:
    pairs = [(rf"\boxed{{\int_0^{n} 2x\,dx}}", rf"\int_0^{n} 2t\,dt") for n in range(1, 5)]
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


def test_a_forked_copy_of_the_caller_grades_with_workers_of_its_own() -> None:
    grade(rf"\boxed{{{HARD}}}", "1/7")
    mine = shared_pool().pids()
    child = os.fork()
    if child == 0:
        grading_module.clear_cache()
        verdict = grade(r"\boxed{\int_0^3 2x\,dx}", r"\int_0^3 2t\,dt")
        own = not set(shared_pool().pids()) & set(mine)
        close_shared_pool()
        os._exit(0 if verdict.is_correct and own else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert shared_pool().pids() == mine


def test_the_interpreter_exits_at_once_with_warm_workers() -> None:
    code = (
        "from reason_env.verify.pool import shared_pool\n"
        "from reason_env.verify.options import DEFAULT\n"
        "print(shared_pool().compare('x', 'x', DEFAULT)[0])"
    )
    done = run_python(code)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("correct", "", 0)


def test_workers_end_when_the_caller_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from reason_env.verify.pool import shared_pool\n"
        "from reason_env.verify.options import DEFAULT\n"
        "shared_pool().compare('x', 'x', DEFAULT)\n"
        "print(*shared_pool().pids(), flush=True)\n"
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
def test_what_was_not_decided_is_not_cached(outcome: Outcome) -> None:
    from reason_env.verdict import Verdict

    grading_module.clear_cache()
    grading_module._CACHE.put(("a", "b", DEFAULT), Verdict(outcome))
    assert grading_module._CACHE.get(("a", "b", DEFAULT)) is None
