"""The checks that any reasoning environment can be put to, ours or not, and what they ask of it.

`ReasoningTask` is three methods. Three checks need more than that, and say "not offered" of a task
without it: `Repeatable` (a second instance), `Forkable` (a state saved and loaded), `Importable`
(made by another process). `Explained` (a reference solution) has one more thing compared.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from reason_env.check.hash_seeds import same_under_hash_seeds
from reason_env.check.report import Check, CheckReport, made, need
from reason_env.verify import clear_cache

ALONE = "not offered: the task has no another() that makes a second instance"
NUM_NOISE = 5
NUM_LOAD = 2
"""Busy processes beside the verifier."""


@runtime_checkable
class ReasoningTask(Protocol):
    """What the general checks ask of an environment."""

    def begin(self, seed: int) -> str:
        """Starts an episode; returns what the policy sees."""
        ...

    def respond(self, text: str) -> float:
        """Says a whole response in the episode; returns the episode's return."""
        ...

    def reference(self) -> str:
        """Returns a response to the present episode that should score the most."""
        ...


@runtime_checkable
class Forkable(Protocol):
    """A task whose state in an episode can be taken to another instance."""

    def save(self) -> Any:
        """Returns the state; it stays as it is while the task goes on."""
        ...

    def load(self, saved: Any) -> None:
        """Takes the state that another instance saved."""
        ...


@runtime_checkable
class Repeatable(Protocol):
    """A task that can make another instance like itself."""

    def another(self) -> ReasoningTask:
        """Returns a fresh instance, made from the same arguments."""
        ...


@runtime_checkable
class Importable(Protocol):
    """A task that another process can make."""

    def program(self) -> str:
        """Returns Python that makes the same task and binds it to the name `task`."""
        ...


@runtime_checkable
class Explained(Protocol):
    """A task whose problems have a reference solution beside the response that scores."""

    def solution(self) -> Sequence[str]:
        """Returns the reference steps of the present problem; empty where it has none."""
        ...


def check_reasoning_task(
    make: Callable[[], ReasoningTask],
    *,
    num_problems: int = 20,
    seed: int = 0,
    num_instances: int = 2,
) -> CheckReport:
    """Returns the report of the checks that any environment can be put to.

    Args:
        make: Makes an instance; called `num_instances` times and for each check that needs more.
        num_problems: Episodes that each check plays.
        seed: Chooses problems and noise.
        num_instances: With 2, it is also checked what takes a second instance or process: that two
            do not disturb each other, that a state saved by one goes on alike in another
            (`Forkable`), and that PYTHONHASHSEED decides nothing (`Importable`).
    """
    task, seeds = make(), range(seed, seed + num_problems)
    checks = general_checks(task, seeds)
    if num_instances > 1:
        checks += instance_checks(task, make, seeds)
    return CheckReport(tuple(checks))


def general_checks(task: ReasoningTask, seeds: Sequence[int]) -> list[Check]:
    """Returns what one instance and one process show."""
    return [
        made("references score the most", lambda: _references(task, seeds)),
        made("empty and random text score the floor", lambda: _floor(task, seeds)),
        made("the verifier is the same under load", lambda: _under_load(task, seeds)),
        made("a seed replays", lambda: _replays(task, seeds)),
        made("global generators are left alone", lambda: _global_generators(task, seeds)),
    ]


def instance_checks(
    task: ReasoningTask, make: Callable[[], ReasoningTask] | None, seeds: Sequence[int]
) -> list[Check]:
    """Returns what takes another process or instance; skipped where the task offers none."""
    return [
        made("same seed under PYTHONHASHSEED", lambda: _task_hash_seeds(task, seeds)),
        made("fork law", lambda: _tasks_fork(make, seeds) if make else ALONE),
        made("two instances are apart", lambda: tasks_are_apart(make, seeds) if make else ALONE),
    ]


def _noise(rng: random.Random) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz 0123456789#=\n"
    return ["", *("".join(rng.choices(letters, k=40)) for _ in range(NUM_NOISE))]


def _references(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    returns: list[float] = []
    for seed in seeds:
        seen = task.begin(seed)
        returns.append(task.respond(task.reference()))
        task.begin(seed)
        floor = task.respond("")
        need(
            returns[-1] > floor,
            f"the reference of seed {seed}'s problem returns {returns[-1]}, no answer {floor}: "
            f"{seen[:80]}",
        )
    need(
        max(returns) - min(returns) < 1e-9,
        f"references return from {min(returns)} to {max(returns)}",
    )
    return None


def _floor(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    rng = random.Random(0)
    for seed in seeds:
        seen = task.begin(seed)
        best = task.respond(task.reference())
        for text in (*_noise(rng), seen[-200:]):
            task.begin(seed)
            got = task.respond(text)
            need(got < best, f"{text[:40]!r} returns {got} for the problem of seed {seed}")
    return None


def _under_load(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    def returns() -> list[float]:
        clear_cache()
        found: list[float] = []
        for seed in seeds:
            for wrong in ("", "0"):
                task.begin(seed)
                found.append(task.respond(task.reference() + wrong))
        return found

    idle = returns()
    with _load():
        busy = returns()
    pairs = zip(idle, busy, strict=True)
    wrong = [f"{first} and {second}" for first, second in pairs if first != second]
    need(not wrong, f"{len(wrong)} returns differ under load, the first: {wrong[:1]}")
    return None


def _replays(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    rng = random.Random(1)
    for seed in seeds:
        text = rng.choice(_noise(rng))
        said = [(task.begin(seed), task.respond(text)) for _ in range(2)]
        need(said[0] == said[1], f"seed {seed} gives two different episodes")
    return None


def _global_generators(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    # The global generators on purpose: they must come out as they went in, and decide nothing. They
    # go in as no episode leaves them, or one that seeds them anew each time would go unseen.
    legacy: Any = np.random.mtrand._rand
    saved = random.getstate(), legacy.get_state()

    def begun(state: int) -> list[str]:
        random.seed(state)
        legacy.seed(state)
        return [task.begin(seed) for seed in seeds]

    def untouched(state: int) -> bool:
        fresh = np.random.RandomState(state)
        drawn = str(legacy.get_state()) != str(fresh.get_state())
        return not drawn and random.getstate() == random.Random(state).getstate()

    try:
        seen = begun(12345)
        need(untouched(12345), "a global generator is seeded or drawn from by a reset")
        task.respond("")
        need(untouched(12345), "a global generator is seeded or drawn from by a response")
        need(begun(54321) == seen, "a global generator decides episodes")
    finally:
        random.setstate(saved[0])
        legacy.set_state(saved[1])
    return None


def tasks_are_apart(make: Callable[[], ReasoningTask], seeds: Sequence[int]) -> str | None:
    """Checks that episodes of one instance change nothing in another."""
    alone, first, second = make(), make(), make()
    for seed in seeds:
        wanted = alone.begin(seed)
        text = alone.reference()
        score = alone.respond(text)
        seen = first.begin(seed)
        second.begin(seed + 1)
        second.respond(second.reference())
        got = first.respond(text)
        need((seen, got) == (wanted, score), f"another instance changes seed {seed}")
    return None


def _task_hash_seeds(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    if not isinstance(task, Importable):
        return "not offered: the task has no program() that makes it in another process"
    return same_under_hash_seeds(task.program(), seeds)


def _tasks_fork(make: Callable[[], ReasoningTask], seeds: Sequence[int]) -> str | None:
    first, second = make(), make()
    if not isinstance(first, Forkable) or not isinstance(second, Forkable):
        return "not offered: the task has no save() and load()"
    rng = random.Random(2)
    for seed in seeds:
        first.begin(seed)
        text = first.reference() if seed % 2 == 0 else rng.choice(_noise(rng))
        saved = first.save()
        wanted = first.respond(text), first.begin(seed + 1)
        second.begin(seed + 2)
        second.load(saved)
        got = second.respond(text)
        need(got == wanted[0], f"a fork of seed {seed} returns {got}, the original {wanted[0]}")
        first.load(saved)
        again = first.respond(text), first.begin(seed + 1)
        need(again == wanted, f"after load, seed {seed} goes on otherwise")
    return None


@contextmanager
def _load() -> Any:
    """Keeps every core busy for a while."""
    program = "while True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(NUM_LOAD)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
