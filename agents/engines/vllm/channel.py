"""Channel: length-prefixed JSON messages between the trainer and the engine's process.

JSON, not pickle, so that the trainer never executes what the engine's process sends. Python's JSON
floats read back exactly. Sending and receiving both honour the deadline, also for a message that is
too long for the socket's buffer.
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
        """Take ownership of the socket."""
        self.socket = sock

    def send(self, message: dict[str, Any], *, deadline: float | None = None) -> None:
        """Send a message.

        Args:
            message: JSON values only.
            deadline: `time.monotonic()` at which to give up; None waits forever.

        Raises:
            TimeoutError: The other end did not read the message before the deadline.
            ConnectionError: The other end is closed.
        """
        data = json.dumps(message).encode()
        self._wait_until(deadline)
        self.socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Receive the next message.

        Raises:
            TimeoutError: No message arrived before the deadline.
            ConnectionError: The other end is closed.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        return json.loads(self._read(length, deadline))

    def close(self) -> None:
        """Close this end; the other end then raises ConnectionError."""
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
            raise TimeoutError("the deadline has passed")
        self.socket.settimeout(left)
