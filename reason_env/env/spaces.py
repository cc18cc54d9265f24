"""A Gymnasium text space that holds every string: LaTeX, any script, line ends, and the empty one.

`gymnasium.spaces.Text` needs a finite character set, and most sets refuse `√2` or `""`. Here every
code point is a character whose index is its number, so that flattening and the shared memory of
`AsyncVectorEnv` work without a table of a million entries.
"""

import string
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils import read_from_shared_memory

NUM_CODE_POINTS = 0x110000
MAX_SAMPLE_CHARS = 32


class _EveryCharacter(Sequence[str]):
    """All code points in order: both the set and the list that `Text` keeps."""

    def __len__(self) -> int:
        return NUM_CODE_POINTS

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [chr(code) for code in range(*index.indices(NUM_CODE_POINTS))]
        return chr(index)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and len(value) == 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _EveryCharacter)

    def __hash__(self) -> int:
        return NUM_CODE_POINTS


EVERY_CHARACTER = _EveryCharacter()


class UnicodeText(Text):
    r"""Strings of 0 to `max_length` code points.

    Random samples are short printable ASCII: random code points test nothing but fonts.

    >>> space = UnicodeText(10)
    >>> "√2 ∈ ℝ" in space, "" in space, "\\frac{1}{2}\n" in space
    (True, True, False)
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        # Gymnasium would keep four tables of characters in each space: 15 kB that nothing reads.
        super().__init__(max_length, min_length=0, charset="", seed=seed)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw at most 32 random printable characters; masks are not supported."""
        if mask is not None or probability is not None:
            raise NotImplementedError("UnicodeText.sample supports no mask and no probability")
        length = int(self.np_random.integers(0, min(self.max_length, MAX_SAMPLE_CHARS) + 1))
        codes = self.np_random.integers(0, len(string.printable), size=length)
        return "".join(string.printable[code] for code in codes)

    def contains(self, x: Any) -> bool:
        """Whether x is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def character_set(self) -> Any:
        """Every code point."""
        return EVERY_CHARACTER

    @property
    def character_list(self) -> Any:
        """Every code point, in order."""
        return EVERY_CHARACTER

    @property
    def characters(self) -> str:
        """The characters of random samples."""
        return string.printable

    def character_index(self, char: str) -> np.int32:
        """The code point's number."""
        return np.int32(ord(char))

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


class _LiveTexts(Sequence[str]):
    """The texts in a shared memory, decoded at each access; a deep copy is a tuple."""

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = self._rows[index]
        codes = row[row < NUM_CODE_POINTS].astype("<u4")
        return codes.tobytes().decode("utf-32-le", "surrogatepass")

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


# Gymnasium 1.4 reads the texts of `AsyncVectorEnv` once, before any is written, and keeps returning
# them. Arrays are views into the memory; this makes texts a view as well.
@read_from_shared_memory.register(UnicodeText)
def _read_live_texts(space: UnicodeText, shared_memory: Any, n: int = 1) -> Any:
    codes = np.frombuffer(shared_memory.get_obj(), dtype=np.int32)
    return _LiveTexts(codes.reshape((n, space.max_length)))
