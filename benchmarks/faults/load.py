"""Load: many live environments, many graded pairs on a busy machine, many episodes in one process.

    python -m benchmarks.faults.load environments      # 10,000 live environments, kB each
    python -m benchmarks.faults.load grading           # 1,000,000 pairs, alone and under contention
    python -m benchmarks.faults.load soak              # 100,000 episodes, memory and leaks
    python -m benchmarks.faults.load training          # 300 iterations with checkpoints, the same

Each part raises `LoadError` if its claim does not hold, and prints its figures as one line of JSON.
The responses of an environment are not counted as its memory. Verdicts are compared pair by pair;
the busy machine has more spinning processes than cores. Memory is the resident set, so a soak
begins to count after its first fifth, in which caches fill.

Not covered: several machines, GPUs.
"""

import gc
import hashlib
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tyro

from reason_env import restore, snapshot
from reason_env.problems import load_problems
from reason_env.verify import clear_cache, grade, grade_many
from reason_env.wrappers import Hint, PrefixRollin, RecordEpisodes, ResetToState

MOST_BYTES_EACH = 20_000
"""Of a live environment, beside its response."""
MOST_GROWTH_BYTES = 8 * 2**20
"""Resident memory that a soak may gain after its first fifth: an allocator's slack."""
BATCH = 5_000
"""Pairs of one call of `grade_many`."""


class LoadError(Exception):
    """A claim does not hold."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Measure one kind of load."""

    part: tyro.conf.Positional[Literal["environments", "grading", "soak", "training"]]
    count: int | None = None
    """Environments, pairs, episodes or iterations; None: those of the published figures."""
    first: int = 0
    """Number of the first pair: the parts of a long run are other pairs."""
    burners: int = 4
    """Processes that compete for the cores while pairs are graded."""


def main(given: Load) -> dict[str, Any]:
    """Run one part; return its figures.

    Raises:
        LoadError: Its claim does not hold.
    """
    found: dict[str, Any]
    if given.part == "environments":
        found = environments(given.count or 10_000)
    elif given.part == "grading":
        found = grading(given.count or 1_000_000, first=given.first, burners=given.burners)
    elif given.part == "soak":
        found = soak(given.count or 100_000)
    else:
        found = training(given.count or 300)
    print(given.part, json.dumps(found), flush=True)
    return found


def environments(count: int) -> dict[str, Any]:
    """Keep environments alive, each within an episode of its own, and measure their memory."""
    problems = load_problems("chain", size=512)
    first = gym.make("MathReason-v0", problems=problems)
    first.reset(seed=0)
    gc.collect()
    before, began = _resident_bytes(), time.perf_counter()
    live: list[gym.Env[Any, Any]] = []
    for number in range(count):
        env = gym.make("MathReason-v0", problems=problems)
        env.reset(seed=number)
        live.append(env)
    seconds = time.perf_counter() - began
    gc.collect()
    each = (_resident_bytes() - before) / count
    # All of them are alive: each goes on in its own episode.
    ids = Counter[str]()
    for number, env in enumerate(live):
        _, _, terminated, truncated, info = env.step(f"{number}*1={number}\n")
        ids[info["problem_id"]] += 1
        if terminated or truncated:
            raise LoadError(f"environment {number} ended after one step of its own")
    if each > MOST_BYTES_EACH:
        raise LoadError(f"an environment takes {each:,.0f} bytes, more than {MOST_BYTES_EACH:,}")
    return {
        "environments": count,
        "kb_each": round(each / 1000, 2),
        "problems": len(ids),
        "make_and_reset_ms": round(1000 * seconds / count, 3),
    }


def grading(count: int, *, first: int, burners: int) -> dict[str, Any]:
    """Grade pairs one by one, and again in batches while other processes take the cores."""
    found: dict[str, Any] = {"pairs": count, "first": first, "burners": burners}
    began = time.perf_counter()
    serial = [grade(*pair) for pair in pairs(first, count)]
    found["serial_s"] = round(time.perf_counter() - began, 1)
    clear_cache()
    context = multiprocessing.get_context("fork")
    spinning = [context.Process(target=_spin, daemon=True) for _ in range(burners)]
    for process in spinning:
        process.start()
    try:
        began = time.perf_counter()
        busy: list[Any] = []
        for begin in range(0, count, BATCH):
            busy += grade_many(list(pairs(first + begin, min(BATCH, count - begin))))
        found["busy_s"] = round(time.perf_counter() - began, 1)
    finally:
        for process in spinning:
            process.terminate()
            process.join()
    unequal = [
        (number, one, other)
        for number, (one, other) in enumerate(zip(serial, busy, strict=True))
        if one != other
    ]
    if unequal:
        number, one, other = unequal[0]
        raise LoadError(
            f"{len(unequal)} of {count} verdicts differ; the first of pair "
            f"{next(pairs(first + number, 1))!r}: {one} alone and {other} on a busy machine"
        )
    outcomes = Counter(verdict.outcome.value for verdict in serial)
    in_worker = Counter(verdict.reason for verdict in serial)["sympy"]
    text = "".join(verdict.outcome.value + "\n" for verdict in serial)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return found | dict(outcomes) | {"in_worker": in_worker, "sha256": digest[:12]}


def pairs(first: int, count: int) -> Iterator[tuple[str, str]]:
    """Draw responses with references, right and wrong, of every kind; each by its number alone."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        a, b, c = (int(value) for value in rng.integers(2, 10_000, size=3))
        off = int(rng.integers(0, 2))
        kind = int(rng.integers(0, 12))
        if number % 1000 == 0:
            # Only a worker decides an integral.
            yield rf"\boxed{{{a * a + off}}}", rf"\int_0^{{{a}}} 2t\,dt"
        else:
            yield KINDS[kind](a, b, c, off)


KINDS: tuple[Callable[[int, int, int, int], tuple[str, str]], ...] = (
    lambda a, b, c, off: (f"{a}*{b} is it.\n#### {a + off}", str(a)),
    lambda a, b, c, off: (rf"\boxed{{\frac{{{a * c + off}}}{{{b * c}}}}}", rf"\frac{{{a}}}{{{b}}}"),
    lambda a, b, c, off: (f"The answer is \\boxed{{{a}.{b}{off}}}", f"{a}.{b}0"),
    lambda a, b, c, off: (rf"\boxed{{{a}\sqrt{{{b + off}}}}}", rf"{a}\sqrt{{{b}}}"),
    lambda a, b, c, off: (rf"\boxed{{({a}, {b + off}]}}", rf"({a},{b}]"),
    lambda a, b, c, off: (rf"\boxed{{\{{{b}, {a}, {c + off}\}}}}", rf"\{{{a},{b},{c}\}}"),
    lambda a, b, c, off: (rf"\boxed{{{b}x + {a}x^2 + {off}}}", rf"x({a}x+{b})"),
    lambda a, b, c, off: (rf"\boxed{{{a}\%}}", rf"{a + off}\%"),
    lambda a, b, c, off: (rf"\boxed{{({a}, {b}, {c + off})}}", rf"({a}, {b}, {c})"),
    lambda a, b, c, off: (
        rf"\boxed{{\begin{{pmatrix}} {a} & {b} \\ {c} & {off} \end{{pmatrix}}}}",
        rf"\begin{{pmatrix}} {a} & {b} \\ {c} & 0 \end{{pmatrix}}",
    ),
    lambda a, b, c, off: (f"I do not know {a}, {b} or {c}" + off * "!", str(b)),
    lambda a, b, c, off: (rf"\boxed{{2^{{{a % 30}}}}}", rf"2^{{{a % 30 + off}}}"),
)
"""A response and its reference from three numbers; wrong if `off` is 1. One kind has no answer."""


def soak(count: int) -> dict[str, Any]:
    """Play episodes through a stack of wrappers, with snapshots; watch what the process holds."""
    problems = load_problems("chain", size=256, levels=(3, 6))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "episodes.jsonl"
        env: gym.Env[Any, Any] = gym.make("MathReason-v0", problems=problems)
        env = PrefixRollin(env, fraction=(0.0, 0.5))
        env = ResetToState(env, keep="failures", probability=0.25)
        env = RecordEpisodes(Hint(env, kind="answer"), file, every=100)

        def episode(number: int) -> bool:
            env.reset(seed=number)
            problem = env.unwrapped.state.problem  # type: ignore[attr-defined]
            if number % 10 == 0:
                saved = snapshot(env)
                env.step(f"{number}\n")
                restore(env, saved)
            is_right = bool(rng.random() < 0.5)
            while True:
                answer = problem.answer if is_right else f"{problem.answer}7"
                _, reward, terminated, truncated, _ = env.step(f"x={number}\n#### {answer}\n")
                if terminated or truncated:
                    break
            if number % 1_000 == 0:
                side = number % 9_000 // 9
                verdict = grade(rf"\boxed{{{side * side}}}", rf"\int_0^{{{side}}} 2t\,dt")
                if not verdict.is_correct:
                    raise LoadError(f"a right answer is graded {verdict}")
            return is_right == (reward == 1)

        return _watched(count, episode, wrong="episodes graded otherwise than they were played")


def training(count: int) -> dict[str, Any]:
    """Train, evaluate and write a checkpoint in each iteration; watch what the process holds."""
    from reason_env.agents.evaluate import EvalConfig
    from reason_env.agents.methods import GRPOConfig
    from reason_env.agents.runs import CheckpointConfig, CheckpointWriter, RunDir, save_checkpoint
    from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
    from reason_env.agents.train.evaluation import evaluate_policy
    from reason_env.env import EnvConfig

    config = TrainConfig(
        method=GRPOConfig(group_size=4),
        env=EnvConfig(levels=(3, 4), size=16, max_tokens=24),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        checkpoint=CheckpointConfig(every=1, keep_last=2),
        iterations=10 * count,
        problems_per_iteration=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        session = build_session(config)
        prepare(session)
        path = Path(folder) / "run"
        with (
            RunDir.create(path, session.config, command=[]) as run,
            CheckpointWriter() as writer,
        ):

            def iteration(number: int) -> bool:
                found = iterate(session)
                writer.wait()
                report = evaluate_policy(session)
                assert report is not None, "the family has a test split"
                run.write_episodes(number + 1, found.episodes)
                run.write_metrics(number + 1, found.metrics | report.metrics)
                save_checkpoint(
                    run,
                    number + 1,
                    session.policy,
                    session.learner.state_dict(),
                    session.progress,
                    config=config.checkpoint,
                    writer=writer,
                )
                return len(list((path / "checkpoints").glob("iteration_*"))) <= 2

            return _watched(count, iteration, wrong="iterations kept older checkpoints")


def _watched(count: int, act: Callable[[int], bool], *, wrong: str) -> dict[str, Any]:
    """Act so often; return what the process held after a fifth and at the end.

    Raises:
        LoadError: Memory grew, a process, thread or file is left, or an act returned False.
    """
    began, num_wrong, held = time.perf_counter(), 0, []
    for number in range(count):
        num_wrong += not act(number)
        if number + 1 in (count // 5, count // 2):
            held.append(_held())
    held.append(_held())
    first, last = held[0], held[-1]
    growth = last["resident"] - first["resident"]
    found = {
        "count": count,
        "seconds": round(time.perf_counter() - began, 1),
        "resident_mb": [round(one["resident"] / 2**20, 1) for one in held],
        **{name: [one[name] for one in held] for name in ("threads", "files", "children")},
    }
    more = [name for name in ("threads", "files", "children") if last[name] > first[name]]
    if num_wrong or more or growth > MOST_GROWTH_BYTES:
        raise LoadError(f"{num_wrong} {wrong}; grown: {more}, {growth:,} bytes; {found}")
    return found


def _held() -> dict[str, int]:
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return {
        "resident": _resident_bytes(),
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "children": len(children.split()),
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _spin() -> None:
    while True:
        sum(range(100_000))


if __name__ == "__main__":
    main(tyro.cli(Load))
