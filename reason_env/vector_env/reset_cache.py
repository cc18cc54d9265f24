"""Openings: how an episode of a vector environment begins, kept for the problems drawn last.

A prompt is rendered and tokenized once for each problem and not once for each episode: a group
samples one problem many times, and an epoch comes back to all of them. Starts that are not the
initial state of a problem (given states, start functions) are made anew each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_env.env import ReasonEnv, drawn
from reason_env.problem import Problem
from reason_env.state import ReasonState

KEPT_PROBLEMS = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """What a reset shows."""

    state: ReasonState
    prompt_ids: np.ndarray[Any, np.dtype[np.int32]]
    """[P]."""
    info: tuple[Any, ...]
    """The values of `ReasonEnv.info_of`, in its order."""


class Openings:
    """The openings of one environment's episodes.

    >>> env = ReasonEnv("chain", size=2, granularity="token", format="tokens")
    >>> openings, rng = Openings(env), np.random.default_rng(0)
    >>> first = openings.chosen({"problem": "chain/train/1"}, rng)
    >>> first is openings.chosen({"problem": "chain/train/1"}, rng), first.state.response
    (True, ())
    """

    def __init__(self, env: ReasonEnv) -> None:
        """Keeps nothing yet.

        Args:
            env: Gives problems, prompts and infos; its own episode is not touched.
        """
        self._env = env
        self._kept: dict[str, Opening] = {}

    def chosen(self, options: Mapping[str, Any], rng: np.random.Generator) -> Opening:
        """Returns the opening that `ReasonEnv.reset` with these options has.

        Args:
            options: As for `ReasonEnv.reset`.
            rng: Draws the problem where the options give none.

        Raises:
            ConfigError: As `ReasonEnv.reset`.
            StateError: As `ReasonEnv.reset`.
            UnknownNameError: As `ReasonEnv.reset`.
        """
        if not options:
            return self._initial(drawn(self._env.problems, rng), rng)
        if list(options) == ["problem"]:
            return self._initial(self._env.problems.by_id(str(options["problem"])), rng)
        return self._made(options, rng)

    def _initial(self, problem: Problem, rng: np.random.Generator) -> Opening:
        name = problem.problem_id
        opening = self._kept.get(name)
        if opening is None:
            opening = self._made({"problem": name}, rng)
            if len(self._kept) >= KEPT_PROBLEMS:
                # The oldest; dictionaries keep the order of insertion.
                del self._kept[next(iter(self._kept))]
            self._kept[name] = opening
        return opening

    def _made(self, options: Mapping[str, Any], rng: np.random.Generator) -> Opening:
        state, prompt_ids = self._env.start(options, lambda: rng)
        return Opening(
            state=state,
            prompt_ids=np.array(prompt_ids, dtype=np.int32),
            info=tuple(self._env.info_of(state).values()),
        )
