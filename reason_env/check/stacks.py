"""The checks that need a stack on `ReasonEnv`: leaks, hash seeds, the fork law, two stacks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_match import check_environments_match

from reason_env.check.hash_seeds import same_under_hash_seeds
from reason_env.check.report import Check, made, need
from reason_env.check.tasks import tasks_are_apart
from reason_env.env import ReasonEnv, reason_env_of
from reason_env.problems import reference_response
from reason_env.snapshot import restore, snapshot
from reason_env.state import ReasonState


def stack_checks(env: gym.Env[Any, Any], seeds: Sequence[int]) -> tuple[Check, ...]:
    """Returns what a stack on `ReasonEnv` is checked for beside what any task is."""
    make = _maker(env)
    return (
        made("no solution in the observation", lambda: _no_leak(env, seeds)),
        made("same seed under PYTHONHASHSEED", lambda: _hash_seeds(env, seeds)),
        made("fork law", lambda: _fork_law(env, make, seeds)),
        made("two instances are apart", lambda: _stacks_are_apart(make, seeds)),
    )


class StackTask:
    """A stack on `ReasonEnv` as a `ReasoningTask`, at any granularity and format."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._inner = reason_env_of(env)

    def begin(self, seed: int) -> str:
        """Starts an episode; returns the observation's text, or its ids as text."""
        observation, _ = self._env.reset(seed=seed)
        return (
            observation if isinstance(observation, str) else str(np.asarray(observation).tolist())
        )

    def respond(self, text: str) -> float:
        """Says the text and ends the response; returns the sum of rewards."""
        total = 0.0
        for action in actions_of(self._inner, text):
            _, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return total

    def reference(self) -> str:
        """Returns what is left of the reference response after the start's prefix."""
        state = self._inner.state
        whole = reference_response(state.problem, state.codec.step_delimiter)
        # A start after somebody's own steps goes on with the answer line alone.
        return (
            whole.removeprefix(state.text)
            if whole.startswith(state.text)
            else (state.codec.step_delimiter + whole.rsplit(state.codec.step_delimiter, 1)[-1])
        )

    def solution(self) -> tuple[str, ...]:
        """Returns the reference steps of the problem, wherever the episode starts."""
        return self._inner.state.problem.solution


def actions_of(env: ReasonEnv, text: str) -> list[Any]:
    """Returns the actions that say `text` and then end the response."""
    layout, codec = env.layout, env.codec
    if layout.granularity == "response":
        return [text if layout.format == "text" else codec.encode(text)]
    if layout.format == "text":
        return [text, ""]
    if layout.granularity == "step":
        return [codec.encode(text), ()]
    return [*codec.encode(text), codec.eos_id]


def _no_leak(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    """With another answer and no solution, the observation without guidance is the same."""
    inner = reason_env_of(env)
    for seed in seeds:
        env.reset(seed=seed)
        state = inner.state.without_guidance()
        blank = replace(state, problem=replace(state.problem, answer="ANSWER", solution=()))
        need(
            inner.prompt.token_ids(state) == inner.prompt.token_ids(blank),
            f"the prompt of {state.problem.problem_id!r} shows its reference",
        )
        observation, info = env.reset(options={"state": state})
        need(info["privileged_context"] == "", "privileged_context is shown without guidance")
        need(_contains(inner, observation, blank), "the observation is not prompt and response")
    return None


def _contains(env: ReasonEnv, observation: Any, state: ReasonState) -> bool:
    if isinstance(observation, str):
        return observation == env.prompt.text(state) + state.text
    ids = env.prompt.token_ids(state) + state.response
    padding = (env.codec.pad_id,) * (len(observation) - len(ids))
    return tuple(observation) == ids + padding


_PROGRAM = """
import gymnasium as gym
import reason_env
from gymnasium.envs.registration import EnvSpec
from reason_env.check.stacks import StackTask
task = StackTask(gym.make(EnvSpec.from_json({spec!r})))
"""


def _hash_seeds(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    text = _spec_json(env)
    if text is None:
        return "the stack has no JSON spec, so no other process can make it"
    return same_under_hash_seeds(_PROGRAM.format(spec=text), seeds)


def _fork_law(
    env: gym.Env[Any, Any], make: Callable[[], gym.Env[Any, Any]] | None, seeds: Sequence[int]
) -> str | None:
    if make is None:
        return "the stack has no JSON spec, so no second one can be made"
    fork = make()
    for seed in seeds[:5]:
        env.reset(seed=seed)
        env.action_space.seed(seed)
        env.step(env.action_space.sample())
        restore(fork, snapshot(env))
        need(snapshot(fork) == snapshot(env), f"the snapshot of a fork differs, seed {seed}")
        check_environments_match(env, fork, num_steps=10, seed=seed)
    return None


def _stacks_are_apart(
    make: Callable[[], gym.Env[Any, Any]] | None, seeds: Sequence[int]
) -> str | None:
    if make is None:
        return "the stack has no JSON spec, so no second one can be made"
    return tasks_are_apart(lambda: StackTask(make()), seeds)


def _spec_json(env: gym.Env[Any, Any]) -> str | None:
    try:
        return None if env.spec is None else env.spec.to_json()
    except (TypeError, ValueError):
        return None


def _maker(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]] | None:
    text = _spec_json(env)
    return None if text is None else lambda: gym.make(EnvSpec.from_json(text))
