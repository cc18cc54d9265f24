"""ResetCache: the start of an episode, kept for the problems drawn last.

A prompt is rendered and tokenized once per problem and not once per episode: a group samples one
problem many times, and each epoch returns to all of them. Other starts than a problem's initial
state (given states, start functions) are computed at each reset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.env import ReasonEnv, draw_problem
from reason_env.problem import Problem
from reason_env.state import ReasonState

MAX_PROBLEMS = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeStart:
    """What a reset returns."""

    state: ReasonState
    prompt_ids: np.ndarray[Any, np.dtype[np.int32]]
    """[P]."""
    info: tuple[Any, ...]
    """The values of `ReasonEnv.info_of`, in its order."""


class ResetCache:
    """The episode starts of one environment.

    >>> env = ReasonEnv("chain", size=2, granularity="token", format="tokens")
    >>> cache, rng = ResetCache(env), np.random.default_rng(0)
    >>> first = cache.get({"problem": "chain/train/1"}, rng)
    >>> first is cache.get({"problem": "chain/train/1"}, rng), first.state.response
    (True, ())
    """

    def __init__(self, env: ReasonEnv) -> None:
        """Create an empty cache.

        Args:
            env: Provides problems, prompts and infos; its own episode does not change.
        """
        self._env = env
        self._starts: dict[str, EpisodeStart] = {}

    def get(self, options: Mapping[str, Any], rng: np.random.Generator) -> EpisodeStart:
        """Find the start that `ReasonEnv.reset` with these options would choose.

        Args:
            options: As for `ReasonEnv.reset`.
            rng: Draws the problem if the options name none.

        Raises:
            ConfigError: As `ReasonEnv.reset`.
            StateError: As `ReasonEnv.reset`.
            UnknownNameError: As `ReasonEnv.reset`.
        """
        if not options:
            return self._initial(draw_problem(self._env.problems, rng), rng)
        if list(options) == ["problem"]:
            return self._initial(self._env.problems.by_id(str(options["problem"])), rng)
        return self._compute(options, rng)

    def _initial(self, problem: Problem, rng: np.random.Generator) -> EpisodeStart:
        name = problem.problem_id
        start = self._starts.get(name)
        if start is None:
            start = self._compute({"problem": name}, rng)
            if len(self._starts) >= MAX_PROBLEMS:
                # The oldest; dictionaries keep the order of insertion.
                del self._starts[next(iter(self._starts))]
            self._starts[name] = start
        return start

    def _compute(self, options: Mapping[str, Any], rng: np.random.Generator) -> EpisodeStart:
        state, prompt_ids = self._env.start(options, lambda: rng)
        return EpisodeStart(
            state=state,
            prompt_ids=np.array(prompt_ids, dtype=np.int32),
            info=tuple(self._env.info_of(state).values()),
        )
