"""The checks of any reasoning environment, ours or not, and the methods that they need.

`ReasoningTask` has three methods. Three checks need more, and report "not offered" without it:
`Repeatable` (a second instance), `Forkable` (save and load a state), `Importable` (built by another
process). `Explained` (a reference solution) adds one comparison.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from reason_env.check.hash_seeds import check_hash_seeds
from reason_env.check.report import Check, CheckReport, require, run_check
from reason_env.verify import clear_cache

ALONE = "not offered: the task has no another() that builds a second instance"
NUM_NOISE = 5
NUM_LOAD = 2
"""Busy processes that compete with the verifier."""


@runtime_checkable
class ReasoningTask(Protocol):
    """What the general checks need of an environment."""

    def begin(self, seed: int) -> str:
        """Start an episode; return what the policy sees."""
        ...

    def respond(self, text: str) -> float:
        """Give a whole response and return the episode's return."""
        ...

    def reference(self) -> str:
        """A response to the current episode that should score the most."""
        ...


@runtime_checkable
class Forkable(Protocol):
    """A task whose state can be copied to another instance."""

    def save(self) -> Any:
        """The state, unaffected by later calls."""
        ...

    def load(self, saved: Any) -> None:
        """Continue from a state that another instance saved."""
        ...


@runtime_checkable
class Repeatable(Protocol):
    """A task that can build another instance like itself."""

    def another(self) -> ReasoningTask:
        """A new instance with the same arguments."""
        ...


@runtime_checkable
class Importable(Protocol):
    """A task that another process can build."""

    def program(self) -> str:
        """Python that builds the same task and binds it to the name `task`."""
        ...


@runtime_checkable
class Explained(Protocol):
    """A task whose problems have reference steps in addition to a reference response."""

    def solution(self) -> Sequence[str]:
        """The reference steps of the current problem; empty if it has none."""
        ...


def check_reasoning_task(
    make: Callable[[], ReasoningTask],
    *,
    num_problems: int = 20,
    seed: int = 0,
    num_instances: int = 2,
) -> CheckReport:
    """Run the checks that apply to any environment.

    Args:
        make: Builds an instance; called once, and again by each check that needs more.
        num_problems: Episodes of each check.
        seed: Selects problems and noise.
        num_instances: 2 adds the checks with a second instance or process: that two instances are
            independent, that a state saved by one continues equally in another (`Forkable`), and
            that PYTHONHASHSEED has no effect (`Importable`).
    """
    task, seeds = make(), range(seed, seed + num_problems)
    checks = general_checks(task, seeds)
    if num_instances > 1:
        checks += instance_checks(task, make, seeds)
    return CheckReport(tuple(checks))


def general_checks(task: ReasoningTask, seeds: Sequence[int]) -> list[Check]:
    """Run the checks that need one instance and one process."""
    return [
        run_check("references score the most", lambda: _references(task, seeds)),
        run_check("empty and random text score the floor", lambda: _floor(task, seeds)),
        run_check("the verifier is the same under load", lambda: _under_load(task, seeds)),
        run_check("a seed replays", lambda: _replays(task, seeds)),
        run_check("global generators are left alone", lambda: _global_generators(task, seeds)),
    ]


def instance_checks(
    task: ReasoningTask, make: Callable[[], ReasoningTask] | None, seeds: Sequence[int]
) -> list[Check]:
    """Run the checks that need a second process or instance; skip those that the task lacks."""
    return [
        run_check("same seed under PYTHONHASHSEED", lambda: _task_hash_seeds(task, seeds)),
        run_check("fork law", lambda: _tasks_fork(make, seeds) if make else ALONE),
        run_check(
            "two instances are apart", lambda: check_independence(make, seeds) if make else ALONE
        ),
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
        require(
            returns[-1] > floor,
            f"the reference of seed {seed}'s problem returns {returns[-1]}, no answer {floor}: "
            f"{seen[:80]}",
        )
    require(
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
            require(got < best, f"{text[:40]!r} returns {got} for the problem of seed {seed}")
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
    require(not wrong, f"{len(wrong)} returns differ under load, the first: {wrong[:1]}")
    return None


def _replays(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    rng = random.Random(1)
    for seed in seeds:
        text = rng.choice(_noise(rng))
        played = [(task.begin(seed), task.respond(text)) for _ in range(2)]
        require(played[0] == played[1], f"seed {seed} gives two different episodes")
    return None


def _global_generators(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    # An episode must not change the global generators, nor depend on them. They start in a state
    # that no episode leaves behind; otherwise one that always seeds them would go undetected.
    legacy: Any = np.random.mtrand._rand  # pyright: ignore[reportPrivateUsage] - no public name
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
        require(untouched(12345), "a global generator is seeded or drawn from by a reset")
        task.respond("")
        require(untouched(12345), "a global generator is seeded or drawn from by a response")
        require(begun(54321) == seen, "episodes depend on a global generator")
    finally:
        random.setstate(saved[0])
        legacy.set_state(saved[1])
    return None


def check_independence(make: Callable[[], ReasoningTask], seeds: Sequence[int]) -> str | None:
    """Check that episodes of one instance change nothing in another."""
    alone, first, second = make(), make(), make()
    for seed in seeds:
        wanted = alone.begin(seed)
        text = alone.reference()
        score = alone.respond(text)
        seen = first.begin(seed)
        second.begin(seed + 1)
        second.respond(second.reference())
        got = first.respond(text)
        require((seen, got) == (wanted, score), f"another instance changes seed {seed}")
    return None


def _task_hash_seeds(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    if not isinstance(task, Importable):
        return "not offered: the task has no program() that builds it in another process"
    return check_hash_seeds(task.program(), seeds)


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
        require(got == wanted[0], f"a fork of seed {seed} returns {got}, the original {wanted[0]}")
        first.load(saved)
        again = first.respond(text), first.begin(seed + 1)
        require(again == wanted, f"after load, seed {seed} continues differently")
    return None


@contextmanager
def _load() -> Any:
    """Keep cores busy inside the `with` block."""
    program = "while True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(NUM_LOAD)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
