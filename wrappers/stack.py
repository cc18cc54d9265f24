"""A stack as one JSON text, and back: the environment of an experiment.

Stacks are built only from specs that `reason_env.env.checked_spec` accepts.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym

from reason_env.env import checked_spec, make_stack
from reason_env.errors import ConfigError, shown


def stack_to_json(env: gym.Env[Any, Any]) -> str:
    """Write a stack's spec, from which `gym.make` builds an equal stack.

    Raises:
        ConfigError: Something in the stack has no JSON form (a function, a live object).
    """
    spec = env.spec
    if spec is None:
        raise ConfigError(
            "env must be made by gym.make to have a spec, got none; use "
            "gym.make('MathReason-v0', ...)"
        )
    try:
        return spec.to_json()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"every argument of the stack must be JSON-able to be a spec, got one that is not "
            f"({str(error)[:160]}); pass names instead of objects and functions"
        ) from error


def stack_from_json(text: str, **changes: Any) -> gym.Env[Any, Any]:
    """Build the stack that a spec describes.

    Args:
        text: What `stack_to_json` or `env.spec.to_json()` returned.
        changes: Arguments of the environment that replace the spec's, such as `codec`.

    Raises:
        ConfigError: The text is no spec, or names foreign code.
    """
    return make_stack(checked_spec(text), **changes)


def stack_from_file(path: str | Path, **changes: Any) -> gym.Env[Any, Any]:
    """Build the stack of a spec file; see `stack_from_json`.

    Raises:
        ConfigError: The file cannot be read, or holds no spec.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"a spec file must be readable text, got {shown(str(path))}; {error}; write one with "
            "stack_to_json(env)"
        ) from error
    return stack_from_json(text, **changes)
