"""Config trees: a config as nested JSON, read and set by dotted keys (`loss.clip_high`).

A list of objects is a level of the tree (`methods.0.group_size`); any other list is a value.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from reason_env.agents.runs import config_json

Tree = dict[str, Any]


def tree_of(config: Any) -> Tree:
    """Convert a config to the nested JSON object that `config_json` writes."""
    return json.loads(config_json.dump(config))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested JSON object to dotted key -> value.

    >>> leaves({"loss": {"clip_low": 0.2}, "kind": "grpo"})
    {'loss.clip_low': 0.2, 'kind': 'grpo'}
    >>> leaves({"methods": [{"kind": "srpo"}, {"kind": "lte"}]})
    {'methods.0.kind': 'srpo', 'methods.1.kind': 'lte'}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            found |= leaves({str(at): item for at, item in enumerate(value)}, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def set_leaf(tree: Tree, key: str, value: Any) -> bool:
    """Set a dotted key in place; return False, and set nothing, if the tree has no such key.

    >>> tree = {"methods": [{"gamma": 0.1}]}
    >>> set_leaf(tree, "methods.0.gamma", 0.2), set_leaf(tree, "methods.0.gama", 0.3), tree
    (True, False, {'methods': [{'gamma': 0.2}]})
    """
    *path, last = key.split(".")
    node: Any = tree
    for part in path:
        node = _below(node, part)
    if not isinstance(node, dict) or last not in node:
        return False
    node[last] = value
    return True


def merged(base: Tree, own: Tree) -> Tree:
    """Override values of `base` by those of `own`, level by level.

    >>> merged({"loss": {"clip_low": 0.2, "clip_high": 0.2}}, {"loss": {"clip_high": 0.3}})
    {'loss': {'clip_low': 0.2, 'clip_high': 0.3}}
    """
    result = dict(base)
    for key, value in own.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)  # noqa: PLW2901
        result[key] = value
    return result


def with_current_keys(tree: Tree, config: Any) -> Tree:
    """Return a tree for (a part of) this config with renamed fields under their current names.

    >>> from reason_env.agents.methods import GRPOConfig
    >>> with_current_keys({"loss": {"policy_term": "gspo"}}, GRPOConfig())
    {'loss': {'surrogate': 'gspo'}}
    """
    names = config_json.renamed_fields(type(config))
    current = {names.get(key, key): value for key, value in tree.items()}
    return {
        key: with_current_keys(value, getattr(config, key, None))
        if isinstance(value, dict)
        else value
        for key, value in current.items()
    }


def differences(configs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Find the keys whose values differ between configs: dotted key -> label -> value.

    A label is absent if its config lacks the key.

    >>> from reason_env.agents.methods import GRPOConfig
    >>> differences({"a": GRPOConfig(), "b": GRPOConfig(group_size=16)})
    {'group_size': {'a': 8, 'b': 16}}
    """
    plain = {
        label: leaves(tree_of(config) if dataclasses.is_dataclass(config) else config)
        for label, config in configs.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for own in plain.values() for key in own):
        values = {label: own[key] for label, own in plain.items() if key in own}
        if len(values) < len(plain) or len({json.dumps(item) for item in values.values()}) > 1:
            found[key] = values
    return found


def _below(node: Any, part: str) -> Any:
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    return node.get(part) if isinstance(node, dict) else None
