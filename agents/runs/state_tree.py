"""Nested state as JSON and named tensors, lossless: `unpack(*pack(tree))` equals `tree`.

JSON preserves text, lists, integers of any length (a numpy generator has 128 bits) and, in Python's
shortest form, every finite float. Everything else is written as an object with one key:

    {"$tensor": name}  {"$array": name}  a tensor, a numpy array: in the tensor file
    {"$tuple": [...]}                    a tuple
    {"$dict": [[key, value], ...]}       a dict with keys other than text, or that begin with $
    {"$float": "nan"}                    nan, inf, -inf

Not covered: numpy scalars other than float64, and shared tensors (stored once for each use).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from reason_env.errors import ConfigError, shown


def pack(tree: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Convert a tree to JSON-able values and the tensors that they name, copied to the CPU.

    >>> pack({"step": 3, "betas": (0.9, 0.95), "moment": torch.zeros(2)})[0]
    {'step': 3, 'betas': {'$tuple': [0.9, 0.95]}, 'moment': {'$tensor': 'moment'}}

    Raises:
        ConfigError: A value has a type that cannot be restored.
    """
    tensors: dict[str, torch.Tensor] = {}
    return _pack(tree, (), tensors), tensors


def unpack(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Restore the tree that `pack` converted."""
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1 and (tag := next(iter(tree))).startswith("$"):
        return _unpack_tagged(tag, tree[tag], tensors)
    return {key: unpack(value, tensors) for key, value in tree.items()}


def _unpack_tagged(tag: str, content: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if tag in ("$tensor", "$array"):
        return tensors[content] if tag == "$tensor" else tensors[content].numpy()
    if tag == "$float":
        return float(content)
    items = unpack(content, tensors)
    assert tag in ("$tuple", "$dict"), f"every tag must be known, got {tag}"
    return tuple(items) if tag == "$tuple" else dict(items)


def _pack(value: Any, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, torch.Tensor):
        # Copy first: safetensors rejects tensors that share memory.
        copy = value.detach().to("cpu", copy=True).contiguous()
        return {"$tensor": _store(copy, path, tensors)}
    if kind is np.ndarray:
        return {"$array": _store(torch.from_numpy(value.copy(order="C")), path, tensors)}
    if kind in (list, tuple):
        items = [_pack(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if isinstance(value, Mapping):
        packed = [
            (_pack(key, path, tensors), _pack(item, (*path, str(key)), tensors))
            for key, item in value.items()
        ]
        is_plain = all(isinstance(key, str) and not key.startswith("$") for key in value)
        return dict(packed) if is_plain else {"$dict": [list(pair) for pair in packed]}
    raise ConfigError(
        f"state {'/'.join(path)!r} must hold tensors, arrays, numbers, texts, lists and dicts, got "
        f"{shown(value)} of type {kind.__name__}; convert it (.item(), list(...)) first"
    )


def _store(tensor: torch.Tensor, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> str:
    # Two paths may give one name (keys 1 and "1", or a key with a slash).
    name = "/".join(path) or "tensor"
    while name in tensors:
        name += "'"
    tensors[name] = tensor
    return name
