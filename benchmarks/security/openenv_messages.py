# pyright: reportMissingImports=false
# OpenEnv is in the environment of `make test-interop` only.
"""Damages messages of OpenEnv's protocol, and counts answers that are none.

    python -m benchmarks.security.openenv_messages --inputs 100000

The whole server runs, without a network: the gate, FastAPI, OpenEnv and the environment. An input
is a message with some nodes of its JSON replaced, removed or exchanged, or with some bytes changed.
Each must get exactly one answer, an observation, a state or an error in one line that shows no
reference solution, and the session must go on: its state is asked for after every message, and must
be what it was if the message was refused. A `close` ends the session without an answer. Anything
else is a fault, printed with the seed that makes it again.
"""

import argparse
import asyncio
import collections
import json
import logging
import sys
import time
from typing import Any

from benchmarks.security.damage import Fault, Target, damaged
from reason_env import ByteCodec
from reason_env.agents.integrations.openenv import build_app
from reason_env.env import EnvConfig
from reason_env.serving import App, ServingConfig, Sessions

STATE = '{"type": "state"}'
WAIT_S = 20.0
"""Seconds in which an answer must come."""


class Socket:
    """One WebSocket of an ASGI application, in this process."""

    def __init__(self, app: App) -> None:
        """Open the socket."""
        self._to: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"",
            "root_path": "", "scheme": "ws", "headers": [(b"host", b"127.0.0.1")],
            "subprotocols": [], "extensions": {}, "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000), "asgi": {"version": "3.0"},
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self._to.get, self._put))

    async def _put(self, event: Any) -> None:
        self._from.put_nowait(event)

    async def ask(self, text: str) -> dict[str, Any] | None:
        """Send a message; returns the next event, None if the application has ended."""
        self._to.put_nowait({"type": "websocket.receive", "text": text})
        return await self.next()

    async def next(self) -> dict[str, Any] | None:
        """Wait for the next event, or for the end of the application."""
        event = asyncio.ensure_future(self._from.get())
        await asyncio.wait({event, self.task}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if event.done():
            return event.result()
        event.cancel()
        if not self.task.done():
            raise TimeoutError("no answer")
        self.task.result()
        return None

    async def close(self) -> None:
        """Leave, as a client does, and wait for the application."""
        self._to.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, WAIT_S)

    @property
    def has_more(self) -> bool:
        """Whether an event came that nobody asked for."""
        return not self._from.empty()


def messages(sessions: Sessions) -> tuple[str, ...]:
    """Whole messages of every kind."""
    session = sessions()
    session.reset({"problem": "chain/test/1", "prefix": "a\n", "hint": "answer"})
    saved = session.state()
    resets: tuple[dict[str, Any], ...] = (
        {"seed": 3, "episode_id": "a"},
        {"problem": "chain/test/2", "reference_steps": 1, "hint": "next_step"},
        {"split": "test", "index": 2, "hint": {"kind": "partial_solution", "strength": 0.5}},
        {"state": saved["reason_state"], "hint": {"kind": "mistakes", "pieces": ["1", "2"]}},
        {"state": json.dumps(session.inner.state.to_dict()), "prefix": "b\n"},
        {"snapshot": saved["snapshot"]},
    )
    actions: tuple[dict[str, Any], ...] = (
        {"text": "B:8*4 y=2\n"},
        {"text": "#### 1\n", "token_ids": None, "metadata": {"a": 1}},
        {"text": None, "token_ids": [65, 10]},
    )
    return (
        *(json.dumps({"type": "reset", "data": data}) for data in resets),
        *(json.dumps({"type": "step", "data": data}) for data in actions),
        STATE,
    )


def fuzz_server(*, inputs: int, seed: int) -> tuple[dict[str, int], list[Fault]]:
    """Send damaged messages to a server.

    Returns:
        Type of answer -> number of answers, and the faults.
    """
    sessions = Sessions(EnvConfig(problems="chain", split="test", size=5), ByteCodec())
    app = build_app(sessions, ServingConfig())
    target = Target("openenv", messages(sessions), json.loads)
    solutions = tuple(problem.solution[0] for problem in sessions.problems)
    return asyncio.run(_send_all(app, target, solutions, inputs, seed))


async def _send_all(
    app: App, target: Target, solutions: tuple[str, ...], inputs: int, seed: int
) -> tuple[dict[str, int], list[Fault]]:
    counts: collections.Counter[str] = collections.Counter()
    faults: list[Fault] = []
    socket: Socket | None = None
    for own in range(seed, seed + inputs):
        if socket is None:
            socket = Socket(app)
            opened = await socket.next()
            assert opened is not None, "the server must accept a connection"
            assert opened["type"] == "websocket.accept", opened
            await socket.ask(json.dumps({"type": "reset", "data": {"problem": "chain/test/0"}}))
        text = damaged(target, own)
        kind, error = await _answer(socket, text, solutions)
        counts[kind] += 1
        if error:
            faults.append(Fault(target.name, own, text, error))
        if kind in ("closed", "fault"):
            socket = None
        elif own % 50 == 0:
            await socket.close()
            socket = None
    if socket is not None:
        await socket.close()
    return dict(counts), faults


async def _answer(socket: Socket, text: str, solutions: tuple[str, ...]) -> tuple[str, str]:
    """The type of the answer to a message, and what is wrong with it."""
    before = await _state(socket)
    event = await socket.ask(text)
    if event is None or event["type"] == "websocket.close":
        return ("closed", "") if _is_close(text) else ("fault", "the session ended")
    answer = json.loads(event["text"])
    kind = str(answer["type"])
    if socket.has_more:
        return "fault", "two answers"
    after = await _state(socket)
    if kind != "error":
        return kind, ""
    message = str(answer["data"]["message"])
    checks = {
        "several lines": "\n" in message,
        "refused, but the state is another": after["reason_state"] != before["reason_state"],
        "shows a reference solution": any(
            step in message and step not in text for step in solutions
        ),
    }
    wrong = [f"{what}: {message}" for what, is_so in checks.items() if is_so]
    return kind, "; ".join(wrong)


async def _state(socket: Socket) -> dict[str, Any]:
    event = await socket.ask(STATE)
    assert event is not None, "the session has ended"
    answer = json.loads(event["text"])
    assert answer["type"] == "state", answer
    return answer["data"]


def _is_close(text: str) -> bool:
    try:
        return json.loads(text) == {"type": "close"}
    except ValueError:
        return False


def main() -> None:
    """Print the number of each answer, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    counts, faults = fuzz_server(inputs=given.inputs, seed=given.seed)
    for kind, count in sorted(counts.items()):
        print(f"{kind:<12} {count:>9,}")
    print(f"{given.inputs:,} messages in {time.monotonic() - began:.0f} s, {len(faults)} faults")
    for fault in faults[:20]:
        print(f"seed {fault.seed}: {fault.error[:300]}\n    {fault.text[:300]!r}")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
