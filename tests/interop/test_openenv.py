"""OpenEnv's own server, client and validator around the environment, in a process of its own."""

import asyncio
import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from reason_env import ByteCodec
from reason_env.env import EnvConfig
from reason_env.problems import load_problems
from reason_env.serving import ServingConfig, Sessions

pytestmark = [
    pytest.mark.interop,
    # Of fastapi, starlette and gradio, whose code this is not.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic"),
]
TOKEN = "0123456789abcdef0123456789abcdef"
FLAGS = ("--problems", "chain", "--split", "test", "--size", "200", "--port", "0")
PROBLEMS = load_problems("chain", split="test", size=200)


@contextlib.contextmanager
def server(*flags):
    """Run `reason-env serve`; gives its address and its process."""
    # What a shell runs in the background ignores interrupts, and children inherit that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from reason_env.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *FLAGS, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+): 200 problems of chain", line)
        assert found is not None, (line, process.stderr.read() if process.stderr else "")
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url():
    with server() as (address, _):
        yield address


@pytest.fixture(scope="module")
def openenv():
    return importlib.import_module("reason_env.agents.integrations.openenv")


def post(url, path, message, headers=()):
    """Returns status and JSON of a request."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    request = urllib.request.Request(
        url + path, body, {"Content-Type": "application/json", **dict(headers)}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def reference_of(problem):
    return [*(f"{step}\n" for step in problem.solution), f"#### {problem.answer}\n"]


def test_openenv_s_validator_passes(url):
    command = importlib.import_module("openenv.cli.__main__").app
    runner = importlib.import_module("typer.testing").CliRunner()
    done = runner.invoke(command, ["validate", "--url", url, "--json"])
    report = json.loads(done.stdout)
    assert {one["id"]: one["passed"] for one in report["criteria"]} == {
        "openapi_version_available": True,
        "health_endpoint": True,
        "metadata_endpoint": True,
        "schema_endpoint": True,
        "mcp_endpoint": True,
        "mode_endpoint_consistency": True,
    }
    assert done.exit_code == 0


def test_an_episode_over_the_wire_equals_one_here(url, openenv):
    env = EnvConfig(problems="chain", split="test", size=200).make(
        ByteCodec(), granularity="step", format="text"
    )
    obs, info = env.reset(seed=7)
    with openenv.ReasonClient(url).sync() as client:
        found = client.reset(seed=7)
        for action in (*reference_of(env.unwrapped.state.problem)[:-1], "#### 1\n"):
            assert (found.observation.text, found.observation.info) == (obs, info)
            obs, reward, terminated, truncated, info = env.step(action)
            found = client.step(action)
            seen = found.observation
            assert (found.reward, seen.terminated, seen.truncated) == (
                reward,
                terminated,
                truncated,
            )
            assert found.done == (terminated or truncated)
        assert found.observation.info == info
        assert found.done
        assert client.state().step_count == env.unwrapped.state.num_steps


def test_a_fork_over_the_wire_continues_exactly(url, openenv):
    async def play():
        async with openenv.ReasonClient(url) as first:
            await first.reset(problem="chain/test/5", reference_steps=1, hint="answer")
            await first.step("x\n")
            state = await first.state()
            second = await first.new_session()
            began = await second.reset(snapshot=state.snapshot, episode_id="fork")
            after = [(await one.step("y\n"), await one.reset()) for one in (first, second)]
            third = await first.new_session()
            moved = await third.reset(state=state.reason_state)
            return began, after, moved, await second.state()

    began, (one, other), moved, state = asyncio.run(play())
    assert began.observation.text.endswith("x\n")
    assert moved.observation == began.observation
    assert began.observation.info["privileged_context"]
    assert one == other
    assert state.episode_id is None
    assert state.step_count == 0


def test_200_sessions_at_once_lose_and_mix_nothing(url, openenv):
    """Every session plays another problem, some right and some wrong, all at the same time."""

    async def play(number, begin):
        problem = PROBLEMS[number]
        actions = reference_of(problem)
        if number % 3 == 0:
            actions[-1] = f"#### {number}\n"
        async with openenv.ReasonClient(url, message_timeout_s=120.0) as client:
            await begin.wait()
            found = await client.reset(problem=problem.problem_id, episode_id=f"e{number}")
            for action in actions:
                assert not found.done
                found = await client.step(action)
            state = await client.state()
        return found, "".join(actions), state

    async def play_all():
        begin = asyncio.Barrier(200)
        return await asyncio.gather(*(play(number, begin) for number in range(200)))

    for number, (found, response, state) in enumerate(asyncio.run(play_all())):
        assert found.observation.text.endswith(f">{response}")
        assert found.observation.info["problem_id"] == PROBLEMS[number].problem_id
        is_right = number % 3 != 0 or PROBLEMS[number].answer == str(number)
        assert (found.done, found.reward) == (True, 1.0 if is_right else 0.0)
        assert state.episode_id == f"e{number}"
        assert bytes(state.reason_state["response"]).decode() == response


def test_a_refused_message_leaves_the_session_as_it_is(url, openenv):
    with openenv.ReasonClient(url).sync() as client:
        client.reset(seed=1)
        client.step("x\n")
        before = client.state()
        for arguments, words in (
            ({"problm": "x"}, "did you mean 'problem'"),
            ({"func": 1}, "reset has no argument 'func'"),
            ({"snapshot": "{}"}, "snapshot must be the text that snapshot"),
        ):
            with pytest.raises(RuntimeError, match=words):
                client.reset(**arguments)
        with pytest.raises(RuntimeError, match="either text or token_ids, got both or none"):
            client.step(openenv.ReasonAction())
        with pytest.raises(RuntimeError, match="an action must be a text"):
            client.step([1, 2])
        with pytest.raises(RuntimeError, match="half of a surrogate pair"):
            client.step("\ud800")
        assert client.state() == before


def test_requests_over_http_get_one_line(url):
    status, seen = post(url, "/reset", {"problem": "chain/test/3", "prefix": "a\n"})
    assert status == 200
    assert seen["observation"]["text"].endswith(">a\n")
    assert post(url, "/reset", {"func": 1}) == (
        422,
        {"detail": "reset has no argument 'func'; choose one of episode_id, hint, index, prefix, "
         "problem, reference_steps, seed, snapshot, split, state"},
    )  # fmt: skip
    status, answer = post(url, "/step", {"action": {"text": "x"}})
    assert status == 422
    assert "connect to /ws" in answer["detail"]
    assert post(url, "/reset", b"{")[0] == 400
    assert post(url, "/reason_env/num_tasks", {"split": "test"}) == (200, {"num_tasks": 200})
    task = {"id": "chain/test/3", "index": 3, "level": PROBLEMS[3].level}
    assert post(url, "/reason_env/task", {"split": "test", "index": 3}) == (200, {"task": task})
    status, found = post(url, "/reason_env/task_range", {"split": "test", "start": 3, "stop": 5})
    assert [one["index"] for one in found["tasks"]] == [3, 4]
    assert post(url, "/reason_env/num_tasks", {"split": "train"})[0] == 404
    assert post(url, "/reset", {}, {"Host": "evil.example"})[0] == 403


def test_a_token_and_the_limits_are_kept_and_an_interrupt_ends_the_server(openenv, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    headers = openenv.bearer(TOKEN)
    limits = ("--max-sessions", "2", "--max-message-bytes", "2000")
    with server(*limits, "--token-file", str(tmp_path / "token")) as (url, process):
        assert post(url, "/reset", {})[0] == 401
        assert post(url, "/reset", {}, headers)[0] == 200
        with pytest.raises(ConnectionError, match="403"):
            openenv.ReasonClient(url).sync().connect()
        first = openenv.ReasonClient(url, headers=headers).sync()
        first.reset(seed=1)
        second = first.new_session()
        second.reset(seed=2)
        with pytest.raises(RuntimeError, match="CAPACITY_REACHED"):
            first.new_session().reset(seed=3)
        assert post(url, "/reset", {"prefix": "x" * 2000}, headers)[0] == 413
        with pytest.raises(Exception, match="1009"):
            second.step("x" * 2000)
        assert first.step("x\n").observation.text.endswith("x\n")
        first.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert process.stderr.read().splitlines() == ["reason-env: interrupted"]


def when_there_is_room(call):
    """Repeat a call that is refused while other sessions take the room."""
    closed = importlib.import_module("websockets").ConnectionClosedOK
    end = time.monotonic() + 60.0
    while True:
        try:
            return call()
        except (RuntimeError, closed) as error:
            # A refusal ends its connection, and the next call may meet the end instead.
            is_refused = "CAPACITY_REACHED" in str(error) or isinstance(error, closed)
            if not is_refused or time.monotonic() > end:
                raise
        time.sleep(0.1)


def test_idle_sessions_end_and_make_room(openenv):
    with server("--max-sessions", "1", "--idle-s", "2") as (url, _):
        first, second = (openenv.ReasonClient(url).sync() for _ in range(2))
        # A session that no socket holds.
        message = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"}
        assert post(url, "/mcp", message)[1]["result"]["session_id"]
        with pytest.raises(RuntimeError, match="CAPACITY_REACHED"):
            first.reset(seed=1)
        when_there_is_room(lambda: first.reset(seed=1))
        when_there_is_room(lambda: second.reset(seed=2))
        second.close()
        # A client connects again by itself, to a session without an episode.
        with pytest.raises(RuntimeError, match="an episode must begin by reset"):
            when_there_is_room(lambda: first.step("x\n"))
        first.close()


def test_a_port_in_use_is_refused_in_one_line(url, openenv):
    sessions = Sessions(EnvConfig(problems="chain", size=2), ByteCodec())
    port = int(url.rpartition(":")[2])
    with pytest.raises(ValueError, match="host and port must be free and of this machine"):
        openenv.serve(sessions, ServingConfig(port=port), ready=print)


def test_damaged_messages_get_one_answer_each_and_sessions_go_on(openenv):
    messages = importlib.import_module("benchmarks.security.openenv_messages")
    counts, faults = messages.fuzz_server(inputs=1500, seed=3)
    assert faults == []
    assert counts["observation"] > 60
    assert counts["error"] > 100
    assert counts["state"] > 5


def test_the_example_of_the_page_runs(url, capsys):
    page = Path(__file__).parents[2] / "docs" / "openenv.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert "http://127.0.0.1:8000" in code
    exec(compile(code.replace("http://127.0.0.1:8000", url), str(page), "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "the best of 4 continuations earns 1.0"
