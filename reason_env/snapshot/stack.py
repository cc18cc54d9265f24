"""snapshot(env), restore(env, snap): a whole stack as one JSON text, and back.

The fork law: after `restore(e, snapshot(d))`, `e` continues exactly as `d` would, for any actions:
observations, rewards, flags, infos, and every later reset, seeded or not; in another process too.
Inside are the state, the random generators, and the counters and archives of our wrappers.

A layer that is ours says itself what it holds (`to_snapshot`, `read_snapshot`). Gymnasium's own
wrappers are listed here: those without memory, and those whose memory is a few plain attributes.
Any other wrapper is refused, because a fork that forgets something would be worse than none.

Not covered: settings (both stacks must be made alike; the environment's are compared, a wrapper's
only by its class), the random generators of the spaces, and files that a recorder has written.
"""

import ast
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Protocol, cast

import gymnasium as gym

from reason_env.errors import StateError, shown
from reason_env.snapshot.generator import rng_from_json, rng_to_json

__all__ = [
    "REMEMBERED",
    "STATELESS",
    "Commit",
    "Layer",
    "Settings",
    "get_state",
    "restore",
    "rng_from_json",
    "rng_to_json",
    "set_state",
    "snapshot",
]

Commit = Callable[[], None]
"""Makes a checked snapshot the layer's state; cannot fail."""

SNAPSHOT_FORMAT = 2
_HEAD = f'{{"format":{SNAPSHOT_FORMAT},"digest":"'
_BODY = '","body":'
_NUM_DIGEST = 16
_BODY_AT = len(_HEAD) + _NUM_DIGEST
_OTHER_FORMAT = re.compile(r'\{"format":(\d{1,9}),')
_PLAIN = {bool, int, type(None)}
_Memory = tuple[str, ...] | None
"""Of a wrapper of Gymnasium's, its attributes; None where a layer writes itself."""

STATELESS: frozenset[str] = frozenset(
    {
        "ClipAction",
        "ClipReward",
        "DtypeObservation",
        "FilterObservation",
        "FlattenObservation",
        "RescaleAction",
        "RescaleObservation",
        "ReshapeObservation",
        "TransformAction",
        "TransformObservation",
        "TransformReward",
    }
)
"""Gymnasium's wrappers that remember nothing from call to call."""
REMEMBERED: dict[str, tuple[str, ...]] = {
    "Autoreset": ("autoreset",),
    "OrderEnforcing": ("_has_reset",),
    "PassiveEnvChecker": ("checked_reset",),
    "TimeLimit": ("_elapsed_steps",),
}
"""Gymnasium's wrappers whose memory is these attributes, all of them whole numbers, booleans or
None."""


class Layer(Protocol):
    """What an environment or wrapper of ours offers."""

    def to_snapshot(self) -> dict[str, Any]:
        """Returns everything that decides what follows, JSON-able."""
        ...

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Checks what `to_snapshot` wrote, changing nothing; returns what makes it so."""
        ...


def snapshot(env: gym.Env[Any, Any]) -> str:
    """Returns the whole stack's state as JSON.

    Raises:
        StateError: A wrapper of the stack is not known to be rewindable.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", levels=(2, 2))
    >>> first, _ = env.reset(seed=0)
    >>> saved = snapshot(env)
    >>> second, _ = env.reset()
    >>> restore(env, saved)
    >>> env.reset()[0] == second != first
    True
    """
    body = _to_json([[name, _written(layer, memory)] for name, layer, memory in _layers(env)])
    return f"{_HEAD}{_digest(body)}{_BODY}{body}}}"


def restore(env: gym.Env[Any, Any], snap: str) -> None:
    """Makes a stack's state the one that `snapshot` wrote of it, or of one made alike.

    Nothing is changed unless everything fits.

    Raises:
        StateError: The text is damaged, or is of another stack, problem set or other settings.
    """
    given, written = _body(snap)
    layers = _layers(env)
    names = [name for name, _, _ in layers]
    if names != given:
        raise StateError(
            f"snapshot must be of the stack {_arrow(names)}, got {_arrow(given)}; "
            "make the environment as the one that it was taken of"
        )
    commits = [_read(*layer, data) for layer, data in zip(layers, written, strict=True)]
    for commit in commits:
        commit()


# One encoder: json.dumps makes another at each call.
_to_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
get_state = snapshot
set_state = restore


class Settings:
    """What an environment was made of, as far as it decides what follows.

    >>> Settings(max_steps=3).check(Settings(max_steps=4).text)
    Traceback (most recent call last):
        ...
    reason_env.errors.StateError: snapshot must be of an environment with max_steps 3, got 4; \
make the environment as that one
    """

    def __init__(self, **values: Any) -> None:
        """Keeps the settings; each value a Python literal."""
        self._values = values
        # Compared by every restore, and read only if it differs; without quotes for JSON to escape.
        self.text = repr(values)

    def check(self, text: Any) -> None:
        """Compares with the text of another environment's settings.

        Raises:
            StateError: They differ; it names the first that does.
            ValueError: It is no such text.
        """
        if text == self.text:
            return
        try:
            given = ast.literal_eval(text)
        except SyntaxError as error:
            raise ValueError(f"settings must be a dict, got {shown(text)}") from error
        for name, own in self._values.items():
            if given[name] != own:
                raise StateError(
                    f"snapshot must be of an environment with {name} {shown(own)}, got "
                    f"{shown(given[name])}; make the environment as that one"
                )


def _layers(env: gym.Env[Any, Any]) -> list[tuple[str, Any, _Memory]]:
    """Returns name, object and memory of each layer, from the outside in, all of them known."""
    layers: list[tuple[str, Any, _Memory]] = []
    layer: gym.Env[Any, Any] = env
    while True:
        name, memory = _kind(type(layer))
        layers.append((name, layer, memory))
        if not isinstance(layer, gym.Wrapper):
            return layers
        layer = layer.env


@cache
def _kind(kind: type) -> tuple[str, _Memory]:
    name = kind.__name__
    if hasattr(kind, "to_snapshot") and hasattr(kind, "read_snapshot"):
        return name, None
    is_stock = kind.__module__.startswith("gymnasium.wrappers.")
    if not is_stock or (name not in STATELESS and name not in REMEMBERED):
        raise StateError(
            f"every layer must be rewindable, got {name}, whose memory is not known; leave it out, "
            "or give it to_snapshot() and read_snapshot()"
        )
    return name, REMEMBERED.get(name, ())


def _written(layer: Any, memory: _Memory) -> dict[str, Any]:
    if memory is None:
        return layer.to_snapshot()
    return {name: getattr(layer, name) for name in memory}


def _read(name: str, layer: Any, memory: _Memory, data: dict[str, Any]) -> Commit:
    try:
        if memory is None:
            return layer.read_snapshot(data)
        values = {key: data[key] for key in memory}
        if not _PLAIN.issuperset(map(type, values.values())):
            raise TypeError("a memory of whole numbers, booleans and None")
        if values.get("checked_reset"):
            # It compares the first steps with a reset that another object made: nothing to check.
            values |= {"checked_step": True, "checked_data_reuse": True}
    except StateError:
        raise
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise StateError(
            f"snapshot of {name} must be as to_snapshot() writes it, got "
            f"{shown(data)}; {type(error).__name__}: {error}"
        ) from error
    return partial(cast("dict[str, Any]", vars(layer)).update, values)


def _body(snap: object) -> tuple[list[Any], list[Any]]:
    """Returns the names of the layers and what each wrote."""
    if (
        not isinstance(snap, str)
        or not snap.startswith(_HEAD)
        or not snap.startswith(_BODY, _BODY_AT)
        or not snap.endswith("}")
    ):
        other = _OTHER_FORMAT.match(snap) if isinstance(snap, str) else None
        raise StateError(
            f"snapshot must be the text that snapshot() returned, got {shown(snap)}; "
            "keep it as it is"
            if other is None or other[1] == str(SNAPSHOT_FORMAT)
            else f"snapshot format must be {SNAPSHOT_FORMAT}, got {other[1]}; take it again with "
            "this version"
        )
    digest, body = snap[len(_HEAD) : _BODY_AT], snap[_BODY_AT + len(_BODY) : -1]
    if digest != _digest(body):
        raise StateError(
            f"snapshot must match its digest {digest!r}, got {_digest(body)!r}; it was damaged or "
            "edited: take it again"
        )
    try:
        written = json.loads(body)
        return [name for name, _ in written], [data for _, data in written]
    except (RecursionError, TypeError, ValueError) as error:
        raise StateError(
            f"snapshot must hold a list of layers, got {shown(body)}; take it again"
        ) from error


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:_NUM_DIGEST]


def _arrow(names: list[Any]) -> str:
    return " > ".join(map(str, names))
