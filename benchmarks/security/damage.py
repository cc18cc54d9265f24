"""Damages the texts that a reader takes: what stands for others, and how texts are changed."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 258, 2**31, 2**63, 10**30, -(2**64), 0.5, -0.0, 1e308, -1e308,
    float("inf"), float("nan"), "", " ", "0", "nan", "inf", "None", "\x00", "\x1b[2J", "\ud800",
    "\u202e", "</script>", "__class__", "../../x", "x" * 5000, "9" * 5000, "os:system", [], {},
    [[]], [None], {"": ""}, {"a": {"b": [1]}}, [1, "a", None], "chain", "hint", "policy",
)  # fmt: skip
"""Values that stand for others; the shape of each is one that some reader expects elsewhere."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader: whole texts, and how one text is read."""

    name: str
    texts: tuple[str, ...]
    read: Callable[[str], object]
    is_lines: bool = False
    """The texts are JSON lines, which are damaged one at a time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a reader raised that is no `ReasonEnvError` in one line."""

    target: str
    seed: int
    text: str
    error: str
    """With the place where it was raised."""


def damaged(target: Target, seed: int) -> str:
    """Damage one text of a target, in the way that the seed says."""
    rng = random.Random(seed)
    text = rng.choice(target.texts)
    if rng.random() < 0.25:
        return _other_letters(text, rng)
    if target.is_lines:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = _other_nodes(lines[at], rng)
        return "\n".join(lines) + "\n"
    return _other_nodes(text, rng)


def _other_letters(text: str, rng: random.Random) -> str:
    """Change, remove, repeat or insert some letters, or cut the text off."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:at]
        elif kind == 1:
            text = text[:at] + rng.choice('"{}[],:\\0-.eE\x00\n\ud800\uffff') + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + rng.randint(1, 20) :]
        elif kind == 3:
            end = at + rng.randint(1, 200)
            text = text[:end] + text[at:]
        else:
            text = text[:at] + rng.choice("0123456789truefalsn\"'") + text[at + 1 :]
    return text


def _other_nodes(text: str, rng: random.Random) -> str:
    """Replace, remove or exchange some nodes of a text's JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return _other_letters(text, rng)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return json.dumps(rng.choice(HOSTILE))
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            other, name = rng.choice(places)
            holder[key] = other[name]
        elif kind == 2 and isinstance(holder, dict):
            own_keys = cast("dict[Any, Any]", holder)
            own_keys[rng.choice(("", "x", "kind", "format", "0"))] = own_keys.pop(key)
        elif kind == 3 and isinstance(holder, list):
            own = cast("list[Any]", holder)
            own.insert(rng.randint(0, len(own)), rng.choice(HOSTILE))
        else:
            holder[key] = rng.choice(HOSTILE)
        # A node that holds itself is no JSON.
        try:
            value = json.loads(json.dumps(value))
        except (ValueError, RecursionError):
            return "[" * rng.choice((10, 5000, 100_000))
    return json.dumps(value)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the holder and the key of every node below a JSON value."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(cast("dict[Any, Any]", value).items())
    elif isinstance(value, list):
        pairs = list(enumerate(cast("list[Any]", value)))
    for key, item in pairs:
        yield value, key
        yield from _places(item)
