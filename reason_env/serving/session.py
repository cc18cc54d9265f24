"""Sessions: an environment behind JSON messages, as a server of any protocol gives them.

What arrives is checked here, since whoever sends it may be anyone: a wrong message raises a
`ReasonEnvError` in one line, and the episode goes on. What leaves is JSON.

A state on the wire names its problem by the id, so that no reference answer leaves the server. A
snapshot holds the whole stack, random generators included: a session that begins with it continues
exactly as the one that sent it.

Not covered: which bytes a message consists of, and who may send it (`gate.py`).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from reason_env.codec import Codec
from reason_env.env import (
    STARTS_OPTION,
    EnvConfig,
    Format,
    Granularity,
    ReasonEnv,
    reason_env_of,
    recorders,
)
from reason_env.errors import (
    ActionError,
    ConfigError,
    StateError,
    UnknownNameError,
    did_you_mean,
    shown,
)
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import restore, snapshot
from reason_env.state import (
    Guidance,
    ReasonState,
    answer_guidance,
    checked_fraction,
    next_step_guidance,
    partial_solution_guidance,
    with_reference_prefix,
)

Message = Mapping[str, Any]
Start = Callable[[ReasonState], ReasonState]
RESET_KEYS = (
    "seed", "episode_id", "problem", "split", "index", "state", "snapshot", "prefix",
    "reference_steps", "hint",
)  # fmt: skip
OF_REFERENCE = ("answer", "partial_solution", "next_step")
"""Kinds of hints that the server takes from the problem; other kinds bring their own pieces."""
MAX_SEED = 2**63 - 1
MAX_ID_CHARS = 255


class Sessions:
    """Makes sessions of one environment; they share its problems and codec, and nothing else."""

    def __init__(
        self,
        config: EnvConfig,
        codec: Codec,
        *,
        granularity: Granularity = "step",
        format: Format = "text",  # noqa: A002 - the environment's name for it
    ) -> None:
        """Build the environment once.

        Args:
            config: The environment; its wrappers act in every session, each with its own memory.
            codec: Tokens that actions and limits are counted in.
            granularity: What one action is; see `ReasonEnv`.
            format: "text" or "tokens"; see `ReasonEnv`.

        Raises:
            ConfigError: A wrapper writes a file, or changes the form of observations.
            StateError: A wrapper cannot be saved in a snapshot.
        """
        env = config.make(codec, granularity=granularity, format=format)
        inner = reason_env_of(env)
        if recorders(env):
            raise ConfigError(
                "a served environment must have no wrapper that writes a file, got "
                f"{type(recorders(env)[0]).__name__}; record on the client's side"
            )
        if env.observation_space != inner.observation_space:
            raise ConfigError(
                "a served environment must have observations of MathReason-v0, got "
                f"{shown(env.observation_space)}; leave out the wrapper that changes them"
            )
        self.split = str(inner.spec.kwargs.get("split", "train")) if inner.spec else "train"
        self.problems: ProblemSet = inner.problems
        self._env = env
        self._shared = {id(shared): shared for shared in (inner.problems, inner.codec)}
        # Of a copy: it seeds the generators, which every session must do for itself.
        snapshot(self().env)

    def __call__(self) -> "Session":
        """Make a session, whose random generators are seeded from fresh entropy."""
        return Session(copy.deepcopy(self._env, dict(self._shared)), self.split)

    def task(self, split: str, index: int) -> dict[str, Any]:
        """Name a problem by its place in the set.

        Raises:
            UnknownNameError: There is no such place, or the server has another split.
        """
        self.check_split(split)
        return _task(self.problems, _place(self.problems, index))

    def tasks(self, split: str, start: int | None, stop: int | None) -> list[dict[str, Any]]:
        """Name the problems of a range, as a slice does."""
        self.check_split(split)
        places = range(len(self.problems))[start:stop]
        return [_task(self.problems, place) for place in places]

    def check_split(self, split: str) -> None:
        """Raise if a split is not the server's.

        Raises:
            UnknownNameError: It is not.
        """
        _check_split(split, self.split)


class Session:
    """One client's environment: an episode at a time."""

    def __init__(self, env: gym.Env[Any, Any], split: str = "train") -> None:
        """Serve `env`; `split` is the name of its problems' split."""
        self.env = env
        self.inner: ReasonEnv = reason_env_of(env)
        self._split = split
        self._has_begun = False
        self._num_actions = 0
        self._episode_id: str | None = None
        self._num_prompt = 0

    def reset(self, message: Message) -> dict[str, Any]:
        """Begin an episode; return its first observation.

        Args:
            message: Any of `seed`; `episode_id`, which `state` returns; `problem` (an id), or
                `split` and `index`; `state` or `snapshot`, as `state` returned them; `prefix`
                (text, or ids if the format is "tokens") and `reference_steps` (a number), which
                the response begins with, and which are no tokens of the policy; `hint`, which the
                prompt shows: "answer", "partial_solution" or "next_step", or an object of `kind`
                and `strength`, or of `kind` and `pieces`.

        Raises:
            ReasonEnvError: The message is malformed, contradicts itself, or names no open state;
                the episode before it goes on.
        """
        given = {name: value for name, value in message.items() if value is not None}
        for name in given:
            if name not in RESET_KEYS:
                raise ConfigError(
                    f"reset has no argument {shown(name)}{did_you_mean(str(name), RESET_KEYS)}"
                )
        seed, episode_id = _seed(given.get("seed")), _episode_id(given.get("episode_id"))
        if "snapshot" in given:
            return self._restore(given, episode_id)
        options = self._options(given)
        obs, info = self.env.reset(seed=seed, options=options)
        return self._begun(obs, info, episode_id)

    def step(self, action: Any) -> dict[str, Any]:
        """Take one action, a text or a list of ids; return the observation after it.

        Raises:
            ReasonEnvError: No episode has begun, it is over, or the action is of the other format.
        """
        if not self._has_begun:
            raise StateError(
                "an episode must begin by reset, got step; a request over HTTP has a session of "
                "its own: connect to /ws"
            )
        tokens = self._action(action)
        obs, reward, terminated, truncated, info = self.env.step(tokens)
        self._num_actions += 1
        return self._seen(
            obs, info, reward=float(reward), terminated=bool(terminated), truncated=bool(truncated)
        )

    def state(self) -> dict[str, Any]:
        """The episode as values: what `reset` accepts as `state` and `snapshot`."""
        found: dict[str, Any] = {
            "episode_id": self._episode_id,
            "step_count": self._num_actions,
            "reason_state": None,
            "snapshot": None,
        }
        if self._has_begun:
            found["reason_state"] = to_wire(self.inner.state)
            found["snapshot"] = snapshot(self.env)
        return found

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _restore(self, given: dict[str, Any], episode_id: str | None) -> dict[str, Any]:
        others = [name for name in given if name not in ("snapshot", "episode_id")]
        if others:
            raise ConfigError(
                f"a snapshot must come alone, got {others[0]} too; it holds the whole episode"
            )
        restore(self.env, given["snapshot"])
        inner = self.inner
        try:
            info = inner.info_of(inner.state)
        except ResetNeeded as error:
            self._has_begun = False
            raise StateError(
                "a snapshot must be of an episode, got one from before the first reset; send reset "
                "without it"
            ) from error
        return self._begun(inner.observation(), info, episode_id)

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options of `reset`: where the episode begins."""
        inner, starts = self.inner, self._starts(given)
        problem = self._problem(given)
        if "state" in given:
            if problem is not None:
                raise ConfigError("reset must name a problem or a state, got both")
            state = from_wire(given["state"], inner)
            for start in starts:
                state = start(state)
            return {"state": state}
        options: dict[str, Any] = {} if problem is None else {"problem": problem}
        return options | ({STARTS_OPTION: starts} if starts else {})

    def _problem(self, given: dict[str, Any]) -> str | None:
        if "index" in given or "split" in given:
            _check_split(given.get("split", self._split), self._split)
            if "problem" in given or "index" not in given:
                raise ConfigError(
                    "split must come with an index, and without a problem, got "
                    f"{', '.join(sorted(given))}; name a problem, or its split and index"
                )
            problems = self.inner.problems
            return problems[_place(problems, given["index"])].problem_id
        problem = given.get("problem")
        if problem is not None and not isinstance(problem, str):
            raise ConfigError(f"problem must be an id, got {shown(problem)}")
        return problem

    def _starts(self, given: dict[str, Any]) -> tuple[Start, ...]:
        """What moves the start, in order: a prefix is there before a hint of the next step."""
        starts: list[Start] = []
        if "reference_steps" in given:
            starts.append(partial(_after_reference, num_steps=given["reference_steps"]))
        if "prefix" in given:
            tokens = self._ids(given["prefix"], "prefix")
            starts.append(partial(ReasonState.extend, tokens=tokens, source="reset"))
        if "hint" in given:
            starts.append(partial(_hinted, hint=given["hint"]))
        return tuple(starts)

    def _action(self, action: Any) -> Any:
        """The action as the environment takes it."""
        if self.inner.layout.format == "text":
            if not isinstance(action, str):
                raise ActionError(f"an action must be a text, got {shown(action)}")
            return action
        ids = self._ids(action, "an action")
        if self.inner.layout.granularity != "token":
            return ids
        if len(ids) != 1:
            raise ActionError(f"an action must be a single id, got {len(ids)}")
        return ids[0]

    def _ids(self, given: Any, what: str) -> tuple[int, ...]:
        """Token ids of a text, or of a list of ids, as the format says."""
        if self.inner.layout.format == "text":
            if not isinstance(given, str):
                raise ActionError(f"{what} must be a text, got {shown(given)}")
            return tuple(self.inner.codec.encode(given))
        if not isinstance(given, list):
            raise ActionError(f"{what} must be a list of token ids, got {shown(given)}")
        ids = cast("list[Any]", given)
        if not {int}.issuperset(map(type, ids)):
            raise ActionError(f"{what} must be a list of token ids, got {shown(ids)}")
        return tuple(ids)

    def _begun(self, obs: Any, info: Message, episode_id: str | None) -> dict[str, Any]:
        state = self.inner.state
        self._has_begun, self._num_actions, self._episode_id = True, 0, episode_id
        if self.inner.layout.format == "tokens":
            self._num_prompt = len(self.inner.prompt.token_ids(state))
        return self._seen(
            obs,
            info,
            reward=None,
            terminated=state.verdict is not None,
            truncated=info["outcome"] == "truncated",
        )

    def _seen(
        self, obs: Any, info: Message, *, reward: float | None, terminated: bool, truncated: bool
    ) -> dict[str, Any]:
        """An observation as JSON; ids without padding."""
        is_text = isinstance(obs, str)
        size = self._num_prompt + len(self.inner.state.response)
        return {
            "text": obs if is_text else None,
            "token_ids": None if is_text else np.asarray(obs)[:size].tolist(),
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "info": {name: _plain(value) for name, value in info.items()},
        }


def to_wire(state: ReasonState) -> dict[str, Any]:
    """A state as JSON, with its problem's id in place of the problem."""
    found = state.to_dict()
    found["problem"] = state.problem.problem_id
    return found


def from_wire(given: Any, env: ReasonEnv) -> ReasonState:
    """Read what `to_wire` or `ReasonState.to_dict` wrote, or its JSON text.

    Raises:
        StateError: It is no state of this environment.
        UnknownNameError: No such problem.
    """
    if isinstance(given, Mapping):
        fields = dict(cast("Message", given))
        name = fields.get("problem")
        if not isinstance(name, str):
            return env.read_state(fields)
        problem = env.problems.by_id(name)
        # Read with a problem that tells nothing, since a refusal shows what was read.
        fields["problem"] = Problem(problem_id=name, question="?", answer="?").to_dict()
        state = ReasonState.from_dict(fields, env.codec)
        return env.read_state(replace(state, problem=problem))
    if not isinstance(given, str):
        raise StateError(f"state must be an object or its JSON text, got {shown(given)}")
    return env.read_state(given)


def _seed(given: Any) -> int | None:
    if given is None or (type(given) is int and 0 <= given <= MAX_SEED):
        return given
    raise ConfigError(f"seed must be a whole number in 0..{MAX_SEED}, got {shown(given)}")


def _episode_id(given: Any) -> str | None:
    if given is None or (isinstance(given, str) and len(given) <= MAX_ID_CHARS):
        return given
    raise ConfigError(
        f"episode_id must be a text of at most {MAX_ID_CHARS} characters, got {shown(given)}"
    )


def _check_split(split: Any, own: str) -> None:
    if split != own:
        raise UnknownNameError(f"no split {shown(split)} here; choose {own!r}")


def _place(problems: ProblemSet, index: Any) -> int:
    if type(index) is not int or not 0 <= index < len(problems):
        raise UnknownNameError(
            f"no problem at index {shown(index)}; choose one in 0..{len(problems) - 1}"
        )
    return index


def _task(problems: ProblemSet, place: int) -> dict[str, Any]:
    problem = problems[place]
    return {"id": problem.problem_id, "index": place, "level": problem.level}


def _after_reference(state: ReasonState, num_steps: Any) -> ReasonState:
    steps = len(state.problem.solution)
    if type(num_steps) is not int or not 0 <= num_steps <= steps:
        raise ConfigError(
            f"reference_steps must be a whole number in 0..{steps}, got {shown(num_steps)}; "
            f"{state.problem.problem_id!r} has {steps} steps"
        )
    return with_reference_prefix(state, num_steps)


def _hinted(state: ReasonState, hint: Any) -> ReasonState:
    fields: dict[str, Any] = {"kind": hint} if isinstance(hint, str) else _hint_fields(hint)
    kind, pieces = fields.get("kind"), fields.get("pieces")
    if kind in OF_REFERENCE and pieces is None:
        guidance = _of_reference(state, kind, fields.get("strength", 1.0))
    elif kind == "next_step" or pieces is None or "strength" in fields:
        raise ConfigError(
            f"a hint must be one of {', '.join(OF_REFERENCE)}, or a kind with its pieces, got "
            f"{shown(hint)}"
        )
    else:
        guidance = Guidance.from_json([kind, pieces])
    return state if guidance is None else state.with_guidance(guidance)


def _hint_fields(hint: Any) -> dict[str, Any]:
    known = ("kind", "strength", "pieces")
    fields: dict[str, Any] = cast("dict[str, Any]", hint) if isinstance(hint, dict) else {}
    if "kind" not in fields or not set(fields) <= set(known):
        raise ConfigError(
            f"a hint must be a kind, or an object of {', '.join(known)}, got "
            f"{shown(cast('object', hint))}"
        )
    return fields


def _of_reference(state: ReasonState, kind: str, strength: Any) -> Guidance | None:
    share = checked_fraction(strength, "strength")
    if kind == "answer":
        return answer_guidance(state.problem, share)
    if kind == "partial_solution":
        delimiter = state.codec.step_delimiter
        return partial_solution_guidance(state.problem, share, delimiter=delimiter)
    return next_step_guidance(state, share)


def _plain(value: Any) -> Any:
    """A value of `info` as JSON; what is no JSON is shown."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return cast("np.ndarray[Any, Any]", value).tolist()
    if isinstance(value, Mapping):
        items = cast("Message", value).items()
        return {str(name): _plain(inner) for name, inner in items}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in cast("Sequence[Any]", value)]
    return shown(value)
