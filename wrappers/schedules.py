"""Schedules of `PrefixRollin`, the share of a prefix over training: frozen configs, pure functions.

Each schedule computes `share(memory, problem_id)`, a number in 0..1 that `PrefixRollin` maps to its
range, and `updated(memory, problem_id, is_success)`, the memory after an episode that started
there. The memory is a JSON-able dict in the wrapper, so that a snapshot holds it.

Not covered: schedules over wall-clock time or tokens; they would not replay.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.state import checked_fraction

Memory = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Always the same share."""

    kind: Literal["constant"] = "constant"
    value: float = 1.0

    def __post_init__(self) -> None:
        checked_fraction(self.value, "value")

    def share(self, memory: Memory, problem_id: str) -> float:
        """`value`, whatever has happened."""
        del memory, problem_id
        return self.value

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory, unchanged."""
        del problem_id, is_success
        return memory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """Moves from one share to another over a number of episodes, then stays."""

    kind: str
    begin: float = 1.0
    end: float = 0.0
    episodes: int = 1000

    def __post_init__(self) -> None:
        checked_fraction(self.begin, "begin")
        checked_fraction(self.end, "end")
        _check_count("episodes", self.episodes)

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory with one more episode."""
        del problem_id, is_success
        return memory | {"episodes": memory.get("episodes", 0) + 1}

    def _progress(self, memory: Memory) -> float:
        return min(1.0, memory.get("episodes", 0) / self.episodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(_Path):
    """Moves linearly from one share to another over a number of episodes, then stays.

    >>> schedule = Linear(begin=1.0, end=0.2, episodes=4)
    >>> [round(schedule.share({"episodes": done}, ""), 2) for done in (0, 1, 2, 4, 9)]
    [1.0, 0.8, 0.6, 0.2, 0.2]
    """

    kind: Literal["linear"] = "linear"

    def share(self, memory: Memory, problem_id: str) -> float:
        """The share after the episodes so far."""
        del problem_id
        return self.begin + (self.end - self.begin) * self._progress(memory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine(_Path):
    """As `Linear`, along half a cosine: slow at both ends.

    >>> schedule = Cosine(begin=1.0, end=0.0, episodes=4)
    >>> [round(schedule.share({"episodes": done}, ""), 3) for done in (0, 1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    kind: Literal["cosine"] = "cosine"

    def share(self, memory: Memory, problem_id: str) -> float:
        """The share after the episodes so far."""
        del problem_id
        twice = 1 + math.cos(math.pi * self._progress(memory))
        return self.end + (self.begin - self.end) * twice / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Moves the start from the end of the chain to its beginning in stages.

    Stage s of S gives the share 1 - s/S. A stage ends when the pass rate of its last `window`
    episodes reaches `pass_rate`.

    Source: R3, arXiv 2402.05808 (stages; the rule that ends one is ours).
    """

    kind: Literal["reverse"] = "reverse"
    stages: int = 4
    window: int = 16
    pass_rate: float = 0.5

    def __post_init__(self) -> None:
        _check_count("stages", self.stages)
        _check_count("window", self.window)
        checked_fraction(self.pass_rate, "pass_rate")

    def share(self, memory: Memory, problem_id: str) -> float:
        """The share of the current stage."""
        del problem_id
        return 1.0 - memory.get("stage", 0) / self.stages

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory with the episode, in the next stage if this one has ended."""
        del problem_id
        stage: int = memory.get("stage", 0)
        recent: list[bool] = [*memory.get("recent", ()), is_success][-self.window :]
        is_over = len(recent) == self.window and sum(recent) >= self.pass_rate * self.window
        if is_over and stage < self.stages:
            return {"stage": stage + 1, "recent": []}
        return {"stage": stage, "recent": recent}


@dataclass(frozen=True, slots=True, kw_only=True)
class BinarySearch:
    """Searches, for each problem, the share at which it is solved at the wanted rate, by halves.

    After `samples` episodes at the middle of [low, high], a pass rate of at least `pass_rate`
    selects the lower half, any other the upper half. Once the interval is narrower than
    `tolerance`, `low` returns to 0, because the policy improves.

    Source: AdaBack, arXiv 2506.18110, without its random draws (`StochasticSearch`).
    """

    kind: Literal["binary_search"] = "binary_search"
    samples: int = 4
    pass_rate: float = 0.5
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        _check_count("samples", self.samples)
        checked_fraction(self.pass_rate, "pass_rate")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance must lie between 0 and 1, got {self.tolerance!r}")

    def share(self, memory: Memory, problem_id: str) -> float:
        """The middle of the problem's interval."""
        low, high, _ = memory.get(problem_id, (0.0, 1.0, []))
        return (low + high) / 2

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory with the episode, and the interval halved after enough of them."""
        low, high, seen = memory.get(problem_id, (0.0, 1.0, []))
        seen = [*seen, is_success]
        if len(seen) >= self.samples:
            middle = (low + high) / 2
            solved = sum(seen) >= self.pass_rate * len(seen)
            low, high, seen = (low, middle, []) if solved else (middle, high, [])
            if high - low < self.tolerance:
                low = 0.0
        return memory | {problem_id: [low, high, seen]}


@dataclass(frozen=True, slots=True, kw_only=True)
class StochasticSearch:
    """Searches, for each problem, the least share that suffices, by uniform draws.

    share ~ uniform(low, high), at first (0, 1). After `samples` episodes at this share, a pass rate
    of at least `pass_rate` sets (low, high) to (0, share), any other to (share, 1). A draw depends
    on the seed, the problem and the number of its draws alone, so that a snapshot continues it.

    Source: AdaBack, arXiv 2506.18110: a stochastic binary search by the mean return. Which end of
    the interval opens again was not in the text that could be read: both do here, because what a
    policy can do changes.

    >>> schedule = StochasticSearch(samples=2)
    >>> memory = {}
    >>> for is_success in (True, False, False, False):
    ...     memory = schedule.updated(memory, "a", is_success=is_success)
    ...     print([round(number, 3) for number in memory["a"][:3]])
    [0.0, 1.0, 0]
    [0.0, 0.519, 1]
    [0.0, 0.519, 1]
    [0.415, 1.0, 2]
    """

    kind: Literal["stochastic_search"] = "stochastic_search"
    samples: int = 4
    pass_rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count("samples", self.samples)
        checked_fraction(self.pass_rate, "pass_rate")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed!r}")

    def share(self, memory: Memory, problem_id: str) -> float:
        """The draw from the problem's interval, the same until `samples` episodes have ended."""
        low, high, number, _ = memory.get(problem_id, (0.0, 1.0, 0, []))
        entropy = (self.seed, zlib.crc32(problem_id.encode()), number)
        return low + (high - low) * float(np.random.default_rng(entropy).random())

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory with the episode, and another interval after enough of them."""
        low, high, number, seen = memory.get(problem_id, (0.0, 1.0, 0, []))
        seen = [*seen, is_success]
        if len(seen) >= self.samples:
            share = self.share(memory, problem_id)
            solved = sum(seen) >= self.pass_rate * len(seen)
            low, high = (0.0, share) if solved else (share, 1.0)
            number, seen = number + 1, []
        return memory | {problem_id: [low, high, number, seen]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortestHelpful:
    """Searches, for each problem, the shortest share with a success, upwards on a grid.

    The grid is 0, 1/size, ... up to `longest`. Each point gets `samples` episodes, and the search
    ends at the first success. Without any, it stays at the last point.

    Source: POPE, arXiv 2601.18779 (there a search before training, here during the episodes).
    """

    kind: Literal["shortest_helpful"] = "shortest_helpful"
    size: int = 16
    longest: float = 0.25
    samples: int = 16

    def __post_init__(self) -> None:
        _check_count("size", self.size)
        _check_count("samples", self.samples)
        checked_fraction(self.longest, "longest")

    def share(self, memory: Memory, problem_id: str) -> float:
        """The grid point of the problem's search."""
        return min(memory.get(problem_id, (0, 0))[0] / self.size, self.longest)

    def updated(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """The memory with the episode: found, try again, or one point further."""
        point, tried = memory.get(problem_id, (0, 0))
        if tried < 0 or is_success:
            return memory | {problem_id: [point, -1]}
        if tried + 1 < self.samples:
            return memory | {problem_id: [point, tried + 1]}
        return memory | {problem_id: [point + 1, 0]}


Schedule = Constant | Linear | Cosine | Reverse | BinarySearch | StochasticSearch | ShortestHelpful
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "reverse": Reverse,
    "binary_search": BinarySearch,
    "stochastic_search": StochasticSearch,
    "shortest_helpful": ShortestHelpful,
}


def schedule_of(given: Schedule | str | dict[str, Any]) -> Schedule:
    """Build a schedule from its kind, or from a dict with a "kind"; a schedule stays as it is.

    >>> schedule_of({"kind": "linear", "episodes": 10}).episodes
    10

    Raises:
        ConfigError: An unknown kind or field, or a number out of its range.
    """
    if isinstance(given, Schedule):
        return given
    fields: dict[str, Any] = {"kind": given} if isinstance(given, str) else dict(given)
    kind = str(fields.get("kind"))
    if kind not in SCHEDULES:
        raise ConfigError(
            f"schedule kind must be one of {', '.join(SCHEDULES)}, got {shown(fields.get('kind'))}"
            f"{did_you_mean(kind, SCHEDULES)}"
        )
    try:
        return SCHEDULES[kind](**fields)
    except TypeError as error:
        raise ConfigError(
            f"schedule {kind!r} must be given by its fields, got {shown(fields)}; {error}"
        ) from error


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value!r}")
