"""Messages between the trainer and the engine's process: JSON with a length, over one socket.

JSON and not pickle: what an engine's process sends is never run. Python writes floats so that they
read back exactly. Every wait has an end, also for a message that is too long to be written at once.
"""

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct(">Q")


class Channel:
    """One end of a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes the socket, which is the channel's from now on."""
        self.socket = sock

    def send(self, message: dict[str, Any], *, deadline: float | None = None) -> None:
        """Writes a message.

        Args:
            message: JSON values only.
            deadline: `time.monotonic()` at which to give up; None waits forever.

        Raises:
            TimeoutError: The other end does not read.
            ConnectionError: The other end is gone.
        """
        data = json.dumps(message).encode()
        self._wait_until(deadline)
        self.socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Returns the next message.

        Raises:
            TimeoutError: None came before the deadline.
            ConnectionError: The other end is gone.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        return json.loads(self._read(length, deadline))

    def close(self) -> None:
        """Closes this end; the other one then finds it gone."""
        self.socket.close()

    def _read(self, length: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < length:
            self._wait_until(deadline)
            part = self.socket.recv(min(length - len(data), 2**20))
            if not part:
                raise ConnectionResetError("the other end is closed")
            data += part
        return bytes(data)

    def _wait_until(self, deadline: float | None) -> None:
        if deadline is None:
            self.socket.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        self.socket.settimeout(left)
