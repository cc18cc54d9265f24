"""Archive: a bounded, serialisable memory of chains to start from, indexed by problem.

A ring buffer: once full, each new chain replaces the oldest. Chains are states, open or over.
Adding a chain removes its guidance, so that no start carries privileged text along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, StateError
from reason_env.snapshot import pack_state
from reason_env.state import ReasonState


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One stored response."""

    state: ReasonState
    entropies: tuple[float, ...] | None = None
    """Entropy of the policy at each token, nats, [T]; None if it was not recorded."""
    row: list[Any] = field(default_factory=list[Any], compare=False, repr=False)
    """The chain as JSON, computed once because every snapshot holds it. Read-only."""

    def __post_init__(self) -> None:
        if not self.row:
            entropies = None if self.entropies is None else list(self.entropies)
            self.row.extend((pack_state(self.state), entropies))


class Archive:
    """The newest chains, at most `capacity`."""

    def __init__(self, env: ReasonEnv, capacity: int) -> None:
        """Create an empty archive.

        Args:
            env: The chains must be of its problem set and codec.
            capacity: Largest number of chains, at least 1.
        """
        if capacity < 1:
            raise ConfigError(f"capacity must be at least 1, got {capacity!r}")
        self._env = env
        self.capacity = capacity
        self._ring: list[Chain] = []
        self._cursor = 0
        self._slots: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Every chain, the oldest first."""
        return tuple(self._ring[self._cursor :] + self._ring[: self._cursor])

    def of_problem(self, problem_id: str) -> list[Chain]:
        """The chains of a problem, the oldest first."""
        return [self._ring[slot] for slot in self._slots.get(problem_id, ())]

    def add(
        self,
        trajectory: ReasonState | Mapping[str, Any] | str,
        entropies: Sequence[float] | None = None,
    ) -> None:
        """Store a chain.

        Args:
            trajectory: A state, its dict or its JSON; usually the last one of an episode.
            entropies: Entropy of the policy at each token of the response, nats.

        Raises:
            StateError: The chain is of another problem set or codec, or holds an early end token.
        """
        state = self._env.read_state(trajectory)
        kept = None if entropies is None else tuple(map(float, entropies))
        self._insert(self._checked(Chain(state=state.without_guidance(), entropies=kept)))

    def to_json(self) -> dict[str, Any]:
        """The archive as a JSON-able dict, the oldest chain first."""
        return {
            "capacity": self.capacity,
            "chains": [chain.row for chain in self.chains],
        }

    def from_json(self, data: dict[str, Any]) -> "Archive":
        """Build the archive that `to_json` wrote, for the same environment.

        Raises:
            StateError: The capacity differs, or chains are of another problem set or codec.
        """
        if data["capacity"] != self.capacity:
            raise StateError(
                f"snapshot must be of an archive with capacity {self.capacity}, got "
                f"{data['capacity']}; give the wrapper the same capacity"
            )
        if data["chains"] == [chain.row for chain in self.chains]:
            return self
        archive = Archive(self._env, self.capacity)
        known = {(chain.row[0][0], chain.row[0][1]): chain for chain in self._ring}
        for row in data["chains"]:
            chain = known.get((row[0][0], row[0][1]))
            # Most chains of a snapshot are usually here already; equal rows need no parsing.
            archive._insert(chain if chain is not None and chain.row == row else self._read(row))
        return archive

    def _read(self, row: list[Any]) -> Chain:
        state, entropies = row
        kept = None if entropies is None else tuple(map(float, entropies))
        return self._checked(Chain(state=self._env.unpack_state(state), entropies=kept, row=row))

    def _checked(self, chain: Chain) -> Chain:
        state, entropies = chain.state, chain.entropies
        ends = [end for end in self._env.codec.end_ids if end in state.response[:-1]]
        if ends:
            raise StateError(
                f"a trajectory must hold the end token {ends[0]} at its end only, "
                "got one before it; cut the tokens at the first end token"
            )
        if entropies is not None and len(entropies) != len(state.response):
            raise StateError(
                f"entropies must be one number per token, got {len(entropies)} for "
                f"{len(state.response)} tokens; record them when sampling the response"
            )
        return chain

    @property
    def is_full(self) -> bool:
        """Whether the next chain replaces the oldest."""
        return len(self._ring) == self.capacity

    def _insert(self, chain: Chain) -> None:
        if self.is_full:
            old = self._ring[self._cursor].state.problem.problem_id
            self._slots[old].remove(self._cursor)
            self._ring[self._cursor] = chain
        else:
            self._ring.append(chain)
        slots = self._slots.setdefault(chain.state.problem.problem_id, [])
        slots.append(self._cursor)
        self._cursor = (self._cursor + 1) % self.capacity
