"""Archive: a bounded, serialisable memory of chains to start from, by problem.

A ring: when it is full, the oldest chain makes room. Chains are states, open or over; what they
were shown beside the question is left out when they are taken in, so no start brings privileged
text along.
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
    """One remembered response."""

    state: ReasonState
    entropies: tuple[float, ...] | None = None
    """Entropy of the policy at each token, nats, [T]; None where it was not recorded."""
    row: list[Any] = field(default_factory=list[Any], compare=False, repr=False)
    """The chain as JSON; written once, because every snapshot holds it. Not to be changed."""

    def __post_init__(self) -> None:
        if not self.row:
            entropies = None if self.entropies is None else list(self.entropies)
            self.row.extend((pack_state(self.state), entropies))


class Archive:
    """At most `capacity` chains, the newest."""

    def __init__(self, env: ReasonEnv, capacity: int) -> None:
        """Makes an empty archive.

        Args:
            env: Whose problems and codec the chains must have.
            capacity: Chains kept, at least 1.
        """
        if capacity < 1:
            raise ConfigError(f"capacity must be at least 1, got {capacity!r}")
        self._env = env
        self.capacity = capacity
        self._ring: list[Chain] = []
        self._cursor = 0
        self._of_problem: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Every chain, the oldest first."""
        return tuple(self._ring[self._cursor :] + self._ring[: self._cursor])

    def of_problem(self, problem_id: str) -> list[Chain]:
        """Returns the chains of a problem, the oldest first."""
        return [self._ring[slot] for slot in self._of_problem.get(problem_id, ())]

    def add(
        self,
        trajectory: ReasonState | Mapping[str, Any] | str,
        entropies: Sequence[float] | None = None,
    ) -> None:
        """Remembers a chain.

        Args:
            trajectory: A state, its dict or its JSON; usually the last one of an episode.
            entropies: Entropy of the policy at each token of the response, nats.

        Raises:
            StateError: It is not of this problem set or codec, or holds the end token inside.
        """
        state = self._env.read_state(trajectory)
        kept = None if entropies is None else tuple(map(float, entropies))
        self._put(self._checked(Chain(state=state.without_guidance(), entropies=kept)))

    def to_json(self) -> dict[str, Any]:
        """Returns the archive as a JSON-able dict, the oldest chain first."""
        return {
            "capacity": self.capacity,
            "chains": [chain.row for chain in self.chains],
        }

    def read(self, data: dict[str, Any]) -> "Archive":
        """Returns the archive that `to_json` wrote, for the same environment.

        Raises:
            StateError: It has another capacity, or chains of another problem set or codec.
        """
        if data["capacity"] != self.capacity:
            raise StateError(
                f"snapshot must be of an archive with capacity {self.capacity}, got "
                f"{data['capacity']}; make the wrapper as the one that it was taken of"
            )
        if data["chains"] == [chain.row for chain in self.chains]:
            return self
        archive = Archive(self._env, self.capacity)
        known = {(chain.row[0][0], chain.row[0][1]): chain for chain in self._ring}
        for row in data["chains"]:
            chain = known.get((row[0][0], row[0][1]))
            # Most of a snapshot's chains are here already: the same values need no second reading.
            archive._put(chain if chain is not None and chain.row == row else self._read(row))
        return archive

    def _read(self, row: list[Any]) -> Chain:
        state, entropies = row
        kept = None if entropies is None else tuple(map(float, entropies))
        return self._checked(Chain(state=self._env.unpack_state(state), entropies=kept, row=row))

    def _checked(self, chain: Chain) -> Chain:
        state, entropies = chain.state, chain.entropies
        if self._env.codec.eos_id in state.response[:-1]:
            raise StateError(
                f"a trajectory must hold the end token {self._env.codec.eos_id} at its end only, "
                "got one before it; cut the tokens at the first end token"
            )
        if entropies is not None and len(entropies) != len(state.response):
            raise StateError(
                f"entropies must be one number per token, got {len(entropies)} for "
                f"{len(state.response)} tokens; record them where the response is sampled"
            )
        return chain

    @property
    def is_full(self) -> bool:
        """Whether the next chain takes the oldest one's place."""
        return len(self._ring) == self.capacity

    def _put(self, chain: Chain) -> None:
        if self.is_full:
            old = self._ring[self._cursor].state.problem.problem_id
            self._of_problem[old].remove(self._cursor)
            self._ring[self._cursor] = chain
        else:
            self._ring.append(chain)
        slots = self._of_problem.setdefault(chain.state.problem.problem_id, [])
        slots.append(self._cursor)
        self._cursor = (self._cursor + 1) % self.capacity
