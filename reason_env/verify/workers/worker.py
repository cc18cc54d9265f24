"""The main program of a worker: loads the libraries once and forks a child for each job.

A job therefore starts in milliseconds, leaves nothing behind, and has its own limits: CPU seconds
by `ITIMER_PROF`, whose default action ends the process even inside a long C operation, and address
space by `RLIMIT_AS`. The limit is CPU time and not wall time, so that the verdict does not depend
on the load of the machine.

A worker serves one program, named on its command line: `symbolic` (sympy and math-verify) or the
scorer of another package. Protocol, one JSON object per line:

- `symbolic`: `{"id", "tier", "response", "reference"}` -> `{"id", "outcome", "reason"}`;
- scorer: `{"id", "tier", "response", "entry"}` -> `{"id", "outcome", "reason", "score"}`. The
  parent builds the entry, so that this does not count towards the CPU time of a response.

Standard output belongs to the protocol; libraries write to the null device.
"""

import json
import logging
import os
import resource
import signal
import sys
from typing import Any

from reason_env.verdict import Outcome
from reason_env.verify.workers.process import DIED

CPU_S = 0.8
"""CPU seconds of one job."""
MEMORY_BYTES = 480 * 2**20
"""Address space of one job, with the libraries."""


def main() -> None:
    """Run jobs from standard input until it closes; the program is the first argument."""
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
    """Import the module of a scorer; None for `symbolic`."""
    if program == "symbolic":
        return None
    assert program == "reasoning_gym", "the pool starts known programs"
    from reason_env.verify.scorers import reasoning_gym_scorer

    return reasoning_gym_scorer


def _run_child(job: dict[str, Any], replies: int, scorer: Any) -> None:
    """Run one job, reply, and end the process; the only place with a broad `except`."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        reply = _compare(job) if scorer is None else scorer.score(job["response"], job["entry"])
    except Exception as error:  # noqa: BLE001 - the sandbox boundary: any library may raise anything
        reply = {"outcome": Outcome.ERROR, "reason": f"the worker raised {type(error).__name__}"}
    signal.setitimer(signal.ITIMER_PROF, 0)
    _reply(replies, {"id": job["id"]} | reply)
    os._exit(0)


def _compare(job: dict[str, Any]) -> dict[str, Any]:
    from reason_env.verify.workers import symbolic

    decide = symbolic.by_math_verify if job["tier"] == "math_verify" else symbolic.decide
    outcome, reason = decide(job["response"], job["reference"])
    return {"outcome": outcome, "reason": reason}


def _post_mortem(status: int) -> dict[str, str]:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return {"outcome": Outcome.TIMEOUT, "reason": f"over {CPU_S} s of CPU time in the worker"}
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # From outside, as by a system without memory: the parent tries again.
        return {"outcome": Outcome.ERROR, "reason": DIED}
    return {"outcome": Outcome.ERROR, "reason": f"the job crashed (status {status})"}


def _reply(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
