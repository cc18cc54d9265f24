"""The command that trains a config: every setting that differs from the defaults, as a flag."""

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast, get_type_hints

from reason_env.agents.methods import method_config
from reason_env.agents.runs import FLAT, leaves, tree_of
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig

ALWAYS = ("problems", "model", "template", "max_tokens", "group_size")
"""Fields whose flag is written with its default too, to be read and changed."""
PAIRED = tuple(
    field.name for field in fields(EnvConfig) if isinstance(getattr(EnvConfig(), field.name), dict)
)
"""Fields whose flag takes keys and values in turn."""


def train_command(name: str, config: TrainConfig, **method_changes: Any) -> str:
    """Write `reason-env train NAME` with the flags that repeat a config's settings.

    Args:
        name: A method, or cpi.
        config: Settings of everything but the method.
        method_changes: Fields of the method's config, left out where the method has no such field.

    >>> train_command("rrpo", TrainConfig(seed=3), group_size=16)  # RRPO has no group_size
    'reason-env train rrpo --problems chain --max-tokens 256 --template auto --model base --seed 3'
    """
    method = method_config("grpo" if name == "cpi" else name)
    known = {field.name for field in fields(method)}
    changed = replace(method, **{k: v for k, v in method_changes.items() if k in known})
    own = _leaves(replace(config, method=changed))
    default = _leaves(TrainConfig(method=method))
    words = ["reason-env", "train", name]
    paired: dict[str, list[str]] = {}
    is_stack = config.env.stack is not None
    for key, value in own.items():
        is_default = default.get(key, ()) == value and (key not in ALWAYS or is_stack)
        if key.endswith("kind") or is_default or value is None:
            continue
        head, dot, rest = key.partition(".")
        if dot and head in PAIRED:
            paired.setdefault(head, []).extend([rest, str(value)])
        elif value not in ({}, []):
            words += [_flag(key), *_values(value)]
    for head, values in paired.items():
        words += [_flag(head), *values]
    return shlex.join(words)


def _leaves(config: TrainConfig) -> dict[str, Any]:
    """Return flag name (dotted) -> value; the names of flat fields are left out."""
    hints = get_type_hints(TrainConfig, include_extras=True)
    flat = {name for name, hint in hints.items() if FLAT in getattr(hint, "__metadata__", ())}
    tree: Mapping[str, Any] = tree_of(config)
    found: dict[str, Any] = {}
    for key, value in leaves(tree).items():
        head, _, rest = key.partition(".")
        found[rest if head in flat and rest else key] = value
    return found


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _values(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [str(item) for item in items]
