"""The process that may hang or die: a warm parent that forks one child for each comparison.

The caller spawns this module with pipes. It imports sympy and math-verify once and then forks a
child per job, so a job starts in milliseconds, leaves nothing behind (every worker is recycled
after one job) and its limits are its own: CPU seconds by `ITIMER_PROF`, whose default action ends
the process even inside a long C operation, and address space by `RLIMIT_AS`. CPU time rather than
wall time decides, so the verdict does not depend on the load of the machine.

Protocol: one JSON object a line; the job `{"id", "tier", "response", "reference", "options"}` is
answered by `{"id", "outcome", "reason"}`. Standard output is taken away from libraries first.

A worker serves one program, named on its command line: `symbolic` (sympy and math-verify), or a
scorer of somebody else's, whose job is `{"id", "tier", "response", "entry"}` and whose answer also
has a `score`. The parent makes the entry, which costs no response any time; the child scores.
"""

import json
import logging
import os
import resource
import signal
import sys
from dataclasses import fields
from typing import Any

from reason_env.verdict import Outcome
from reason_env.verify.options import GradeOptions

CPU_S = 0.8
"""CPU seconds of one comparison."""
MEMORY_BYTES = 480 * 2**20
"""Address space of one comparison, libraries included."""


def main() -> None:
    """Answers jobs from standard input until it closes; the program is the first argument."""
    scorer = _scorer(sys.argv[1])
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.CRITICAL)
    if scorer is None:
        from reason_env.verify.workers import symbolic

        symbolic.warm_up()
    else:
        scorer.warm_up()
    _reply(replies, {"id": -1, "outcome": "ready", "reason": ""})
    for line in sys.stdin.buffer:
        job: dict[str, Any] = json.loads(line)
        if scorer is not None:
            scorer.entry_of(job["entry"])
        child = os.fork()
        if child == 0:
            _run_child(job, replies, scorer)
        _, status = os.waitpid(child, 0)
        if status != 0:
            _reply(replies, {"id": job["id"]} | _post_mortem(status))


def _scorer(program: str) -> Any:
    """Returns the module of a scorer, None for `symbolic`."""
    if program == "symbolic":
        return None
    assert program == "reasoning_gym", "the pool starts known programs"
    from reason_env.verify.scorers import reasoning_gym_scorer

    return reasoning_gym_scorer


def _run_child(job: dict[str, Any], replies: int, scorer: Any) -> None:
    """Answers one job and ends the process: the only broad `except` stands here."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        reply = _compared(job) if scorer is None else scorer.scored(job["response"], job["entry"])
    except Exception as error:  # noqa: BLE001 - the sandbox boundary: any library may raise anything
        reply = {"outcome": Outcome.ERROR, "reason": f"the worker raised {type(error).__name__}"}
    signal.setitimer(signal.ITIMER_PROF, 0)
    _reply(replies, {"id": job["id"]} | reply)
    os._exit(0)


def _compared(job: dict[str, Any]) -> dict[str, Any]:
    from reason_env.verify.workers import symbolic

    options = GradeOptions(
        **{f.name: _tupled(job["options"][f.name]) for f in fields(GradeOptions)}
    )
    if job["tier"] == "math_verify":
        outcome, reason = symbolic.by_math_verify(job["response"], job["reference"])
    else:
        outcome, reason = symbolic.decide(job["response"], job["reference"], options)
    return {"outcome": outcome, "reason": reason}


def _tupled(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _post_mortem(status: int) -> dict[str, str]:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return {"outcome": Outcome.TIMEOUT, "reason": f"over {CPU_S} s of CPU time in the worker"}
    return {"outcome": Outcome.ERROR, "reason": "the worker died"}


def _reply(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
