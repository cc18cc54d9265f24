"""A checkpoint whose files are written beside the next iteration.

The model is saved and the learner's state is copied when the iteration ends. What takes longest
follows in a thread: writing the optimizer's tensors, the hashes of all files, and waiting for the
disk. Until the thread renames the directory, readers see the older checkpoints alone.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class CheckpointWriter:
    """Writes one checkpoint at a time; leaving its block waits for the last one."""

    def __init__(self) -> None:
        """Begin without a checkpoint."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        finally:
            self._executor.shutdown()

    def begin(self, write: Callable[[], None]) -> None:
        """Begin to write, once nothing else is being written."""
        self.wait()
        self._pending = self._executor.submit(write)

    def wait(self) -> None:
        """Return once nothing is being written; raise what the writing raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
