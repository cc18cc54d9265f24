"""EngineProcess: a command whose processes never outlive the trainer. Standard library only.

The trainer starts this file as a program, the guard, which starts the command:
`python -I process.py GRACE_S FD COMMAND...`, in a new session, with a pipe from the trainer as its
standard input. When the trainer closes the pipe, or dies for any reason, the guard asks the command
to stop (SIGTERM); after GRACE_S seconds it kills the whole process group. When the command ends by
itself, the guard kills what is left of the group at once. The command inherits the socket FD (-1
for none). The guard closes its own copy, because the trainer sees the end of the socket only when
all copies are closed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE_S = 10.0
"""Seconds that a command has to end by itself after SIGTERM."""
TAIL_CHARACTERS = 2_000


class EngineProcess:
    """The process group of one engine: a guard and the command that it runs."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], descriptor: int = -1
    ) -> None:
        """Start the command in a new session.

        Args:
            command: Program and arguments.
            environment: Variables to add to this process's environment.
            descriptor: A file descriptor that the command inherits; -1 for none.
        """
        # Closing the file also deletes it.
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115
            prefix="reason-env-engine-", suffix=".log"
        )
        inherited = () if descriptor < 0 else (descriptor,)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", __file__, str(GRACE_S), str(descriptor), *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=inherited,
            start_new_session=True,
        )
        self._finalizer = weakref.finalize(self, _kill, self._guard, self._log)

    @property
    def group(self) -> int:
        """Process group and session of everything that the command started."""
        return self._guard.pid

    @property
    def is_alive(self) -> bool:
        """False once the command has ended."""
        return self._guard.poll() is None

    def log_tail(self) -> str:
        """Return the last characters that the command wrote; empty after `kill`."""
        if self._log.closed:
            return ""
        text = Path(self._log.name).read_text(encoding="utf-8", errors="replace")
        return text[-TAIL_CHARACTERS:].strip()

    def stop(self) -> None:
        """Ask the command to end, kill it if it does not, and return when no process is left."""
        assert self._guard.stdin is not None, "opened as a pipe"
        self._guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout=2 * GRACE_S)
        self.kill()

    def kill(self) -> None:
        """Kill everything that the command started."""
        self._finalizer()


def _kill(guard: "subprocess.Popen[bytes]", log: Any) -> None:
    # The guard kills its own group when it ends, so the group may be gone already.
    with suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()
    if guard.stdin is not None:
        guard.stdin.close()
    log.close()


def guard() -> None:
    """Run the command until it ends or the trainer does, then kill the process group."""
    grace_s, descriptor, command = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    inherited = () if descriptor < 0 else (descriptor,)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited)
    if descriptor >= 0:
        os.close(descriptor)

    def stop_with_the_trainer() -> None:
        while os.read(0, 1024):
            pass
        child.terminate()
        try:
            child.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=stop_with_the_trainer, daemon=True).start()
    status = child.wait()
    os.write(2, f"the engine's process ended with status {status}\n".encode())
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    guard()
