import asyncio
import json
import time

import pytest

from reason_env.serving import Gate, ServingConfig, fault_of_message

TOKEN = "0123456789abcdef"
DEEP = '{"a":' * 64 + "[]" + "}" * 64
LOCAL = [(b"host", b"127.0.0.1:8000")]


class Echo:
    """An ASGI application that returns what reaches it, and counts its connections."""

    def __init__(self):
        self.reached = []

    async def __call__(self, scope, receive, send):
        self.reached.append(scope["path"])
        if scope["type"] == "http":
            event = await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": event["body"]})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        self.reached.append(event["code"])


def run(gate, scope, events, *, pause=0.0):
    """Send events through a gate; returns what comes back."""
    sent = []

    async def serve():
        waiting = list(events)

        async def receive():
            if waiting:
                return waiting.pop(0)
            await asyncio.sleep(pause)
            return {"type": f"{scope['type']}.disconnect", "code": 1005}

        async def send(event):
            sent.append(event)

        await gate(scope, receive, send)

    asyncio.run(serve())
    return sent


def gate_of(tmp_path=None, **fields):
    if tmp_path is not None:
        (tmp_path / "token").write_text(TOKEN)
        fields["token_file"] = tmp_path / "token"
    app = Echo()
    return app, Gate(app, ServingConfig(**fields), sockets={"/ws": frozenset({"say", "state"})})


def http(headers=LOCAL, path="/reset"):
    return {"type": "http", "path": path, "headers": headers}


def socket(headers=LOCAL, path="/ws"):
    return {"type": "websocket", "path": path, "headers": headers}


def body(*parts):
    more = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    more[-1]["more_body"] = False
    return more


def texts(*messages):
    events = [{"type": "websocket.receive", "text": text} for text in messages]
    return [{"type": "websocket.connect"}, *events]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (LOCAL, 200),
        ([(b"host", b"localhost")], 200),
        ([(b"host", b"[::1]:80")], 200),
        ([*LOCAL, (b"origin", b"http://localhost:3000")], 200),
        ([(b"host", b"evil.example:8000")], 403),
        ([(b"host", b"127.0.0.1.evil.example")], 403),
        ([(b"host", b"[::1")], 403),
        ([], 403),
        ([*LOCAL, (b"origin", b"https://evil.example")], 403),
        ([*LOCAL, (b"origin", b"null")], 403),
    ],
)
def test_without_a_token_only_this_machine_and_no_web_page_is_served(headers, status):
    app, gate = gate_of()
    assert run(gate, http(headers), body(b"{}"))[0]["status"] == status
    opened = run(gate, socket(headers), texts('{"type": "say"}'))
    assert (opened[0]["type"] == "websocket.accept") == (status == 200)
    assert bool(app.reached) == (status == 200)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (f"Bearer {TOKEN}0", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer \xff", 401),
        ("", 401),
    ],
)
def test_with_a_token_every_request_carries_it(tmp_path, given, status):
    app, gate = gate_of(tmp_path, host="0.0.0.0")
    headers = [(b"host", b"evil.example"), (b"authorization", given.encode("latin-1"))]
    sent = run(gate, http(headers), body(b"{}"))
    assert sent[0]["status"] == status
    assert (b"www-authenticate" in dict(sent[0]["headers"])) == (status == 401)
    opened = run(gate, socket(headers), texts('{"type": "say"}'))
    assert (opened[0]["type"] == "websocket.accept") == (status == 200)
    assert bool(app.reached) == (status == 200)
    assert run(gate, http([], "/health"), body(b""))[0]["status"] == 200


def test_a_refused_socket_never_opens(tmp_path):
    app, gate = gate_of(tmp_path)
    (sent,) = run(gate, socket(), texts('{"type": "say"}'))
    assert (sent["type"], sent["code"]) == ("websocket.close", 1008)
    assert "Authorization: Bearer TOKEN" in sent["reason"]
    assert app.reached == []


def test_only_the_sockets_that_are_named_open():
    app, gate = gate_of()
    assert run(gate, socket(path="/mcp"), texts())[0]["type"] == "websocket.close"
    assert app.reached == []


def test_a_body_arrives_as_it_was_sent_and_a_large_one_does_not():
    app, gate = gate_of(max_message_bytes=1024)
    whole = b'{"a": "' + b"x" * 1015 + b'"}'
    assert len(whole) == 1024
    assert run(gate, http(), body(whole[:500], whole[500:]))[1]["body"] == whole
    sent = run(gate, http(), body(whole[:500], whole[500:], b" "))
    assert sent[0]["status"] == 413
    assert "at most 1024 bytes" in json.loads(sent[1]["body"])["detail"]
    assert app.reached == ["/reset"]


def test_a_body_that_is_no_object_is_refused():
    app, gate = gate_of()
    sent = run(gate, http(), body(b"[1]"))
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"]) == {"detail": "a message must be a JSON object, got [1]"}
    assert app.reached == []


def test_a_session_goes_on_after_messages_that_are_refused():
    _, gate = gate_of(max_message_bytes=1024)
    good = ('{"type": "state"}', '{"type": "say", "a": "\\ud83d\\ude00"}')
    bad = ("{", "[1]", "7", '{"a": NaN}', '{"a": "\\ud800"}', DEEP, '"' + "x" * 1024 + '"')
    bad += ("{}", '{"type": "stop"}', '{"type": ["say"]}')
    sent = run(gate, socket(), texts(good[0], *bad, good[1]))
    answers = [event["text"] for event in sent[1:]]
    assert (answers[0], answers[-1]) == good
    refused = [json.loads(answer) for answer in answers[1:-1]]
    assert len(refused) == len(bad)
    assert {(one["type"], one["data"]["code"]) for one in refused} == {
        ("error", "VALIDATION_ERROR")
    }
    assert "levels of brackets" in refused[5]["data"]["message"]
    assert "1024 bytes" in refused[6]["data"]["message"]
    assert refused[8]["data"]["message"].endswith("must be one of say, state, got 'stop'")


def test_bytes_are_no_message():
    _, gate = gate_of()
    event = {"type": "websocket.receive", "bytes": b"{}"}
    sent = run(gate, socket(), [{"type": "websocket.connect"}, event])
    assert "must be text, got bytes" in sent[1]["text"]


def test_an_idle_session_ends():
    app, gate = gate_of(idle_s=0.05)
    sent = run(gate, socket(), texts('{"type": "say"}'), pause=5.0)
    assert sent[-1] == {"type": "websocket.close", "code": 1001, "reason": "idle"}
    assert app.reached == ["/ws", 1001]
    assert run(gate, http(), [], pause=5.0)[0]["status"] == 408


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"a": "[[[[" }', None),
        (b'{"a": "\\"' + b"[" * 100 + b'"}', None),
        (b'{"a":' * 63 + b"[]" + b"}" * 63, None),
        (DEEP.encode(), "at most 64 levels of brackets, got more"),
        (b'{"a":' + b"[" * 100_000, "at most 64 levels of brackets, got more"),
        (b'{"a": ' + b"[]," * 100, "must be JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "must be JSON"),
        (b"\xff", "must be text in UTF-8"),
        (b'{"a": Infinity}', "Infinity is no number"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'{"\\\\ud800": 1}', None),
    ],
)
def test_the_fault_of_a_message(raw, fault):
    found = fault_of_message(raw)
    assert found is None if fault is None else fault in str(found)


@pytest.mark.parametrize(
    "raw", [b'{"a":[' + b"[]," * 150_000, b"[" * 500_000, b'{"a": "' + b"\\" * 500_000]
)
def test_a_hostile_message_takes_time_in_proportion_to_its_length(raw):
    began = time.process_time()
    assert fault_of_message(raw) is not None
    # Quadratic work on half a million letters would take minutes.
    assert time.process_time() - began < 5.0
