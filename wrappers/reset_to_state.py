"""ResetToState: starts from saved states, or from cuts of recorded chains.

The archive starts with `states` and grows during training: by `add(trajectory)`, or with the
stack's own failures or successes (`keep`). Only the response of a chain is used: its guidance is
dropped, and the new start keeps the guidance of inner wrappers.

Not covered: self-localised cuts (SRPO), which sample; a method computes the step and passes it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import gymnasium as gym
import numpy as np

from reason_env.env import layers_of
from reason_env.errors import ConfigError, StateError, did_you_mean, shown
from reason_env.snapshot import Commit
from reason_env.state import (
    ReasonState,
    checker_cut,
    entropy_cut,
    is_over,
    last_cut,
    uniform_cut,
    with_response_of,
)
from reason_env.wrappers.archive import Archive, Chain
from reason_env.wrappers.start import StartWrapper

CutName = Literal["uniform", "entropy", "checker"]
Cut = CutName | int | Callable[[ReasonState, np.random.Generator], int] | None
Keep = Literal["none", "failures", "successes", "all"]
Pick = Literal["problem", "any"]
KEPT: dict[str, tuple[bool, ...]] = {
    "none": (),
    "failures": (False,),
    "successes": (True,),
    "all": (False, True),
}
"""`keep` -> the values of `info["success"]` to add."""


class ResetToState(StartWrapper):
    r"""Starts some episodes from the archive.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 2))
    >>> env = ResetToState(env, cut="checker")
    >>> wrong = env.unwrapped.initial_state(env.unwrapped.problems[0])
    >>> env.add(wrong.extend(env.unwrapped.codec.encode("B:8*4 y=2\nC:2-8 y=5\n#### 852")))
    >>> obs, info = env.reset(options={"problem": "chain/test/0"})
    >>> print(obs)
    x=8 y=8 z=2
    B:y*4 C:y-8
    >B:8*4 y=2
    <BLANKLINE>
    """

    tabular_advice = "use TabularResetToState there"

    def __init__(
        self,
        env: gym.Env[Any, Any],
        states: Sequence[ReasonState | Mapping[str, Any] | str] | str | Path = (),
        *,
        probability: float = 1.0,
        cut: Cut = "uniform",
        keep: Keep = "none",
        pick: Pick = "problem",
        capacity: int = 1024,
    ) -> None:
        """Wrap `env`.

        Args:
            env: Any stack on a `ReasonEnv`.
            states: Initial content of the archive: states, their dicts or JSON; or a JSONL file of
                these, or of episodes as `RecordEpisodes` writes them.
            probability: Probability that the wrapper acts at a reset, 0..1.
            cut: How many steps of a chain to keep: "uniform" over 0..T-1; those before the step of
                highest "entropy"; those before the first step that the "checker" finds wrong; a
                number (at most T-1); a function of state and generator; None for the whole
                state, which must be open.
            keep: Which of the stack's own finished episodes to add. They have no entropies, so
                that cut "entropy" cuts them uniformly.
            pick: "problem": a chain of the reset's problem; without one, the start stays. "any":
                a chain of any problem, unless the reset names a problem.
            capacity: Largest number of chains; the newest replaces the oldest.
        """
        self._refuse_tabular(env)
        _check_choice("cut", cut, get_args(CutName))
        _check_choice("keep", keep, get_args(Keep))
        _check_choice("pick", pick, get_args(Pick))
        if isinstance(states, (str, Path)):
            given, written = _read_file(Path(states)), str(states)
        else:
            given = _listed(states)
            written = [_plain(item) for item in given]
        super().__init__(
            env,
            probability=probability,
            states=written,
            cut=cut,
            keep=keep,
            pick=pick,
            capacity=capacity,
        )
        self.cut, self.keep, self.pick = cut, keep, pick
        below = [layer for layer in layers_of(env) if isinstance(layer, StartWrapper)]
        if pick == "any" and below:
            raise ConfigError(
                "ResetToState(pick='any') must be the innermost start wrapper, got "
                f"{type(below[0]).__name__} below it, whose start it would discard; "
                "wrap it first, or use pick='problem'"
            )
        if cut is None and keep != "none":
            raise ConfigError(
                f"keep must be 'none' if cut is None, got {keep!r}; a finished episode must be cut "
                "before it can be a start"
            )
        if cut == "checker" and self.reason_env.problems.checker is None:
            raise ConfigError(
                f"cut='checker' must have problems with a step checker, got "
                f"{self.reason_env.problems.name!r} without one; use cut='uniform'"
            )
        self.archive = Archive(self.reason_env, capacity)
        for item in given:
            self.add(item)
        self._has_problem = False

    def add(
        self,
        trajectory: ReasonState | Mapping[str, Any] | str,
        entropies: Sequence[float] | None = None,
    ) -> None:
        """Add a chain to the archive; see `Archive.add`.

        Raises:
            StateError: It is no chain of this environment, or `cut` cannot cut it.
        """
        state = self.reason_env.read_state(trajectory)
        if self.cut == "entropy" and entropies is None:
            raise StateError(
                "a trajectory must come with its entropies if cut is 'entropy', got none; pass "
                "add(trajectory, entropies=...)"
            )
        has_end = not set(self.reason_env.codec.end_ids).isdisjoint(state.response)
        is_open = not has_end and not is_over(state, self.reason_env.rules)
        if self.cut is None and not is_open:
            raise StateError(
                "a state must be open if cut is None, got one that has ended; give the wrapper "
                "a cut, or cut() the state"
            )
        self.archive.add(state, entropies)

    @property
    def chooses_problems(self) -> bool:
        """True if starts are picked among the chains of all problems."""
        return self.pick == "any" and self.probability > 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the stack; `options={"problem": id}` allows only that problem's chains."""
        self._has_problem = "problem" in (options or {})
        return super().reset(seed=seed, options=options)

    def start(self, state: ReasonState, rng: np.random.Generator) -> ReasonState:
        """Start from the first steps of a drawn chain."""
        problem_id = state.problem.problem_id
        is_any = self.pick == "any" and not self._has_problem
        chains = self.archive.chains if is_any else self.archive.of_problem(problem_id)
        if not chains:
            return state
        chain = chains[int(rng.integers(len(chains)))]
        own = self.reason_env.initial_state(chain.state.problem) if is_any else state
        return with_response_of(own, chain.state, self._num_steps(chain, rng))

    def ended(self, state: ReasonState) -> None:
        """Add the finished episode if `keep` includes its kind."""
        if state.verdict is not None and not state.verdict.is_graded:
            return
        is_success = state.verdict is not None and state.verdict.is_correct
        if is_success in KEPT[self.keep]:
            self.archive.add(state)

    def memory(self) -> dict[str, Any]:
        """The archive's chains, besides what every start wrapper remembers."""
        return super().memory() | {"archive": self.archive.to_json()}

    def read_memory(self, data: dict[str, Any]) -> Commit:
        """Check what `memory` wrote; return the function that adopts it."""
        commit_base = super().read_memory(data)
        archive = self.archive.from_json(data["archive"])

        def commit() -> None:
            commit_base()
            self.archive = archive

        return commit

    def _num_steps(self, chain: Chain, rng: np.random.Generator) -> int:
        state, cut = chain.state, self.cut
        if callable(cut):
            return _checked_count(cut(state, rng), last_cut(state))
        match cut:
            case None:
                return state.num_steps
            case "checker":
                checker = self.reason_env.problems.checker
                assert checker is not None, "checked at construction"
                return checker_cut(state, checker)
            case "entropy" if chain.entropies is not None:
                return entropy_cut(state, chain.entropies)
            case int():
                return min(cut, last_cut(state))
            case _:
                return uniform_cut(state, rng)


def _checked_count(count: int, most: int) -> int:
    if not 0 <= count <= most:
        raise ConfigError(
            f"cut must return a number of steps in 0..{most}, got {count!r}; the policy always "
            "rewrites the last step"
        )
    return count


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    is_cut = name == "cut" and (value is None or callable(value))
    if name == "cut" and isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ConfigError(f"cut must be at least 0 steps, got {value!r}")
        is_cut = True
    if not is_cut and value not in choices:
        raise ConfigError(
            f"{name} must be one of {', '.join(choices)}"
            f"{', a number of steps, a function or None' if name == 'cut' else ''}, "
            f"got {shown(value)}{did_you_mean(str(value), choices)}"
        )


def _listed(states: object) -> list[Any]:
    is_single = isinstance(states, (ReasonState, Mapping))
    if isinstance(states, Iterable) and not is_single:
        return list(cast("Iterable[Any]", states))
    raise ConfigError(
        f"states must be states or a JSONL file of them, got {shown(cast('object', states))}; put "
        "a single state in a list"
    )


def _plain(item: Any) -> dict[str, Any]:
    """The state as a JSON-able dict, for the spec."""
    if isinstance(item, ReasonState):
        return item.to_dict()
    try:
        read = json.loads(item) if isinstance(item, str) else item
    except ValueError:
        read = None
    if not isinstance(read, Mapping):
        raise StateError(
            f"each of states must be a ReasonState, its dict or its JSON, got {shown(item)}; take "
            "it from env.unwrapped.state"
        )
    return dict(cast("Mapping[str, Any]", read))


def _read_file(path: Path) -> list[Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"states must be states or a JSONL file of them, got {shown(str(path))}; "
            f"{error.strerror}"
        ) from error
    rows: list[Any] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            rows.append(row.get("final_state", row))
        except (AttributeError, ValueError) as error:
            raise StateError(
                f"{path.name} line {number} must be a JSON object, got {shown(line)}; write states "
                "with to_json(), one a line"
            ) from error
    return rows
