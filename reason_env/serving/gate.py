"""Gate: an ASGI application in front of another one, which lets through what may come.

Every message is checked before the server behind sees it: the token (or, without one, that the
request comes from this machine and from no web page), its size, that it is JSON of moderate depth,
and that it comes before the session is idle for too long. What is refused gets one line; a session
goes on after a refused message.

Web pages can send requests to 127.0.0.1, and a name of theirs can be made to mean that address;
browsers name the page in `Origin` and the name in `Host`, so both must be of this machine.

Not covered: encryption (put a reverse proxy with TLS in front), and how many requests a second.
"""

import asyncio
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, cast
from urllib.parse import urlsplit

from reason_env.errors import shown
from reason_env.serving.config import ServingConfig, is_loopback

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
OPEN_PATHS = frozenset({"/health"})
"""What is served without a token: a supervisor asks whether the server lives."""
MAX_DEPTH = 64
"""Levels of brackets in a message."""
_TOO_DEEP = f"a message must have at most {MAX_DEPTH} levels of brackets, got more"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class Gate:
    """Guards an ASGI application."""

    def __init__(
        self, app: App, config: ServingConfig, *, sockets: Mapping[str, frozenset[str]]
    ) -> None:
        """Guard `app`.

        Args:
            app: What is served.
            config: Who may use it, and the limits.
            sockets: Path of each WebSocket that is let through -> the types of its messages.

        Raises:
            ConfigError: The token cannot be read.
        """
        self._app, self._config, self._sockets = app, config, sockets
        self._token = config.token()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["path"] in OPEN_PATHS else self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        body = bytearray()
        while True:
            try:
                event = await asyncio.wait_for(receive(), self._config.idle_s)
            except TimeoutError:
                await _answer(send, 408, f"a request must come within {self._config.idle_s:g} s")
                return
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            if len(body) > self._config.max_message_bytes:
                await _answer(send, 413, self._too_large())
                return
            if not event.get("more_body", False):
                break
        if body and (fault := fault_of_message(bytes(body))) is not None:
            await _answer(send, 400, fault)
            return
        await self._app(scope, _replayed(bytes(body), receive), send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None and scope["path"] not in self._sockets:
            refusal = (403, f"no WebSocket at {shown(scope['path'])}")
        if refusal is not None:
            # Before it opens: the server answers with status 403.
            _log.info("refused: %d %s", *refusal)
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
            return

        types = self._sockets[scope["path"]]

        async def checked() -> Event:
            while True:
                try:
                    event = await asyncio.wait_for(receive(), self._config.idle_s)
                except TimeoutError:
                    # The application ends the session as if the client had gone.
                    await send({"type": "websocket.close", "code": 1001, "reason": "idle"})
                    return {"type": "websocket.disconnect", "code": 1001}
                if event["type"] != "websocket.receive":
                    return event
                fault = self._fault_of_event(event, types)
                if fault is None:
                    return event
                data = {"message": fault, "code": "VALIDATION_ERROR"}
                text = json.dumps({"type": "error", "data": data})
                await send({"type": "websocket.send", "text": text})

        await self._app(scope, checked, send)

    def _fault_of_event(self, event: Event, types: frozenset[str]) -> str | None:
        text = event.get("text")
        if text is None:
            return "a message must be text, got bytes"
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) > self._config.max_message_bytes:
            return self._too_large()
        return fault_of_message(raw, types)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason if the request must not be served."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._token is not None:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            same = hmac.compare_digest(given.strip(), self._token.encode("ascii"))
            if kind.lower() == b"bearer" and same:
                return None
            return 401, "a request must carry the header 'Authorization: Bearer TOKEN'"
        host = _host_of(b"//" + headers.get(b"host", b""))
        if not is_loopback(host):
            return 403, "without a token a request must name 127.0.0.1 or localhost as its host"
        if b"origin" in headers and not is_loopback(_host_of(headers[b"origin"])):
            return 403, "without a token a request must come from no web page"
        return None

    def _too_large(self) -> str:
        return f"a message must have at most {self._config.max_message_bytes} bytes"


def fault_of_message(raw: bytes, types: frozenset[str] | None = None) -> str | None:
    r"""What is wrong with the bytes of a message; None if they are a JSON object.

    Args:
        raw: The message.
        types: What its field "type" may be; None for a message that needs none.

    >>> [fault_of_message(raw) for raw in (b'{"a": [1]}', b"[1]", b'{"a": NaN}')]
    [None, 'a message must be a JSON object, got [1]', 'a message must be JSON: NaN is no number']
    >>> fault_of_message(b'{"type": "stop"}', frozenset({"step", "reset"}))
    "the type of a message must be one of reset, step, got 'stop'"
    >>> fault_of_message(rb'{"a": "\ud800"}')
    'a message must be text in UTF-8, got half of a surrogate pair'
    """
    try:
        text = raw.decode("utf-8")
        value: object = json.loads(text, parse_constant=_no_number)
    except UnicodeDecodeError:
        return "a message must be text in UTF-8"
    except ValueError as error:
        return f"a message must be JSON: {error}"
    except RecursionError:
        return _TOO_DEEP
    if not isinstance(value, dict):
        return f"a message must be a JSON object, got {shown(value)}"
    return _fault_of_fields(cast("dict[str, object]", value), text, types)


def _fault_of_fields(
    fields: dict[str, object], text: str, types: frozenset[str] | None
) -> str | None:
    if _is_deep(fields, MAX_DEPTH):
        return _TOO_DEEP
    if _HALF.search(text) is not None and not _is_text(fields):
        return "a message must be text in UTF-8, got half of a surrogate pair"
    # A list compares with anything; what is asked for in a set must have a hash.
    if types is not None and fields.get("type") not in sorted(types):
        return (
            f"the type of a message must be one of {', '.join(sorted(types))}, got "
            f"{shown(fields.get('type'))}"
        )
    return None


def _is_text(value: object) -> bool:
    """Whether a value can be written in UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_deep(value: object, room: int) -> bool:
    """Whether a JSON value has more levels than there is room for."""
    if isinstance(value, dict):
        inner = list(cast("dict[str, object]", value).values())
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    else:
        return False
    return room == 0 or any(_is_deep(item, room - 1) for item in inner)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _host_of(url: bytes) -> str:
    """The host of an address, in lower case and without its port; empty if there is none."""
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read, and then what comes after it."""
    is_read = False

    async def again() -> Event:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode("utf-8")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    _log.info("refused: %d %s", status, reason)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
