"""The scalars of a run as TensorBoard reads them.

Each iteration is one append to one file, without the thread of TensorBoard's own writer: when the
disk is full, that thread dies, and the run waits for it without end.
"""

import io
import os
import platform
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from reason_env.agents.metrics import Number
from reason_env.agents.runs.files import append

PREFIX = "events.out.tfevents."
VERSION = "brain.Event:2"


class ScalarFile:
    """One file of events; created by the first iteration."""

    def __init__(self, folder: Path, *, purge_step: int | None) -> None:
        """Name the file.

        Args:
            folder: Created if absent.
            purge_step: TensorBoard drops what other files hold from this iteration on, which a
                killed run wrote after its last checkpoint; None drops nothing.
        """
        # TensorBoard reads the files in the order of their names: seconds, unless the clock stood
        # still or was set back.
        earlier = [int(path.name.split(".")[3]) for path in folder.glob(f"{PREFIX}*")]
        number = max(int(time.time()), *(one + 1 for one in earlier), 0)
        self.path = folder / f"{PREFIX}{number:010d}.{platform.node()}.{os.getpid()}"
        self._purge_step = purge_step

    def write(self, iteration: int, values: Mapping[str, Number]) -> None:
        """Append the numbers of an iteration; None is left out."""
        # Loaded late, because `import reason_env.agents.runs` needs no TensorBoard.
        # Its modules are generated without types.
        event_pb2: Any = import_module("tensorboard.compat.proto.event_pb2")
        summary: Any = import_module("tensorboard.compat.proto.summary_pb2").Summary

        begin: list[Any] = []
        if not self.path.exists():
            begin.append(event_pb2.Event(wall_time=time.time(), file_version=VERSION))
            if self._purge_step is not None:
                log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                begin.append(
                    event_pb2.Event(wall_time=time.time(), step=self._purge_step, session_log=log)
                )
        numbers = [
            summary.Value(tag=name, simple_value=float(value))
            for name, value in values.items()
            if value is not None
        ]
        event = event_pb2.Event(
            wall_time=time.time(), step=iteration, summary=summary(value=numbers)
        )
        self.path.parent.mkdir(exist_ok=True)
        append(self.path, b"".join(map(_record, [*begin, event])))


def _record(event: Any) -> bytes:
    """Frame an event: its length and bytes, each followed by a checksum."""
    framed = io.BytesIO()
    import_module("tensorboard.summary.writer.record_writer").RecordWriter(framed).write(
        event.SerializeToString()
    )
    return framed.getvalue()
