"""check_reasoning_env(env): nine checks of what training relies on.

Gymnasium's checker tests spaces and types. These checks test that reference answers score and
nothing else does, that observations leak nothing privileged, that a verdict depends only on the
response, and that seed and state determine everything.

A stack on `ReasonEnv` gets all nine checks. Any other environment needs an adapter with the three
methods of `ReasoningTask` (`tasks.py`). A check that cannot run is reported as skipped with the
reason, never as passed.

Not covered: the quality of the problems, and attacks on verifiers
(`benchmarks/verifier/attacks.py`).
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from reason_env.check.report import Check, CheckReport
from reason_env.check.stacks import StackTask, actions_of, stack_checks
from reason_env.check.tasks import (
    Explained,
    Forkable,
    Importable,
    ReasoningTask,
    Repeatable,
    check_reasoning_task,
    general_checks,
    instance_checks,
)
from reason_env.env import ReasonEnv, trusted_modules
from reason_env.errors import ConfigError
from reason_env.snapshot import restore, snapshot

__all__ = [
    "Check",
    "CheckReport",
    "Explained",
    "Forkable",
    "Importable",
    "ReasoningTask",
    "Repeatable",
    "StackTask",
    "actions_of",
    "check_env_id",
    "check_reasoning_env",
    "check_reasoning_task",
]

NO_BLANK = "not offered: only a stack on ReasonEnv can render a problem without its reference"


def check_reasoning_env(
    env: gym.Env[Any, Any] | ReasoningTask, *, num_problems: int = 20, seed: int = 0
) -> CheckReport:
    """Run the checks and report; a stack is restored afterwards.

    Args:
        env: Any stack on a `ReasonEnv` whose layers support snapshots; or any `ReasoningTask`, with
            the optional methods of `Repeatable`, `Forkable`, `Importable` and `Explained`.
        num_problems: Episodes of each check.
        seed: Selects problems and noise.

    Raises:
        ConfigError: `env` is neither.
        StateError: A wrapper does not support snapshots.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="inverse", size=30)
    >>> report = check_reasoning_env(env, num_problems=5)
    >>> report.passed, len(report.checks)
    (True, 10)
    """
    if not isinstance(env, gym.Env):
        return _of_task(env, range(seed, seed + num_problems))
    if not isinstance(env.unwrapped, ReasonEnv):
        raise ConfigError(
            f"env must be a stack on ReasonEnv, got {type(env.unwrapped).__name__}; for another "
            "one write a ReasoningTask and pass that"
        )
    before, task = snapshot(env), StackTask(env)
    try:
        general = check_reasoning_task(
            lambda: task, num_problems=num_problems, seed=seed, num_instances=1
        ).checks
        own = stack_checks(env, range(seed, seed + num_problems))
    finally:
        restore(env, before)
    return CheckReport((*general, *own))


def _of_task(task: object, seeds: Sequence[int]) -> CheckReport:
    if not isinstance(task, ReasoningTask):
        raise ConfigError(
            f"env must be a Gymnasium environment or a ReasoningTask, got {type(task).__name__}; "
            "give it begin(seed), respond(text) and reference()"
        )
    make = task.another if isinstance(task, Repeatable) else None
    leak = Check(name="no solution in the observation", passed=None, detail=NO_BLANK)
    return CheckReport((*general_checks(task, seeds), leak, *instance_checks(task, make, seeds)))


def check_env_id(env_id: str, *, num_problems: int = 20, **arguments: Any) -> CheckReport:
    """Check a registered environment, as `reason-env check ENV_ID` does.

    Raises:
        ConfigError: The id is unknown, names no stack on `ReasonEnv`, or names a module that is
            not trusted.
    """
    module, colon, _ = env_id.partition(":")
    if colon and module not in trusted_modules():
        raise ConfigError(
            f"env id must not name a module that is not trusted, got {env_id!r}, which imports "
            f"{module!r}; if it is your own: --trust {module}, or "
            f"reason_env.env.trust_module({module!r})"
        )
    try:
        env = gym.make(env_id, disable_env_checker=True, **arguments)
    except gym.error.Error as error:
        raise ConfigError(
            f"env id must be registered, got {env_id!r}; {str(error).rstrip('.')}"
        ) from error
    return check_reasoning_env(env, num_problems=num_problems)
