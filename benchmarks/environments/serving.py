# pyright: reportMissingImports=false
# OpenEnv is in the environment of `make test-interop` only.
"""What a served environment costs: OpenEnv's server and client over 127.0.0.1.

    .venv-openenv/bin/python -m benchmarks.environments.serving [--sessions 200] [--episodes 20]

The server is a process of its own. Printed: reset and step of one session, milliseconds, median and
99th percentile, beside the same calls on the environment itself; and a number of sessions that play
at the same time, each its own problems: episodes a second, the time of one round trip, the
processor time of server and clients for each message, which a busy machine changes little, and how
many episodes came back with another problem, another response or another reward than they must
have.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from reason_env import ByteCodec, Problem
from reason_env.agents.integrations.openenv import ReasonClient
from reason_env.env import EnvConfig
from reason_env.problems import load_problems

SIZE = 500
SERVER = """
from reason_env import ByteCodec
from reason_env.agents.integrations.openenv import serve
from reason_env.env import EnvConfig
from reason_env.serving import ServingConfig, Sessions
sessions = Sessions(EnvConfig(problems="chain", split="test", size=%d), ByteCodec())
serve(sessions, ServingConfig(port=0, max_sessions=4096), ready=lambda url: print(url, flush=True))
"""


def timed(call: Callable[[], object], times: list[float]) -> None:
    """Add the milliseconds of a call to a list."""
    began = time.perf_counter()
    call()
    times.append((time.perf_counter() - began) * 1e3)


def shown(what: str, times: list[float]) -> str:
    """One line: median and 99th percentile."""
    ordered = sorted(times)
    last = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"{what:<34} {statistics.median(ordered):>8.3f} ms, 99 %: {last:>8.3f} ms"


def one_session(url: str, repeats: int) -> list[str]:
    """Time the calls of one session, and of the environment itself."""
    env = EnvConfig(problems="chain", split="test", size=SIZE).make(
        ByteCodec(), granularity="step", format="text"
    )
    found: dict[str, list[float]] = {
        name: []
        for name in (
            "reset, served", "step, served", "state and snapshot, served",
            "fork: reset(snapshot), served", "reset, here", "step, here",
        )
    }  # fmt: skip
    with ReasonClient(url).sync() as client:
        client.reset(seed=0)
        for at in range(repeats):
            name = f"chain/test/{at % SIZE}"
            timed(lambda name=name: client.reset(problem=name), found["reset, served"])
            timed(lambda: client.step("#### 1\n"), found["step, served"])
            timed(client.state, found["state and snapshot, served"])
            saved = client.state().snapshot
            timed(
                lambda saved=saved: client.reset(snapshot=saved),
                found["fork: reset(snapshot), served"],
            )
            options = {"problem": name}
            timed(lambda options=options: env.reset(options=options), found["reset, here"])
            timed(lambda: env.step("#### 1\n"), found["step, here"])
    return [shown(name, times) for name, times in found.items()]


async def play(
    url: str, problems: tuple[Problem, ...], number: int, begin: asyncio.Barrier, times: list[float]
) -> int:
    """Play some problems in one session; returns how many episodes were not as they must be."""
    wrong = 0
    async with ReasonClient(url, message_timeout_s=600.0, connect_timeout_s=600.0) as client:
        await begin.wait()
        for at, problem in enumerate(problems):
            is_right = (number + at) % 2 == 0
            last = f"#### {problem.answer}\n" if is_right else "#### none\n"
            actions = [*(f"{step}\n" for step in problem.solution), last]
            found = await client.reset(problem=problem.problem_id)
            for action in actions:
                began = time.perf_counter()
                found = await client.step(action)
                times.append((time.perf_counter() - began) * 1e3)
            seen = found.observation
            wrong += (
                seen.info["problem_id"] != problem.problem_id
                or not str(seen.text).endswith(">" + "".join(actions))
                or (found.done, found.reward) != (True, float(is_right))
            )
    return wrong


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def many_sessions(url: str, pid: int, sessions: int, episodes: int) -> list[str]:
    """Let sessions play at the same time."""
    problems = tuple(load_problems("chain", split="test", size=SIZE))
    begin, times = asyncio.Barrier(sessions), list[float]()
    shares = [
        tuple(problems[(number * episodes + at) % SIZE] for at in range(episodes))
        for number in range(sessions)
    ]
    began, own_s, server_s = time.perf_counter(), time.process_time(), processor_s(pid)
    found = await asyncio.gather(
        *(play(url, share, number, begin, times) for number, share in enumerate(shares))
    )
    seconds = time.perf_counter() - began
    own_s, server_s = time.process_time() - own_s, processor_s(pid) - server_s
    played = sessions * episodes
    messages = played + len(times)
    return [
        shown(f"step, {sessions} sessions at once", times),
        f"{played:,} episodes, {len(times):,} steps in {seconds:.1f} s: "
        f"{played / seconds:.0f} episodes/s, {len(times) / seconds:.0f} steps/s, "
        f"{sum(found)} lost or mixed",
        f"processor time of a message: server {server_s / messages * 1e3:.2f} ms, clients "
        f"{own_s / messages * 1e3:.2f} ms",
    ]


def main() -> None:
    """Start a server, and print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=20, help="of each session")
    parser.add_argument("--repeats", type=int, default=500, help="calls of one session")
    given = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER % SIZE], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None, "it was asked for"
    try:
        url = server.stdout.readline().strip()
        lines = one_session(url, given.repeats)
        lines += asyncio.run(many_sessions(url, server.pid, given.sessions, given.episodes))
    finally:
        server.terminate()
        server.wait()
    print("\n".join(lines))


if __name__ == "__main__":
    main()
