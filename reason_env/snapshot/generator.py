"""A random generator as text, and an attribute that holds either form.

Most forks never draw: an episode that continues from its state asks no generator for a number. A
restored generator therefore stays text until somebody reads it, and one that nobody has read is
written as the text that it still is.

Not covered: bit generators other than PCG64, which Gymnasium and numpy use.
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
    """Write a generator as kind, state, increment, and the unused half of its last draw.

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
    """Return the text if `rng_to_json` could have written it.

    Raises:
        TypeError: It is no text.
        ValueError: It is another text.
    """
    if _is_written.fullmatch(text) is None:
        raise ValueError(f"a generator must be written as {_KIND} and its state, got {shown(text)}")
    return text


def rng_from_json(text: str) -> np.random.Generator:
    """Make a generator in the state that `rng_to_json` wrote.

    Raises:
        TypeError: It is no text.
        ValueError: It is another text.

    >>> rng = np.random.default_rng(3)
    >>> rng_from_json(rng_to_json(rng)).random() == rng.random()
    True
    """
    kind, state, inc, half, rest = checked_rng(text).split(" ")
    bits: Any = np.random.PCG64(_NO_SEED)
    bits.state = {
        "bit_generator": kind,
        "state": {"state": int(state, 16), "inc": int(inc, 16)},
        "has_uint32": int(half),
        "uinteger": int(rest, 16),
    }
    return np.random.Generator(bits)


class LazyGenerator:
    """An attribute that holds a generator, a generator's text, or None.

    A text becomes the generator at the first read.

    >>> class Dice:
    ...     rng = LazyGenerator()
    >>> first, second = Dice(), Dice()
    >>> first.rng = np.random.default_rng(5)
    >>> second.rng = Dice.rng.as_text(first)
    >>> second.rng is not first.rng and second.rng.random() == first.rng.random()
    True
    """

    def __set_name__(self, owner: type, name: str) -> None:
        """Choose the instance's key for the value."""
        self._key = f"_lazy{name}"

    def __get__(self, instance: object, owner: type) -> Any:
        """Read the generator, built from its text if necessary; None if there is none."""
        if instance is None:
            return self
        value = vars(instance).get(self._key)
        if isinstance(value, str):
            value = vars(instance)[self._key] = rng_from_json(value)
        return value

    def __set__(self, instance: object, value: np.random.Generator | str | None) -> None:
        """Store a generator, or the checked text of one."""
        vars(instance)[self._key] = value

    def as_text(self, instance: object) -> str | None:
        """Write the generator as text, without building it; None if there is none."""
        value = vars(instance).get(self._key)
        return rng_to_json(value) if isinstance(value, np.random.Generator) else value


class _NoSeed(ISeedSequence):
    """Zeros for a state that is overwritten at once: hashing a seed would dominate a restore."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return np.zeros(n_words, dtype)


_NO_SEED: Any = _NoSeed()
