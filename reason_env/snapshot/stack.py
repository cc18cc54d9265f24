"""snapshot(env), restore(env, snap): a whole stack as one JSON text, and back.

The fork law: after `restore(e, snapshot(d))`, `e` continues exactly as `d` would, for any actions:
observations, rewards, flags, infos and every later reset, seeded or not, in another process too. A
snapshot holds the state, the random generators, and the counters and archives of our wrappers.

Our layers write and read their own part (`to_snapshot`, `read_snapshot`). Gymnasium's wrappers are
listed here: those without memory, and those whose memory is a few plain attributes. Any other
wrapper is refused, because a fork that forgets something would be worse than none.

Not covered: settings (both stacks must have equal ones; those of the environment are compared, of
a wrapper only the class), random generators of spaces, files that a recorder has written, and the
seconds that RecordEpisodeStatistics measures: its clock begins at `restore`.
"""

import ast
import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import gymnasium as gym
import numpy as np

from reason_env.errors import StateError, shown

Commit = Callable[[], None]
"""Adopts a checked snapshot as the layer's state; cannot fail."""

SNAPSHOT_FORMAT = 2
_HEAD = f'{{"format":{SNAPSHOT_FORMAT},"digest":"'
_BODY = '","body":'
_NUM_DIGEST = 16
_BODY_AT = len(_HEAD) + _NUM_DIGEST
_OTHER_FORMAT = re.compile(r'\{"format":(\d{1,9}),')
_PLAIN = {bool, int, type(None)}
_NUMBERS = {float, int}
_Memory = tuple[str, ...] | None
"""Attribute names of a Gymnasium wrapper; None for a layer with `to_snapshot`."""

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
"""Gymnasium's wrappers that remember nothing between calls."""
REMEMBERED: dict[str, tuple[str, ...]] = {
    "Autoreset": ("autoreset",),
    "OrderEnforcing": ("_has_reset",),
    "PassiveEnvChecker": ("checked_reset",),
    "RecordEpisodeStatistics": (
        "episode_count",
        "episode_lengths",
        "episode_returns",
        "length_queue",
        "return_queue",
    ),
    "TimeLimit": ("_elapsed_steps",),
}
"""Gymnasium's wrappers whose memory is these attributes: numbers, queues of numbers, booleans."""


def snapshot(env: gym.Env[Any, Any]) -> str:
    """Write the state of a whole stack as JSON.

    Raises:
        StateError: A wrapper of the stack cannot be saved.

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
    """Return a stack to a state that `snapshot` wrote, of it or of an equal stack.

    All layers are checked before any changes.

    Raises:
        StateError: The text is damaged, or of another stack, problem set or other settings.
    """
    given, written = _body(snap)
    layers = _layers(env)
    names = [name for name, _, _ in layers]
    if names != given:
        raise StateError(
            f"snapshot must be of the stack {_arrow(names)}, got {_arrow(given)}; "
            "build the same stack as the snapshot's"
        )
    commits = [_read(*layer, data) for layer, data in zip(layers, written, strict=True)]
    for commit in commits:
        commit()


# One encoder, because json.dumps builds one at each call.
_to_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
get_state = snapshot
set_state = restore


class Settings:
    """The settings of an environment, as far as they decide what follows a state.

    >>> Settings(max_steps=3).check(Settings(max_steps=4).text)
    Traceback (most recent call last):
        ...
    reason_env.errors.StateError: snapshot must be of an environment with max_steps 3, got 4; \
give the environment the same max_steps
    """

    def __init__(self, **values: Any) -> None:
        """Store the settings; each value must be a Python literal."""
        self._values = values
        # Compared by each restore, and parsed only if it differs. Not JSON, whose quotes would be
        # escaped inside the snapshot.
        self.text = repr(values)

    def check(self, text: Any) -> None:
        """Compare with the text of another environment's settings.

        Raises:
            StateError: A setting differs; the message names the first.
            ValueError: The text is no settings.
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
                    f"{shown(given[name])}; give the environment the same {name}"
                )


def _layers(env: gym.Env[Any, Any]) -> list[tuple[str, Any, _Memory]]:
    """Name, object and memory of each layer from the outside in; all must be known."""
    layers: list[tuple[str, Any, _Memory]] = []
    layer: gym.Env[Any, Any] = env
    while True:
        name, memory = _layer_kind(type(layer))
        layers.append((name, layer, memory))
        if not isinstance(layer, gym.Wrapper):
            return layers
        layer = layer.env


@cache
def _layer_kind(kind: type) -> tuple[str, _Memory]:
    name = kind.__name__
    if hasattr(kind, "to_snapshot") and hasattr(kind, "read_snapshot"):
        return name, None
    is_stock = kind.__module__.startswith("gymnasium.wrappers.")
    if not is_stock or (name not in STATELESS and name not in REMEMBERED):
        raise StateError(
            f"every layer must support snapshots, got {name}, whose memory is not known; leave it "
            "out, or give it to_snapshot() and read_snapshot()"
        )
    return name, REMEMBERED.get(name, ())


def _written(layer: Any, memory: _Memory) -> dict[str, Any]:
    if memory is None:
        return layer.to_snapshot()
    return {name: _as_json(getattr(layer, name)) for name in memory}


def _as_json(value: object) -> Any:
    if isinstance(value, deque):
        return [_as_json(item) for item in cast("deque[object]", value)]
    return cast("np.generic[Any]", value).item() if isinstance(value, np.generic) else value


def _read(name: str, layer: Any, memory: _Memory, data: dict[str, Any]) -> Commit:
    try:
        if memory is None:
            return layer.read_snapshot(data)
        values = {key: _from_json(getattr(layer, key), data[key]) for key in memory}
        if values.get("checked_reset"):
            # Its first-step checks compare with a reset of this object, which did not happen here.
            values |= {"checked_step": True, "checked_data_reuse": True}
        if name == "RecordEpisodeStatistics":
            values["episode_start_time"] = time.perf_counter()
    except StateError:
        raise
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise StateError(
            f"snapshot of {name} must be as to_snapshot() writes it, got "
            f"{shown(data)}; {type(error).__name__}: {error}"
        ) from error
    return partial(cast("dict[str, Any]", vars(layer)).update, values)


def _from_json(own: Any, given: Any) -> Any:
    """Read the value of an attribute, of the same kind as the present value."""
    if isinstance(own, deque):
        items = cast("list[float]", given)
        if type(items) is list and _NUMBERS.issuperset(map(type, items)):
            return deque(items, cast("deque[float]", own).maxlen)
    elif type(given) in (_NUMBERS if isinstance(own, (float, np.floating)) else _PLAIN):
        return given
    raise TypeError("numbers, queues of numbers, booleans and None")


def _body(snap: object) -> tuple[list[Any], list[Any]]:
    """The names of the layers, and what each wrote."""
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
