"""A random generator as text, and an attribute that holds either.

Most forks never draw: an episode that is played on from where it stands asks no generator for
anything. So a restored generator stays text until somebody asks for it, and a generator that nobody
asked for is written as the text that it still is.

Not covered: bit generators other than PCG64, which is what Gymnasium and numpy make.
"""

import re
from typing import Any, cast

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from reason_env.errors import StateError, shown

_KIND = "PCG64"
# The increment of a PCG is odd.
_is_written = re.compile(rf"{_KIND} [0-9a-f]{{32}} [0-9a-f]{{31}}[13579bdf] [01] [0-9a-f]{{8}}")


def rng_to_json(rng: np.random.Generator) -> str:
    """Returns a generator's state: kind, state, increment, and the half of a draw left behind.

    Raises:
        StateError: Its bit generator is not PCG64.
    """
    written = cast("dict[str, Any]", rng.bit_generator.state)
    kind, pair = written["bit_generator"], written["state"]
    if kind != _KIND:
        raise StateError(
            f"random generator must be of numpy's {_KIND} to be written, got {kind}; make it with "
            "numpy.random.default_rng"
        )
    half, rest = written["has_uint32"], written["uinteger"]
    return f"{_KIND} {pair['state']:032x} {pair['inc']:032x} {half} {rest:08x}"


def checked_rng(text: Any) -> str:
    """Returns the text, which must be one that `rng_to_json` wrote.

    Raises:
        TypeError: It is no text.
        ValueError: It is another text.
    """
    if _is_written.fullmatch(text) is None:
        raise ValueError(f"a generator must be written as {_KIND} and its state, got {shown(text)}")
    return text


def rng_from_json(text: str) -> np.random.Generator:
    """Returns a new generator in the state that `rng_to_json` wrote.

    Raises:
        TypeError: It is no text.
        ValueError: It is another text.

    >>> rng = np.random.default_rng(3)
    >>> rng_from_json(rng_to_json(rng)).random() == rng.random()
    True
    """
    kind, state, inc, half, rest = checked_rng(text).split(" ")
    bits: Any = np.random.PCG64(_UNSEEDED)
    bits.state = {
        "bit_generator": kind,
        "state": {"state": int(state, 16), "inc": int(inc, 16)},
        "has_uint32": int(half),
        "uinteger": int(rest, 16),
    }
    return np.random.Generator(bits)


class KeptGenerator:
    """An attribute that is a generator or None, and can be set to a generator's text.

    Set to a text, it becomes the generator when it is first read.

    >>> class Dice:
    ...     rng = KeptGenerator()
    >>> first, second = Dice(), Dice()
    >>> first.rng = np.random.default_rng(5)
    >>> second.rng = Dice.rng.written(first)
    >>> second.rng is not first.rng and second.rng.random() == first.rng.random()
    True
    """

    def __set_name__(self, owner: type, name: str) -> None:
        """Learns the attribute's name; its value has a place of its own in the object."""
        self._place = f"_kept{name}"

    def __get__(self, instance: object, owner: type) -> Any:
        """Returns the generator, made now if it is still text; None if there is none."""
        if instance is None:
            return self
        kept = vars(instance).get(self._place)
        if isinstance(kept, str):
            kept = vars(instance)[self._place] = rng_from_json(kept)
        return kept

    def __set__(self, instance: object, value: np.random.Generator | str | None) -> None:
        """Keeps a generator, or the checked text of one."""
        vars(instance)[self._place] = value

    def written(self, instance: object) -> str | None:
        """Returns the generator as text; None if there is none."""
        kept = vars(instance).get(self._place)
        return rng_to_json(kept) if isinstance(kept, np.random.Generator) else kept


class _Unseeded(ISeedSequence):
    """Seeds what is overwritten at once: hashing a seed costs more than the rest of a restore."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return np.zeros(n_words, dtype)


_UNSEEDED: Any = _Unseeded()
