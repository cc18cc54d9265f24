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
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeGuard, cast

import gymnasium as gym
import numpy as np
from numpy.random.bit_generator import ISeedSequence

from reason_env.errors import StateError, shown

Commit = Callable[[], None]
"""Makes a checked snapshot the layer's state; cannot fail."""

_HEAD = '{"format":1,"digest":"'
_BODY = '","body":'
_NUM_DIGEST = 16

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
"""Gymnasium's wrappers whose memory is these attributes, all of them numbers or booleans."""


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
    layers = _layers(env)
    body = json.dumps(
        [[type(layer).__name__, _written(layer)] for layer in layers],
        separators=(",", ":"),
        sort_keys=True,
    )
    return f"{_HEAD}{_digest(body)}{_BODY}{body}}}"


def restore(env: gym.Env[Any, Any], snap: str) -> None:
    """Makes a stack's state the one that `snapshot` wrote of it, or of one made alike.

    Nothing is changed unless everything fits.

    Raises:
        StateError: The text is damaged, or is of another stack, problem set or other settings.
    """
    written = _body(snap)
    layers = _layers(env)
    names = [type(layer).__name__ for layer in layers]
    given = [name for name, _ in written]
    if names != given:
        raise StateError(
            f"snapshot must be of the stack {_arrow(names)}, got {_arrow(given)}; "
            "make the environment as the one that it was taken of"
        )
    commits = [_read(layer, data) for layer, (_, data) in zip(layers, written, strict=True)]
    for commit in commits:
        commit()


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


def rng_to_json(rng: np.random.Generator) -> list[Any]:
    """Returns a generator's state; integers of 128 bits, which JSON holds exactly."""
    written = cast("dict[str, Any]", rng.bit_generator.state)
    pair = written["state"]
    kind, half, rest = written["bit_generator"], written["has_uint32"], written["uinteger"]
    return [kind, pair["state"], pair["inc"], half, rest]


def rng_from_json(data: list[Any]) -> np.random.Generator:
    """Returns a new generator in the state that `rng_to_json` wrote.

    >>> rng = np.random.default_rng(3)
    >>> rng_from_json(rng_to_json(rng)).random() == rng.random()
    True
    """
    kind, state, inc, half, rest = data
    bits: Any = np.random.PCG64(_UNSEEDED)
    bits.state = {
        "bit_generator": kind,
        "state": {"state": state, "inc": inc},
        "has_uint32": half,
        "uinteger": rest,
    }
    return np.random.Generator(bits)


class _Unseeded(ISeedSequence):
    """Seeds what is overwritten at once: hashing a seed costs more than the rest of a restore."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return np.zeros(n_words, dtype)


_UNSEEDED: Any = _Unseeded()


def _layers(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    """Returns the stack from the outside in, every layer one that can be rewound."""
    layers: list[gym.Env[Any, Any]] = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    for layer in layers:
        name = type(layer).__name__
        if not _is_ours(layer) and not _is_known(type(layer)):
            raise StateError(
                f"every layer must be rewindable, got {name}, whose memory is not known; leave it "
                "out, or give it to_snapshot() and read_snapshot()"
            )
    return layers


def _is_ours(layer: object) -> TypeGuard[Layer]:
    """Does what `isinstance(layer, Layer)` does, at a twentieth of its cost."""
    kind = type(layer)
    return hasattr(kind, "to_snapshot") and hasattr(kind, "read_snapshot")


@cache
def _is_known(kind: type) -> bool:
    is_stock = kind.__module__.startswith("gymnasium.wrappers.")
    return is_stock and (kind.__name__ in STATELESS or kind.__name__ in REMEMBERED)


def _written(layer: gym.Env[Any, Any]) -> dict[str, Any]:
    if _is_ours(layer):
        return layer.to_snapshot()
    memory = vars(layer)
    return {name: memory[name] for name in REMEMBERED.get(type(layer).__name__, ())}


def _read(layer: gym.Env[Any, Any], data: dict[str, Any]) -> Commit:
    try:
        if _is_ours(layer):
            return layer.read_snapshot(data)
        names = REMEMBERED.get(type(layer).__name__, ())
        values = {name: data[name] for name in names}
        if values.get("checked_reset"):
            # It compares the first steps with a reset that another object made: nothing to check.
            values |= {"checked_step": True, "checked_data_reuse": True}
    except StateError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StateError(
            f"snapshot of {type(layer).__name__} must be as to_snapshot() writes it, got "
            f"{shown(data)}; {type(error).__name__}: {error}"
        ) from error
    return lambda: vars(layer).update(values)


def _body(snap: object) -> list[Any]:
    if not isinstance(snap, str) or not snap.startswith(_HEAD) or not snap.endswith("}"):
        raise StateError(
            f"snapshot must be the text that snapshot() returned, got {shown(snap)}; "
            "keep it as it is"
        )
    digest = snap[len(_HEAD) :][:_NUM_DIGEST]
    body = snap[len(_HEAD) + _NUM_DIGEST + len(_BODY) : -1]
    if digest != _digest(body):
        raise StateError(
            f"snapshot must match its digest {digest!r}, got {_digest(body)!r}; it was damaged or "
            "edited: take it again"
        )
    return json.loads(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:_NUM_DIGEST]


def _arrow(names: list[str]) -> str:
    return " > ".join(names)
