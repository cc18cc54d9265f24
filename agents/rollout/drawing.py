"""Draw starts: where the wrappers of a stack let episodes begin.

A start is drawn once, and any number of episodes begin there later, after other starts were drawn.
So a drawn start holds what its wrappers remember of it: `collect` gives it back to them before each
episode, and the episode counts for a schedule as one of a plain reset does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from reason_env.env import StartMemories, reason_env_of, start_memories
from reason_env.errors import ConfigError
from reason_env.state import ReasonState

MOST_REDRAWS = 1000
"""Draws of a start, times the share of problems that are allowed, after which to give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnStart:
    """A start that a stack made."""

    state: ReasonState
    memories: StartMemories
    """What the stack's start wrappers remember of it."""


def initial_states(
    env: gym.Env[Any, Any], problem_ids: Sequence[str], *, seed: int
) -> list[ReasonState]:
    """Reset the stack to each problem and give the states; start wrappers act."""
    return [one.state for one in initial_starts(env, problem_ids, seed=seed)]


def initial_starts(
    env: gym.Env[Any, Any], problem_ids: Sequence[str], *, seed: int
) -> list[DrawnStart]:
    """Reset the stack to each problem and give the starts; start wrappers act."""
    starts: list[DrawnStart] = []
    for index, problem_id in enumerate(problem_ids):
        env.reset(seed=seed if index == 0 else None, options={"problem": problem_id})
        starts.append(_drawn(env))
    return starts


def chosen_starts(
    env: gym.Env[Any, Any], num: int, *, among: Collection[str], seed: int
) -> list[DrawnStart]:
    """Reset the stack `num` times without naming a problem: its wrappers choose.

    Args:
        env: The stack; see `chooses_problems`.
        num: Number of starts.
        among: Ids of the problems that may be drawn. A start of another problem is drawn again.
        seed: Seeds the first reset.

    Raises:
        ConfigError: The stack draws none of these problems.
    """
    inner = reason_env_of(env, format="tokens")
    allowed = frozenset(among)
    most = MOST_REDRAWS * max(1, len(inner.problems) // max(1, len(allowed)))
    starts: list[DrawnStart] = []
    own_seed: int | None = seed
    for _ in range(num):
        for _ in range(most):
            env.reset(seed=own_seed)
            own_seed = None
            if inner.state.problem.problem_id in allowed:
                starts.append(_drawn(env))
                break
        else:
            raise ConfigError(
                f"the wrappers must choose problems that the method trains on, got none of its "
                f"{len(allowed)} in {most} draws; give Curriculum a floor above 0, or leave the "
                "wrapper out"
            )
    return starts


def _drawn(env: gym.Env[Any, Any]) -> DrawnStart:
    state = reason_env_of(env, format="tokens").state
    return DrawnStart(state=state, memories=start_memories(env))
