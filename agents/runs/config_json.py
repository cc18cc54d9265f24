"""Configs as JSON: `load(type(c), dump(c)) == c`, or an error.

The field annotations are the schema. They may be `bool`, `int`, `float`, `str`, `None`, `Literal`,
tuples, dicts with `str` keys, dataclasses, and unions of these. The `kind` field selects an
alternative of a union; for `Annotated[Base, ByKind(find)]`, `find` returns the subclass of
`Base` of a kind. JSON has no infinity: it is written as the text "inf". nan is an error, because it
never equals itself. Not covered: enums, paths, lists, live objects.

A missing key takes its default, so a hand-written file may be short. An unknown key is an error, so
a misspelt setting never runs with its default. Old names of renamed fields
(`RENAMED`) are read, and never written.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from reason_env.errors import ConfigError, did_you_mean, redacted, shown

C = TypeVar("C")
FLAT = tyro.conf.arg(name="")
"""Makes the fields of a nested config flags without a prefix: --problems, not --env.problems."""
RENAMED: Mapping[str, Mapping[str, str]] = {
    "CPIConfig": {"alpha": "step_size"},
    "EnvConfig": {"prompt": "template"},
    "LossConfig": {
        "own_total": "separate_normaliser",
        "policy_term": "surrogate",
        "ratio_against": "ratio_denominator",
    },
    "Show": {"seed": "problem_seed"},
    "TrainConfig": {"dtype": "precision"},
    "RRPOConfig": {"seed_policy": "source_choice", "tries_per_wave": "tries_per_round"},
}
"""Config class -> old name of a field -> current name; subclasses inherit the entry."""
_HELP = "correct it, or copy the form from a config.json that `dump` wrote"


@dataclasses.dataclass(frozen=True)
class ByKind:
    """In an annotation: the dataclass of a value is found by the value's `kind`."""

    find: Callable[[str], Any]
    """kind -> dataclass; raises for an unknown kind."""


def dump(config: Any) -> str:
    """Write a config as indented JSON, after checking that `load` reads it back equal.

    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Clip:
    ...     low: float = 0.2
    ...     high: float = float("inf")
    >>> print(dump(Clip()))
    {
      "low": 0.2,
      "high": "inf"
    }
    >>> load(Clip, '{"high": 0.28}')
    Clip(low=0.2, high=0.28)

    Raises:
        ConfigError: A value does not match its annotation, or holds a token.
    """
    text = json.dumps(_plain(config), indent=2, allow_nan=False)
    if redacted(text) != text:
        raise ConfigError(
            f"{type(config).__name__} must hold no token and no password, because it is written to "
            "files, got one; set HF_TOKEN in the environment instead"
        )
    back = load(type(config), text)
    if back != config:
        names = [item.name for item in dataclasses.fields(config)]
        wrong = [name for name in names if getattr(back, name) != getattr(config, name)]
        raise ConfigError(
            f"{type(config).__name__} must read back equal from JSON, got another "
            f"{', '.join(wrong)}; give each field a value of its annotated type"
        )
    return text


def load(cls: type[C], text: str) -> C:
    """Read the config that `dump` wrote; its `__post_init__` validates it.

    Raises:
        ConfigError: The text is not JSON, a key is unknown or missing, or a value has a wrong type.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a config must be JSON, got {shown(text)}; {error}") from error
    return _read(cls, value, "config")


def renamed_fields(cls: type[Any]) -> dict[str, str]:
    """Map the old name of each renamed field of a class and of its bases to the current name."""
    renamed = [RENAMED.get(base.__name__, {}) for base in cls.__mro__]
    own = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else ()
    return {old: new for names in renamed for old, new in names.items() if old not in own}


def renamed_keys(config: Any, *, flat: bool = False, prefix: str = "") -> dict[str, str]:
    """Map each old dotted key of a config and of the configs in it to the current key.

    Args:
        config: A config dataclass.
        flat: Leave the names of `FLAT` fields out of the keys, as the command line does.
        prefix: Put before every key.

    >>> from reason_env.agents.learning import LossConfig
    >>> renamed_keys(LossConfig(), prefix="loss.")["loss.policy_term"]
    'loss.surrogate'
    """
    names = renamed_fields(type(config))
    found = {f"{prefix}{old}": f"{prefix}{new}" for old, new in names.items()}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        is_flat = flat and FLAT in getattr(field.type, "__metadata__", ())
        inner = prefix if is_flat else f"{prefix}{field.name}."
        if dataclasses.is_dataclass(value):
            found |= renamed_keys(value, flat=flat, prefix=inner)
        elif isinstance(value, tuple):
            for at, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    found |= renamed_keys(item, flat=flat, prefix=f"{inner}{at}.")
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"a config must hold only numbers, texts, None, tuples, dicts and dataclasses, got "
        f"{shown(value)}; keep live objects out of it"
    )


def _read(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is Annotated:
        kind = _unwrapped(kind, value, where)
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin in (Union, UnionType):
        return _read_union(get_args(kind), value, where)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, where)
    if origin is dict and isinstance(value, dict):
        item_kind = get_args(kind)[1]
        return {key: _read(item_kind, item, f"{where}.{key}") for key, item in value.items()}
    return _read_scalar(kind, value, where)


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is Literal:
        # Compare types too: True == 1 and 1.0 == 1, but they are different settings.
        if any(value == item and type(value) is type(item) for item in get_args(kind)):
            return value
        near = did_you_mean(str(value), [str(item) for item in get_args(kind)])
        raise ConfigError(f"{where} must be one of its names, got {shown(value)}{near}")
    if kind is float:
        return _read_float(value, where)
    if kind in (bool, int, str, NoneType) and type(value) is kind:
        return value
    name = getattr(get_origin(kind) or kind, "__name__", str(kind))
    raise ConfigError(f"{where} must be of type {name}, got {shown(value)}; {_HELP}")


def _read_float(value: Any, where: str) -> float:
    if type(value) in (int, float) or value in ("inf", "-inf"):
        try:
            return float(value)
        except OverflowError as error:
            raise ConfigError(
                f"{where} must be a number that a float can hold, got {shown(value)}; {_HELP}"
            ) from error
    raise ConfigError(f"{where} must be a number, got {shown(value)}; {_HELP}")


def _read_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where} must be a JSON list, got {shown(value)}; {_HELP}")
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} must hold {len(kinds)} items, got {shown(value)}; {_HELP}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    configs = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if isinstance(value, dict) and len(configs) > 1:
        by_kind = {name: config for config in configs for name in _kind_names(config)}
        name = value.get("kind")
        if name not in by_kind:
            near = did_you_mean(str(name), by_kind)
            raise ConfigError(f"{where}.kind must name an alternative, got {shown(name)}{near}")
        return _read(by_kind[name], value, where)
    if isinstance(value, dict) and configs:
        return _read(configs[0], value, where)
    reasons: list[str] = []
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except ConfigError as error:
            reasons.append(str(error).split("; ")[0])
    raise ConfigError(f"{' or '.join(reasons)}; {_HELP}")


def _unwrapped(annotated: Any, value: Any, where: str) -> Any:
    """Return an annotation's type; with `ByKind`, the dataclass that the value's kind names."""
    inner, *notes = get_args(annotated)
    find = next((note.find for note in notes if isinstance(note, ByKind)), None)
    if find is None:
        return inner
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ConfigError(
            f"{where} must be a JSON object with the key 'kind', got {shown(value)}; {_HELP}"
        )
    return find(kind)


def _kind_names(config: Any) -> tuple[str, ...]:
    kind = _hints(config).get("kind")
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    assert get_origin(kind) is Literal, f"{config.__name__} in a union needs a Literal `kind` field"
    return get_args(kind)


def _read_dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a JSON object, got {shown(value)}; {_HELP}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for old, new in renamed_fields(cls).items():
        if old in value and new in value:
            raise ConfigError(
                f"{where} must hold {new!r} once, got its old name {old!r} too; leave {old!r} out"
            )
        value = {new if key == old else key: item for key, item in value.items()}
    for key in value:
        if key not in fields:
            path = f"{where}.{key}"
            raise ConfigError(f"unknown key {path!r}{did_you_mean(key, fields)}")
    for name, field in fields.items():
        no_default = field.default is field.default_factory is dataclasses.MISSING
        if no_default and name not in value:
            raise ConfigError(f"{where} must hold the key {name!r}, got {sorted(value)}; add it")
    hints = _hints(cls)
    return cls(**{key: _read(hints[key], item, f"{where}.{key}") for key, item in value.items()})


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)
