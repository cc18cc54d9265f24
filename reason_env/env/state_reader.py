"""StateReader: reads the packed states of a snapshot, and keeps the latest ones.

Branches start at the same few states again and again. A state is a value, so a state that was read
before can be returned whenever the packed form is the same.
"""

from typing import Any

from reason_env.codec import Codec
from reason_env.problem import ProblemSet
from reason_env.snapshot import unpack_state
from reason_env.state import ReasonState

MAX_CACHED = 16
"""States kept by `read_cached`."""


class StateReader:
    """Reads states of one problem set and codec."""

    def __init__(self, problems: ProblemSet, codec: Codec) -> None:
        self._problems, self._codec = problems, codec
        self._cache: dict[str, tuple[list[Any], ReasonState]] = {}

    def read(self, data: Any) -> ReasonState:
        """Read what `pack_state` wrote; see `unpack_state`."""
        return unpack_state(data, problems=self._problems, codec=self._codec)

    def read_cached(self, data: Any) -> ReasonState:
        """Read as `read` does; return the same object for data read recently."""
        ids = data[1]
        entry = self._cache.pop(ids, None)
        if entry is None or entry[0] != data:
            entry = data, self.read(data)
        self._cache[ids] = entry
        if len(self._cache) > MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        return entry[1]
