"""Refuses and records every connection of Python that leaves this machine.

`tests/conftest.py` loads it; child processes import it as they start, because its folder is on
their path. There it runs the environment's own sitecustomize too, which it hides. Sockets that
libraries open in C++ are not seen.
"""

import ipaddress
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

RECORD = "REASON_ENV_NETWORK_RECORD"
"""Environment variable: the file that attempts are appended to."""
_EVENTS = {
    "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0, "socket.gethostbyaddr": 0,
}  # fmt: skip
"""Audit event -> which of its arguments is the address."""


def is_here(address: object) -> bool:
    """Decide whether an address, or the host of one, is this machine."""
    host = address[0] if isinstance(address, tuple) and address else address
    if host is None or not isinstance(address, tuple | str | bytes):
        return host is None
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    # A path is a socket of this machine; an integer is a netlink address.
    if not isinstance(host, str) or host in ("", "localhost") or host.startswith(("/", "\0")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: raise for an address elsewhere."""
    at = _EVENTS.get(event)
    if at is None or is_here(arguments[at]):
        return
    line = f"{event} {arguments[at]!r}"
    if RECORD in os.environ:
        with open(os.environ[RECORD], "a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    raise PermissionError(f"tests use no network, got {line}")


def run_hidden() -> None:
    """Run the sitecustomize that Python would have imported without this one, if there is one."""
    own = os.path.dirname(os.path.realpath(__file__))
    spec = PathFinder.find_spec(
        "sitecustomize", [place for place in sys.path if os.path.realpath(place) != own]
    )
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


sys.addaudithook(refuse)
if __name__ == "sitecustomize":
    run_hidden()
