"""check_reasoning_env(env): is this a sound reasoning environment? Nine checks, in this process.

Gymnasium's checker looks at spaces and types; this one looks at what training relies on: that the
reference answers score and nothing else does, that nothing privileged is observed, that a verdict
depends on nothing but the response, and that a seed and a state decide everything.

The first part runs on any `ReasoningTask`, three methods that most peers' environments can be
adapted to; the second part needs a stack on `ReasonEnv`. A check that cannot be made is reported as
skipped, with the reason, never as passed.

Not covered: whether the problems are any good, and verifiers that answers in the wild would fool
(`benchmarks/verifier_attacks.py`).
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_match import check_environments_match

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, ReasonEnvError, shown
from reason_env.problems import reference_response
from reason_env.snapshot import restore, snapshot
from reason_env.state import ReasonState
from reason_env.verify.grading import clear_cache

NUM_NOISE = 5
NUM_LOAD = 2
"""Busy processes beside the verifier."""


class ReasoningTask(Protocol):
    """What the general checks ask of an environment."""

    def begin(self, seed: int) -> str:
        """Starts an episode; returns what the policy sees."""
        ...

    def respond(self, text: str) -> float:
        """Says a whole response in the episode; returns the episode's return."""
        ...

    def reference(self) -> str:
        """Returns a response to the present episode that should score the most."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found."""

    name: str
    passed: bool | None
    """None if it could not be made."""
    detail: str = ""
    """What failed first, or why nothing was done; empty if passed."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks of one environment."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; skipped ones do not count."""
        return all(check.passed is not False for check in self.checks)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(name, "ok", "FAILED" or "skipped", detail) of each, for a table."""
        words = {True: "ok", False: "FAILED", None: "skipped"}
        return [(check.name, words[check.passed], check.detail) for check in self.checks]


def check_reasoning_env(
    env: gym.Env[Any, Any], *, num_problems: int = 20, seed: int = 0
) -> CheckReport:
    """Returns the report on a stack; afterwards the stack is where it was.

    Args:
        env: Any stack on a `ReasonEnv` whose layers can be rewound.
        num_problems: Episodes that each check plays.
        seed: Chooses problems and noise.

    Raises:
        ConfigError: It is not such a stack.
        StateError: A wrapper of it is not known to be rewindable.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="inverse", size=30)
    >>> report = check_reasoning_env(env, num_problems=5)
    >>> report.passed, len(report.checks)
    (True, 9)
    """
    inner = env.unwrapped
    if not isinstance(inner, ReasonEnv):
        raise ConfigError(
            f"env must be a stack on ReasonEnv, got {type(inner).__name__}; for another one write "
            "a ReasoningTask and call check_reasoning_task"
        )
    before = snapshot(env)
    make = _maker(env)
    task = StackTask(env)
    seeds = range(seed, seed + num_problems)
    try:
        general = check_reasoning_task(
            lambda: task, num_problems=num_problems, seed=seed, num_instances=1
        ).checks
        own = (
            _made("no solution in the observation", lambda: _no_leak(env, seeds)),
            _made("same seed under PYTHONHASHSEED", lambda: _hash_seeds(env, seeds)),
            _made("fork law", lambda: _fork_law(env, make, seeds)),
            _made("two instances are apart", lambda: _stacks_are_apart(make, seeds)),
        )
    finally:
        restore(env, before)
    return CheckReport((*general, *own))


def check_reasoning_task(
    make: Callable[[], ReasoningTask],
    *,
    num_problems: int = 20,
    seed: int = 0,
    num_instances: int = 2,
) -> CheckReport:
    """Returns the report of the checks that any environment can be put to.

    Args:
        make: Makes an instance; called `num_instances` times.
        num_problems: Episodes that each check plays.
        seed: Chooses problems and noise.
        num_instances: With 2, it is also checked that two instances do not disturb each other.
    """
    task = make()
    seeds = range(seed, seed + num_problems)
    checks = [
        _made("references score the most", lambda: _references(task, seeds)),
        _made("empty and random text score the floor", lambda: _floor(task, seeds)),
        _made("the verifier is the same under load", lambda: _under_load(task, seeds)),
        _made("a seed replays", lambda: _replays(task, seeds)),
        _made("global generators are left alone", lambda: _global_generators(task, seeds)),
    ]
    if num_instances > 1:
        checks.append(_made("two instances are apart", lambda: _tasks_are_apart(make, seeds)))
    return CheckReport(tuple(checks))


def check_env_id(env_id: str, *, num_problems: int = 20, **arguments: Any) -> CheckReport:
    """Returns the report on a registered environment; `reason-env check ENV_ID`.

    Raises:
        ConfigError: No such id, or it does not make a stack on `ReasonEnv`.
    """
    try:
        env = gym.make(env_id, disable_env_checker=True, **arguments)
    except gym.error.Error as error:
        raise ConfigError(
            f"env id must be registered, got {env_id!r}; {str(error).rstrip('.')}"
        ) from error
    return check_reasoning_env(env, num_problems=num_problems)


class StackTask:
    """A stack on `ReasonEnv` as a `ReasoningTask`, at any granularity and format."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._inner = cast("ReasonEnv", env.unwrapped)

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


def _made(name: str, run: Callable[[], str | None]) -> Check:
    """Runs a check: it returns why it was skipped, or None; it raises where it found something."""
    try:
        skipped = run()
    except (_Failed, AssertionError, ReasonEnvError) as error:
        return Check(name=name, passed=False, detail=shown(str(error))[1:-1])
    return Check(name=name, passed=None if skipped else True, detail=skipped or "")


class _Failed(Exception):  # noqa: N818 - a finding, not an error
    """A check found something."""


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise _Failed(message)


def _noise(rng: random.Random) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz 0123456789#=\n"
    return ["", *("".join(rng.choices(letters, k=40)) for _ in range(NUM_NOISE))]


def _references(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    returns: list[float] = []
    for seed in seeds:
        seen = task.begin(seed)
        returns.append(task.respond(task.reference()))
        task.begin(seed)
        floor = task.respond("")
        _need(
            returns[-1] > floor,
            f"the reference of seed {seed}'s problem returns {returns[-1]}, no answer {floor}: "
            f"{seen[:80]}",
        )
    _need(
        max(returns) - min(returns) < 1e-9,
        f"references return from {min(returns)} to {max(returns)}",
    )
    return None


def _floor(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    rng = random.Random(0)
    for seed in seeds:
        seen = task.begin(seed)
        best = task.respond(task.reference())
        for text in (*_noise(rng), seen[-200:]):
            task.begin(seed)
            got = task.respond(text)
            _need(got < best, f"{text[:40]!r} returns {got} for the problem of seed {seed}")
    return None


def _under_load(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    def returns() -> list[float]:
        clear_cache()
        found: list[float] = []
        for seed in seeds:
            for wrong in ("", "0"):
                task.begin(seed)
                found.append(task.respond(task.reference() + wrong))
        return found

    idle = returns()
    with _load():
        busy = returns()
    pairs = zip(idle, busy, strict=True)
    wrong = [f"{first} and {second}" for first, second in pairs if first != second]
    _need(not wrong, f"{len(wrong)} returns differ under load, the first: {wrong[:1]}")
    return None


def _replays(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    rng = random.Random(1)
    for seed in seeds:
        text = rng.choice(_noise(rng))
        said = [(task.begin(seed), task.respond(text)) for _ in range(2)]
        _need(said[0] == said[1], f"seed {seed} gives two different episodes")
    return None


def _global_generators(task: ReasoningTask, seeds: Sequence[int]) -> str | None:
    # The global generators on purpose: they must come out as they went in, and decide nothing.
    legacy: Any = np.random.mtrand._rand  # pyright: ignore[reportPrivateUsage]
    before = (random.getstate(), str(legacy.get_state()))
    seen = [task.begin(seed) for seed in seeds]
    task.respond("")
    _need(
        (random.getstate(), str(legacy.get_state())) == before, "a global generator was drawn from"
    )
    saved = random.getstate()
    try:
        random.seed(12345)
        _need([task.begin(seed) for seed in seeds] == seen, "a global generator decides episodes")
    finally:
        random.setstate(saved)
    return None


def _tasks_are_apart(make: Callable[[], ReasoningTask], seeds: Sequence[int]) -> str | None:
    alone, first, second = make(), make(), make()
    for seed in seeds:
        wanted = alone.begin(seed)
        text = alone.reference()
        score = alone.respond(text)
        seen = first.begin(seed)
        second.begin(seed + 1)
        second.respond(second.reference())
        got = first.respond(text)
        _need((seen, got) == (wanted, score), f"another instance changes seed {seed}")
    return None


def _no_leak(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    """With another answer and no solution, the observation without guidance is the same."""
    inner = cast("ReasonEnv", env.unwrapped)
    for seed in seeds:
        env.reset(seed=seed)
        state = inner.state.without_guidance()
        blank = replace(state, problem=replace(state.problem, answer="ANSWER", solution=()))
        _need(
            inner.prompt.token_ids(state) == inner.prompt.token_ids(blank),
            f"the prompt of {state.problem.problem_id!r} shows its reference",
        )
        observation, info = env.reset(options={"state": state})
        _need(info["privileged_context"] == "", "privileged_context is shown without guidance")
        _need(_contains(inner, observation, blank), "the observation is not prompt and response")
    return None


def _contains(env: ReasonEnv, observation: Any, state: ReasonState) -> bool:
    if isinstance(observation, str):
        return observation == env.prompt.text(state) + state.text
    ids = env.prompt.token_ids(state) + state.response
    padding = (env.codec.pad_id,) * (len(observation) - len(ids))
    return tuple(observation) == ids + padding


_PROGRAM = """
import json, sys
import gymnasium as gym
import reason_env
from gymnasium.envs.registration import EnvSpec
from reason_env.check import StackTask
spec, seeds = json.loads(sys.stdin.read())
task = StackTask(gym.make(EnvSpec.from_json(spec)))
print(json.dumps([[task.begin(seed), task.respond("1")] for seed in seeds]))
"""


def _hash_seeds(env: gym.Env[Any, Any], seeds: Sequence[int]) -> str | None:
    text = _spec_json(env)
    if text is None:
        return "the stack has no JSON spec, so no other process can make it"
    said: list[str] = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps([text, list(seeds)]),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        )
        _need(done.returncode == 0, f"another process fails: {done.stderr.strip()[-120:]}")
        said.append(done.stdout)
    _need(said[0] == said[1], "episodes depend on PYTHONHASHSEED")
    return None


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
        _need(snapshot(fork) == snapshot(env), f"the snapshot of a fork differs, seed {seed}")
        check_environments_match(env, fork, num_steps=10, seed=seed)
    return None


def _stacks_are_apart(
    make: Callable[[], gym.Env[Any, Any]] | None, seeds: Sequence[int]
) -> str | None:
    if make is None:
        return "the stack has no JSON spec, so no second one can be made"
    return _tasks_are_apart(lambda: StackTask(make()), seeds)


def _spec_json(env: gym.Env[Any, Any]) -> str | None:
    try:
        return None if env.spec is None else env.spec.to_json()
    except (TypeError, ValueError):
        return None


def _maker(env: gym.Env[Any, Any]) -> Callable[[], gym.Env[Any, Any]] | None:
    text = _spec_json(env)
    return None if text is None else lambda: gym.make(EnvSpec.from_json(text))


@contextmanager
def _load() -> Any:
    """Keeps every core busy for a while."""
    program = "while True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(NUM_LOAD)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
