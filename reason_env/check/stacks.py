"""The checks of a stack on `ReasonEnv`: leaks, hash seeds, the fork law, independence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_match import check_environments_match

from reason_env.check.hash_seeds import check_hash_seeds
from reason_env.check.report import Check, require, run_check
from reason_env.check.tasks import check_independence
from reason_env.env import ReasonEnv, reason_env_of
from reason_env.problems import reference_response
from reason_env.snapshot import restore, snapshot
from reason_env.state import ReasonState


def stack_checks(env: gym.Env[Any, Any], seeds: Sequence[int]) -> tuple[Check, ...]:
    """Run the checks that only a stack on `ReasonEnv` supports."""
    make = _builder(env)
    return (
        run_check("no solution in the observation", lambda: _no_leak(env, seeds)),
        run_check("same seed under PYTHONHASHSEED", lambda: _hash_seeds(env, seeds)),
        run_check("fork law", lambda: _fork_law(env, make, seeds)),
        run_check("two instances are apart", lambda: _independence(make, seeds)),
        run_check("a text in pieces is the text", lambda: _pieces(env, seeds)),
    )


class StackTask:
    """A stack on `ReasonEnv` as a `ReasoningTask`, at any granularity and format."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._inner = reason_env_of(env)

    def begin(self, seed: int) -> str:
        """Start an episode; return the observation's text, or its ids as text."""
        observation, _ = self._env.reset(seed=seed)
        return (
            observation if isinstance(observation, str) else str(np.asarray(observation).tolist())
        )

    def respond(self, text: str) -> float:
        """Respond with the text, end the response, and return the sum of rewards."""
        total = 0.0
        for action in actions_of(self._inner, text):
            _, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return total

    def reference(self) -> str:
        """The rest of the reference response after the start's prefix."""
        state = self._inner.state
        whole = reference_response(state.problem, state.codec.step_delimiter)
        # After other steps than the reference's, only the answer line follows.
        return (
            whole.removeprefix(state.text)
            if whole.startswith(state.text)
            else (state.codec.step_delimiter + whole.rsplit(state.codec.step_delimiter, 1)[-1])
        )

    def solution(self) -> tuple[str, ...]:
        """All reference steps of the problem, whatever the start."""
        return self._inner.state.problem.solution


def actions_of(env: ReasonEnv, text: str) -> list[Any]:
    """The actions that write `text` and then end the response."""
    layout, codec = env.layout, env.codec
    if layout.granularity == "response":
        return [text if layout.format == "text" else codec.encode(text)]
    if layout.format == "text":
        return [text, ""]
    if layout.granularity == "step":
        return [codec.encode(text), ()]
    return [*codec.encode(text), codec.eos_id]


def _no_leak(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    """Another answer and no solution must leave the observation without guidance unchanged."""
    inner = reason_env_of(env)
    for seed in seeds:
        env.reset(seed=seed)
        state = inner.state.without_guidance()
        blank = replace(state, problem=replace(state.problem, answer="ANSWER", solution=()))
        require(
            inner.prompt.token_ids(state) == inner.prompt.token_ids(blank),
            f"the prompt of {state.problem.problem_id!r} shows its reference",
        )
        observation, info = env.reset(options={"state": state})
        require(info["privileged_context"] == "", "privileged_context is shown without guidance")
        require(_contains(inner, observation, blank), "the observation is not prompt and response")
    return None


def _pieces(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    """Steps, and with text actions characters, that are encoded one by one must decode to them.

    A tokenizer that puts a space before each text spaces out prefixes and the actions of a policy.
    """
    inner = reason_env_of(env)
    codec, layout = inner.codec, inner.layout
    for seed in seeds:
        env.reset(seed=seed)
        text = reference_response(inner.state.problem, codec.step_delimiter)
        pieces = [step + codec.step_delimiter for step in text.split(codec.step_delimiter)]
        if (layout.granularity, layout.format) == ("token", "text"):
            pieces = [*"".join(pieces)]
        ids = [token for piece in pieces for token in codec.encode(piece)]
        written, wanted = codec.decode(ids), "".join(pieces)
        differs = (at for at in range(len(wanted)) if written[at : at + 1] != wanted[at])
        place = next(differs, 0)
        require(
            written == wanted,
            f"{wanted[place : place + 20]!r} of the reference of seed {seed} is read as "
            f"{written[place : place + 20]!r} if its pieces are encoded one by one; use another "
            "tokenizer",
        )
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
        return "the stack has no JSON spec, so that no other process can build it"
    return check_hash_seeds(_PROGRAM.format(spec=text), seeds)


def _fork_law(
    env: gym.Env[Any, Any], make: Callable[[], gym.Env[Any, Any]] | None, seeds: Sequence[int]
) -> str | None:
    if make is None:
        return "the stack has no JSON spec, so that no second one can be built"
    fork = make()
    for seed in seeds[:5]:
        env.reset(seed=seed)
        env.action_space.seed(seed)
        env.step(env.action_space.sample())
        restore(fork, snapshot(env))
        require(snapshot(fork) == snapshot(env), f"the snapshot of a fork differs, seed {seed}")
        check_environments_match(env, fork, num_steps=10, seed=seed)
    return None


def _independence(make: Callable[[], gym.Env[Any, Any]] | None, seeds: Sequence[int]) -> str | None:
    if make is None:
        return "the stack has no JSON spec, so that no second one can be built"
    return check_independence(lambda: StackTask(make()), seeds)


def _spec_json(env: gym.Env[Any, Any]) -> str | None:
    try:
        return None if env.spec is None else env.spec.to_json()
    except (TypeError, ValueError):
        return None


def _builder(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]] | None:
    text = _spec_json(env)
    return None if text is None else lambda: gym.make(EnvSpec.from_json(text))
