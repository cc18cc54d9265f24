"""How much of a prefix is given, as training goes on: frozen configs with pure functions.

Each schedule answers `share(memory, problem_id)`, a number in 0..1 that `PrefixRollin` maps onto
its own range, and `noted(memory, problem_id, is_success)`, the memory after an episode that began
there. The memory is a JSON-able dict that the wrapper keeps, so that a snapshot holds it.

Not covered: schedules over wall-clock time or tokens; they would not replay.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

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
        """Returns the share."""
        del memory, problem_id
        return self.value

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory as it is."""
        del problem_id, is_success
        return memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """From one share to another over a number of episodes, then the last one.

    >>> schedule = Linear(begin=1.0, end=0.2, episodes=4)
    >>> [round(schedule.share({"episodes": done}, ""), 2) for done in (0, 1, 2, 4, 9)]
    [1.0, 0.8, 0.6, 0.2, 0.2]
    """

    kind: Literal["linear"] = "linear"
    begin: float = 1.0
    end: float = 0.0
    episodes: int = 1000

    def __post_init__(self) -> None:
        checked_fraction(self.begin, "begin")
        checked_fraction(self.end, "end")
        _check_count("episodes", self.episodes)

    def share(self, memory: Memory, problem_id: str) -> float:
        """Returns the share after the episodes so far."""
        del problem_id
        return self.begin + (self.end - self.begin) * self._progress(memory)

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory with one more episode."""
        del problem_id, is_success
        return memory | {"episodes": memory.get("episodes", 0) + 1}

    def _progress(self, memory: Memory) -> float:
        return min(1.0, memory.get("episodes", 0) / self.episodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """As `Linear`, along half a cosine: slow at both ends.

    >>> schedule = Cosine(begin=1.0, end=0.0, episodes=4)
    >>> [round(schedule.share({"episodes": done}, ""), 3) for done in (0, 1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    kind: Literal["cosine"] = "cosine"
    begin: float = 1.0
    end: float = 0.0
    episodes: int = 1000

    def __post_init__(self) -> None:
        Linear(begin=self.begin, end=self.end, episodes=self.episodes)

    def share(self, memory: Memory, problem_id: str) -> float:
        """Returns the share after the episodes so far."""
        del problem_id
        progress = min(1.0, memory.get("episodes", 0) / self.episodes)
        return self.end + (self.begin - self.end) * (1 + math.cos(math.pi * progress)) / 2

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory with one more episode."""
        del problem_id, is_success
        return memory | {"episodes": memory.get("episodes", 0) + 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Slides the start from the end to the beginning, stage by stage, as success allows.

    Stage s of S gives the share 1 - s/S; a stage is over when `pass_rate` of its last `window`
    episodes succeeded.

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
        """Returns the stage's share."""
        del problem_id
        return 1.0 - memory.get("stage", 0) / self.stages

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory with the episode, in the next stage if this one is over."""
        del problem_id
        stage: int = memory.get("stage", 0)
        recent: list[bool] = [*memory.get("recent", ()), is_success][-self.window :]
        enough = len(recent) == self.window and sum(recent) >= self.pass_rate * self.window
        if enough and stage < self.stages:
            return {"stage": stage + 1, "recent": []}
        return {"stage": stage, "recent": recent}


@dataclass(frozen=True, slots=True, kw_only=True)
class BinarySearch:
    """Searches, for each problem, the share at which it is solved at the wanted rate.

    After `samples` episodes at the middle of [low, high], a pass rate of at least `pass_rate` takes
    the lower half, any other the upper; the interval opens again downwards once it is narrower than
    `tolerance`, since the policy gets better.

    Source: AdaBack, arXiv 2506.18110.
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
        """Returns the middle of the problem's interval."""
        low, high, _ = memory.get(problem_id, (0.0, 1.0, []))
        return (low + high) / 2

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory with the episode, the interval halved if there are enough."""
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
class ShortestHelpful:
    """Searches, for each problem, the shortest share with a success, upwards on a grid.

    The grid is 0, 1/size, ... up to `longest`. Each place is tried `samples` times; the first
    success stays for good. Where none works, the last place stays.

    Source: POPE, arXiv 2601.18779 (there a search before training; here it runs in the episodes).
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
        """Returns the place on the grid that the problem's search has come to."""
        return min(memory.get(problem_id, (0, 0))[0] / self.size, self.longest)

    def noted(self, memory: Memory, problem_id: str, *, is_success: bool) -> Memory:
        """Returns the memory with the episode: found, tried again, or one place further."""
        place, tried = memory.get(problem_id, (0, 0))
        if tried < 0 or is_success:
            return memory | {problem_id: [place, -1]}
        if tried + 1 < self.samples:
            return memory | {problem_id: [place, tried + 1]}
        return memory | {problem_id: [place + 1, 0]}


Schedule = Constant | Linear | Cosine | Reverse | BinarySearch | ShortestHelpful
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "reverse": Reverse,
    "binary_search": BinarySearch,
    "shortest_helpful": ShortestHelpful,
}


def schedule_of(given: Schedule | str | dict[str, Any]) -> Schedule:
    """Returns the schedule that a config, a kind, or a dict with a "kind" names.

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
