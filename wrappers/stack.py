"""A stack as one JSON text, and back: the environment of an experiment.

`stack_from_json` makes only what this table and Gymnasium's own wrappers name: a spec may come from
anywhere, and an entry point is code that runs.
"""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.tabular_starts import TabularPrefixRollin, TabularResetToState

WRAPPERS: dict[str, type[gym.Wrapper[Any, Any, Any, Any]]] = {
    "Curriculum": Curriculum,
    "Hint": Hint,
    "PrefixRollin": PrefixRollin,
    "RecordEpisodes": RecordEpisodes,
    "ResetToState": ResetToState,
    "RewardShaping": RewardShaping,
}
TABULAR_FORMS: dict[str, type[gym.Wrapper[Any, Any, Any, Any]]] = {
    "TabularPrefixRollin": TabularPrefixRollin,
    "TabularResetToState": TabularResetToState,
}
"""What two of them become on a `TabularEnv`."""


def stack_to_json(env: gym.Env[Any, Any]) -> str:
    """Returns the stack's spec: `gym.make` of it makes an equal one.

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
            f"({str(error)[:160]}); name things instead of passing objects and functions"
        ) from error


def stack_from_json(text: str, **changes: Any) -> gym.Env[Any, Any]:
    """Returns the stack that a spec describes.

    Args:
        text: What `stack_to_json` or `env.spec.to_json()` returned.
        changes: Arguments of the environment that replace the spec's, such as `codec`.

    Raises:
        ConfigError: The text is no spec, or names something that is not ours.
    """
    return gym.make(checked_spec(text), **changes)


def checked_spec(text: str) -> EnvSpec:
    """Returns the spec in a text, after making sure that it names no foreign code.

    Raises:
        ConfigError: The text is no spec, or names something that is not ours.
    """
    try:
        spec = EnvSpec.from_json(text)
        wrappers = [(item.name, item.entry_point, item.kwargs) for item in spec.additional_wrappers]
    except (AttributeError, KeyError, TypeError, ValueError, gym.error.Error) as error:
        raise ConfigError(
            f"a spec must be JSON as env.spec.to_json() writes it, got {shown(text)}; {error}"
        ) from error
    known = gym.registry.get(spec.id)
    if known is None or spec.entry_point != known.entry_point:
        raise ConfigError(
            f"a spec must be of a registered environment, got {spec.id!r} at "
            f"{shown(spec.entry_point)}{did_you_mean(spec.id, gym.registry)}"
        )
    # A stored spec is not trusted with what the registry decides.
    spec.vector_entry_point = known.vector_entry_point
    for name, entry_point, _ in wrappers:
        known_forms = WRAPPERS | TABULAR_FORMS
        ours = name in known_forms and entry_point == f"{known_forms[name].__module__}:{name}"
        if not ours and not str(entry_point).startswith("gymnasium.wrappers."):
            raise ConfigError(
                f"a spec's wrappers must be ours or Gymnasium's, got {name!r} at "
                f"{shown(entry_point)}{did_you_mean(str(name), WRAPPERS)}"
            )
    return spec


def stack_from_file(path: str | Path, **changes: Any) -> gym.Env[Any, Any]:
    """Returns the stack of a spec file; see `stack_from_json`.

    Raises:
        ConfigError: There is no such file, or it holds no spec.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"a spec file must be readable text, got {shown(str(path))}; {error}; write one with "
            "stack_to_json(env)"
        ) from error
    return stack_from_json(text, **changes)


def pretty_json(text: str) -> str:
    """Returns a spec with line ends, for people and for diffs."""
    return json.dumps(json.loads(text), indent=2, ensure_ascii=True) + "\n"
