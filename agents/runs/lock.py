"""A lock that the kernel takes back when its holder ends, however it ends: no crash leaves it.

The lock (flock) belongs to the open file, so a child that inherits the handle holds it too. The
file stays when the lock is given back, and names the process that had it. A file system without
locks is said once, as a warning.

Not covered: systems other than POSIX, where nothing is locked; file systems of a network that keep
locks on each machine alone.
"""

import errno
import logging
import os
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from reason_env.agents.runs.files import naming

_log = logging.getLogger(__name__)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Lock:
    """The lock on one file, held until it is closed or collected."""

    def __init__(self, path: Path) -> None:
        """Take the lock; creates the file.

        Raises:
            BlockingIOError: Another process, or another object of this one, holds it.
            OSError: The system refuses the file or the lock.
        """
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.close = weakref.finalize(self, os.close, self._handle)
        """Gives the lock back."""
        try:
            with naming(path):
                _lock(self._handle, path)
                # Only the holder may change what the file says.
                os.truncate(self._handle, 0)
                os.write(self._handle, b"%d\n" % os.getpid())
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The handle, for a child that is to hold the lock too."""
        return self._handle

    @property
    def is_in_place(self) -> bool:
        """False once the file, or a folder above it, was removed, moved or replaced."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._handle))
        except (FileNotFoundError, NotADirectoryError):
            return False


@contextmanager
def locked(path: Path) -> Generator[int | None, None, None]:
    """Lock a file and yield its handle; yield None if another process holds the lock."""
    try:
        lock = Lock(path)
    except BlockingIOError:
        yield None
        return
    try:
        yield lock.fileno()
    finally:
        lock.close()


def holder(path: Path) -> str:
    """Say which process holds a lock, for messages."""
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return f"process {text}" if text.isdecimal() else "another process"


def _lock(handle: int, path: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _log.warning(
            "the file system of '%s' has no locks (%s): a second run there would not be noticed",
            path,
            error.strerror,
        )
