"""EngineProcess: a command that lives as long as the trainer wants it to, and never longer."""

import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

GUARD = Path(__file__).with_name("guard.py")
GRACE_S = 10.0
"""Seconds that a command has to end by itself when it is asked to."""
TAIL_CHARACTERS = 2_000


class EngineProcess:
    """One engine's process group, below its guard."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], descriptor: int = -1
    ) -> None:
        """Starts the command in a session of its own.

        Args:
            command: Program and arguments.
            environment: Added to this process's.
            descriptor: A file descriptor that the command inherits; -1 for none.
        """
        # Closed, and so removed, with the process.
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115
            prefix="reason-env-engine-", suffix=".log"
        )
        inherited = () if descriptor < 0 else (descriptor,)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(GUARD), str(GRACE_S), str(descriptor), *command],
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
        """Returns the last lines that the command wrote; nothing after `kill`."""
        if self._log.closed:
            return ""
        text = Path(self._log.name).read_text(encoding="utf-8", errors="replace")
        return text[-TAIL_CHARACTERS:].strip()

    def stop(self) -> None:
        """Asks the command to end, and kills it if it does not; returns when nothing is left."""
        assert self._guard.stdin is not None, "opened as a pipe"
        self._guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout=2 * GRACE_S)
        self.kill()

    def kill(self) -> None:
        """Kills everything that the command started."""
        self._finalizer()


def _kill(guard: "subprocess.Popen[bytes]", log: Any) -> None:
    # A group without a process left is what is wanted: the guard kills its own as its last act.
    with suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()
    if guard.stdin is not None:
        guard.stdin.close()
    log.close()
