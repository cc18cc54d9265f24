"""Turn the options of `reset` into the open state where an episode begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from reason_env.codec import Codec
from reason_env.env.info import outcome_name
from reason_env.errors import ConfigError, StateError, did_you_mean, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.state import EpisodeRules, ReasonState, is_over

RESET_OPTIONS = ("problem", "state")
STARTS_OPTION = "starts"
START_MEMORIES_OPTION = "start_memories"
StartMemories = Sequence[Mapping[str, Any]]
"""What the start wrappers of a stack remember of one start, JSON-able; the outermost first."""


def draw_problem(problems: ProblemSet, rng: np.random.Generator) -> Problem:
    """Draw a problem uniformly."""
    return problems[int(rng.integers(len(problems)))]


@runtime_checkable
class ProblemChooser(Protocol):
    """A wrapper that may choose the problem of a reset that names none."""

    @property
    def chooses_problems(self) -> bool:
        """Whether it does with its settings."""
        ...


def chooses_problems(env: gym.Env[Any, Any]) -> bool:
    """Whether a wrapper of a stack chooses the problem of a reset that names none.

    Training then leaves the choice to the stack. Otherwise each problem comes once an epoch, which
    has the same distribution as the environment's uniform draw, and less variance.
    """
    return any(
        isinstance(layer, ProblemChooser) and layer.chooses_problems for layer in layers_of(env)
    )


@runtime_checkable
class StartMaker(Protocol):
    """A wrapper that moves the start, and remembers how until the episode ends."""

    def start_memory(self) -> dict[str, Any]:
        """What it remembers of this episode's start, JSON-able."""
        ...


def start_memories(env: gym.Env[Any, Any]) -> StartMemories:
    """What the start wrappers of a stack remember of how they made this episode's start.

    With it, further episodes can begin at that start and count for the wrappers as its own:
    `reset(options={"state": s, "start_memories": memories})`.
    """
    return tuple(layer.start_memory() for layer in layers_of(env) if isinstance(layer, StartMaker))


def layers_of(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """The layers of a stack from the outside in, the environment included."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


@dataclass(frozen=True, slots=True, kw_only=True)
class StartResolver:
    """Finds start states: of these problems and this codec, and open under the rules."""

    problems: ProblemSet
    codec: Codec
    rules: EpisodeRules

    def resolve(
        self, options: Mapping[str, Any], rng: Callable[[], np.random.Generator]
    ) -> ReasonState:
        """Find the state that `ReasonEnv.reset` starts from.

        Args:
            options: As for `ReasonEnv.reset`.
            rng: Returns the generator that draws the problem; called only for a draw.

        Raises:
            ConfigError: An unknown option, or a state together with another one.
            StateError: A state of another problem set or codec, malformed, or already over.
            UnknownNameError: No such problem.
        """
        unknown = [key for key in options if key not in (*RESET_OPTIONS, STARTS_OPTION)]
        if unknown:
            raise ConfigError(
                f"reset options must be among {', '.join(RESET_OPTIONS)}, got {unknown[0]!r}"
                f"{did_you_mean(str(unknown[0]), RESET_OPTIONS)}"
            )
        if "state" in options and len(options) > 1:
            raise ConfigError(
                "reset options must be a problem or a state, got both; a state holds its problem"
                if "problem" in options
                else "reset options must be a state or starts, got both; a state is the start"
            )
        if "state" in options:
            return self.read_open(options["state"])
        if "problem" in options:
            problem = self.problems.by_id(str(options["problem"]))
        else:
            problem = draw_problem(self.problems, rng())
        state = initial = ReasonState(problem=problem, codec=self.codec)
        for start in options.get(STARTS_OPTION, ()):
            state = start(state)
        return state if state is initial else self.read_open(state)

    def read(self, given: ReasonState | Mapping[str, Any] | str) -> ReasonState:
        """Read a state, its dict or its JSON; check that it is of this problem set and codec.

        Raises:
            StateError: The state is malformed, or of another codec or problem set.
            UnknownNameError: No such problem.
        """
        state: object = given
        if isinstance(given, str):
            state = ReasonState.from_json(given, self.codec)
        elif isinstance(given, Mapping):
            state = ReasonState.from_dict(dict(given), self.codec)
        if not isinstance(state, ReasonState):
            raise StateError(
                f"options['state'] must be a ReasonState, its dict or its JSON, got {shown(given)}"
            )
        if state.codec.codec_id != self.codec.codec_id:
            raise StateError(
                f"state must be of codec {self.codec.codec_id!r}, got {state.codec.codec_id!r}; "
                "make it with this environment's codec"
            )
        known = self.problems.by_id(state.problem.problem_id)
        if known != state.problem:
            raise StateError(
                f"state must hold this set's problem {known.problem_id!r}, got one with the same "
                "id and other content; load the problem set that the state was made with"
            )
        return state

    def read_open(self, given: Any) -> ReasonState:
        """Read a state as `read` does; it must be open.

        Raises:
            StateError: The state is over, holds the end token, or fails `read`.
            UnknownNameError: No such problem.
        """
        state = self.read(given)
        ends = [end for end in self.codec.end_ids if end in state.response]
        if state.verdict is None and ends:
            raise StateError(
                f"an open state must not hold the end token {ends[0]}, got one that "
                "does; cut() it first"
            )
        if is_over(state, self.rules):
            raise StateError(
                f"state must be open, got one that is over ({outcome_name(state, self.rules)}, "
                f"{len(state.response)} of {self.rules.max_tokens} tokens); cut() it first"
            )
        return state
