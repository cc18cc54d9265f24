"""Starts the processes of a run on this machine; torchrun starts them on several machines.

They find each other through a file, so that no name or port is looked up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from reason_env.agents.processes.processes import MEETING, is_launched
from reason_env.errors import ConfigError, ProcessError

GRACE_S = 30.0
"""Seconds that processes have to end by themselves once one has failed, and again when asked to."""


def launch(number: int, command: Sequence[str]) -> int:
    """Run a Python command in several processes until all have ended.

    What they print is shown; the first one says why a run ended. Ctrl-C ends the first one as
    SIGTERM does.

    Args:
        number: Of processes.
        command: What follows `python`.

    Returns:
        The exit status of the first process; 1 if it is 0 and another one failed.

    Raises:
        ConfigError: `number` is below 2, or this is one of several processes.
        ProcessError: The first process was killed.
    """
    if number < 2 or is_launched():
        raise ConfigError(
            f"devices must be at least 2 to start processes, and none of them starts others, got "
            f"{number!r}; run the command itself"
        )
    with TemporaryDirectory(prefix="reason-env-") as folder:
        running = [_start(rank, number, command, Path(folder)) for rank in range(number)]
        try:
            _wait_for_failure(running)
        except KeyboardInterrupt:
            running[0].terminate()
        finally:
            _end(running)
    status = running[0].returncode
    if status < 0 and status != -signal.SIGTERM:
        # It had no time to say anything.
        raise ProcessError(
            "the first process must live as long as the run, got one that ended by "
            f"{signal.Signals(-status).name}; resume the run: --resume RUN --devices {number}"
        )
    return status if status > 0 else int(any(own.returncode for own in running))


def _start(rank: int, number: int, command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    threads = max(1, (os.cpu_count() or 1) // number)
    own = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(number),
        MEETING: str(folder / "meeting"),
    }
    # Ctrl-C is for this process, which ends the first one in order.
    return subprocess.Popen(
        [sys.executable, *command],
        env={"OMP_NUM_THREADS": str(threads), **os.environ, **own},
        start_new_session=True,
    )


def _wait_for_failure(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Return once a process has failed, or all have ended."""
    while True:
        found = [own.poll() for own in running]
        if any(found) or None not in found:
            return
        time.sleep(0.05)


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for those that still run; after a while ask them to end, and then kill them."""
    for wish in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        while any(own.poll() is None for own in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        for own in running:
            if own.poll() is None:
                own.send_signal(wish)
    for own in running:
        own.wait()
